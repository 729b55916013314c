package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Types that are written as one scalar although their kind says otherwise.
var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
	urlType      = reflect.TypeFor[URL]()
	platformType = reflect.TypeFor[image.Platform]()
)

// isScalar reports whether a type is written as one scalar.
func isScalar(t reflect.Type) bool {
	return t == platformType || (t.Kind() != reflect.Struct && t.Kind() != reflect.Slice)
}

// setScalar gives v the value that text stands for. The error says what was
// expected and never repeats a secret.
func setScalar(v reflect.Value, text string) error {
	switch {
	case v.Type() == durationType:
		return setDuration(v, text)
	case v.Type() == sizeType:
		size, err := ParseSize(text)
		v.SetInt(int64(size))
		return err
	case v.Type() == platformType:
		return setPlatform(v, text)
	case v.Kind() == reflect.String:
		v.SetString(text)
		return nil
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%.40q is neither true nor false", text)
		}
		v.SetBool(text == "true")
		return nil
	case v.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%.40q is not a whole number", text)
		}
		v.SetInt(int64(n))
		return nil
	}
	return errs.New(errs.Internal, "config: no way to read a %s", v.Type())
}

// setDuration also takes whole days, which the standard library does not know.
func setDuration(v reflect.Value, text string) error {
	const day = 24 * time.Hour
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16) // 179 years; a Duration holds 292
		d = time.Duration(n) * day
	}
	if err != nil {
		return fmt.Errorf("%.40q is not a duration: write a number with a unit, as 30s, 15m, 1h30m or 90d", text)
	}
	v.SetInt(int64(d))
	return nil
}

func setPlatform(v reflect.Value, text string) error {
	p, err := image.ParsePlatform(text)
	if err != nil {
		return fmt.Errorf("%.80q is not a platform: write os/architecture or os/architecture/variant, as linux/amd64", text)
	}
	v.Set(reflect.ValueOf(p))
	return nil
}

// typeName is how the reference calls a type.
func typeName(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == sizeType:
		return "size"
	case t == secretType:
		return "secret"
	case t == urlType:
		return "url"
	case t == platformType:
		return "platform"
	case t.Kind() == reflect.Slice:
		return "list of " + typeName(t.Elem())
	case t.Kind() == reflect.Bool:
		return "true/false"
	case t.Kind() == reflect.Int:
		return "number"
	case t.Kind() == reflect.Struct:
		return strings.ToLower(t.Name())
	}
	return "text"
}

// setDefaults fills v, a struct, with what its default tags say.
func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		field, tag := v.Field(i), v.Type().Field(i).Tag
		if !isScalar(field.Type()) {
			if field.Kind() == reflect.Struct {
				setDefaults(field)
			}
			continue
		}
		if text, ok := tag.Lookup("default"); ok {
			if err := setScalar(field, text); err != nil {
				// A test reads every default; this cannot happen at run time.
				panic(errs.Wrap(errs.Internal, "config: default of "+v.Type().Field(i).Name, err))
			}
		}
	}
}
