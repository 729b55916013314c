package config

import "reflect"

// Key is one key of the file that holds a value.
type Key struct {
	Path    string // "registries[].webhook.format"
	Type    string // in words, as "duration"
	Default string // as it would be written; empty when there is none
	Env     string // environment variable that overrides it; may be empty
	Flag    string // flag of `tidewaiter serve` without the hyphens; may be empty
}

// Keys lists every key of the file that holds a value, in the order of the
// reference.
func Keys() []Key { return keys(reflect.TypeFor[Config](), "") }

func keys(t reflect.Type, path string) []Key {
	var out []Key
	for i := range t.NumField() {
		field := t.Field(i)
		at := join(path, field.Tag.Get("yaml"))
		switch {
		case field.Type.Kind() == reflect.Struct && !isScalar(field.Type):
			out = append(out, keys(field.Type, at)...)
		case field.Type.Kind() == reflect.Slice && !isScalar(field.Type.Elem()):
			out = append(out, keys(field.Type.Elem(), at+"[]")...)
		default:
			out = append(out, Key{
				Path: at, Type: typeName(field.Type), Default: field.Tag.Get("default"),
				Env: field.Tag.Get("env"), Flag: field.Tag.Get("flag"),
			})
		}
	}
	return out
}
