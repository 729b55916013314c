package config

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// Secrets lists every secret of the configuration, with the passwords that are
// inside addresses and what the header of a basic credential holds. It is for who
// has to keep them out of a text; nobody else needs them in one place.
func (c Config) Secrets() []string {
	var out []string
	collectSecrets(reflect.ValueOf(c), &out)
	slices.Sort(out)
	return slices.Compact(out)
}

func collectSecrets(v reflect.Value, into *[]string) {
	switch {
	case v.Type() == secretType, v.Type() == urlType:
		*into = append(*into, partsOfSecret(v.String(), v.Type() == secretType)...)
	case v.Kind() == reflect.Struct && !isScalar(v.Type()):
		for i := range v.NumField() {
			collectSecrets(v.Field(i), into)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			collectSecrets(v.Index(i), into)
		}
	}
}

// partsOfSecret is a secret as it is and, where it is an address, what is secret of
// it: of one that is not secret as a whole only that.
func partsOfSecret(text string, whole bool) (parts []string) {
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if whole {
		add(text)
		if user, password, ok := strings.Cut(text, ":"); ok && !strings.Contains(user, "/") {
			add(password)
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return parts
	}
	if password, ok := u.User.Password(); ok {
		add(password)
	}
	for name, values := range u.Query() {
		if name == "password" || !whole {
			for _, v := range values {
				add(v)
			}
		}
	}
	return parts
}
