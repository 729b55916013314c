package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed example.yaml
var example string

// Example returns a configuration file with comments to start from. It loads
// once the variables it refers to are set.
func Example() string { return example }

// YAML returns the whole configuration as a file would have it, defaults
// included, with "[redacted]" for every secret.
func (c Config) YAML() ([]byte, error) {
	return yaml.MarshalWithOptions(plainValue(reflect.ValueOf(c)), yaml.IndentSequence(true))
}

// plainValue turns v into what the YAML encoder needs no help with.
func plainValue(v reflect.Value) any {
	switch {
	case v.Type() == durationType:
		return shortDuration(time.Duration(v.Int()))
	case v.Type() == sizeType, v.Type() == secretType, v.Type() == urlType, v.Type() == platformType:
		return fmt.Sprint(v.Interface())
	case v.Kind() == reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainValue(v.Index(i))
		}
		return list
	case v.Kind() == reflect.Struct:
		section := make(yaml.MapSlice, v.NumField())
		for i := range section {
			section[i] = yaml.MapItem{Key: v.Type().Field(i).Tag.Get("yaml"), Value: plainValue(v.Field(i))}
		}
		return section
	}
	return v.Interface()
}

// shortDuration writes 30m where Duration.String writes 30m0s.
func shortDuration(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d != 0 && d%unit.size == 0 {
			return fmt.Sprintf("%d%s", d/unit.size, unit.name)
		}
	}
	return d.String()
}
