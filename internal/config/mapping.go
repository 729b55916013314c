package config

import (
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// section reads the keys of a mapping into the fields of v.
func (d *decoder) section(n ast.Node, v reflect.Value, path string) {
	entries, ok := d.entries(n, path)
	if !ok {
		d.problem(n, path, "expected keys, one per line, as %q", keyNames(v.Type())[0]+": …")
		return
	}
	seen := map[string]int{}
	for _, e := range entries {
		key, at := e.key, join(path, e.key)
		if e.merged && seen[key] > 0 {
			continue // a key of the mapping itself wins over a merged one
		}
		if line, twice := seen[key]; twice {
			d.odd(e.node.Key, at, "given twice, first on line %d", line)
			continue
		}
		seen[key] = lineOf(e.node.Key)
		i := fieldIndex(v.Type(), key)
		if i < 0 {
			d.odd(e.node.Key, at, "unknown key; known here: %s", strings.Join(keyNames(v.Type()), ", "))
			continue
		}
		d.lines[at] = lineOf(e.node.Key)
		d.value(e.node.Value, v.Field(i), at, v.Type().Field(i).Tag)
	}
}

// entry is a key of a mapping with its value.
type entry struct {
	key    string
	node   *ast.MappingValueNode
	merged bool // came in through <<
}

// entries lists the keys of a mapping, merged ones last. It reports false when n
// is not a mapping.
func (d *decoder) entries(n ast.Node, path string) (own []entry, ok bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		return nil, false
	}
	var merged []entry
	for _, value := range values {
		if !value.Key.IsMergeKey() {
			own = append(own, entry{key: keyText(value.Key), node: value})
			continue
		}
		inner, ok := d.merge(value.Value, path)
		if !ok {
			d.problem(value.Key, path, "<< takes the alias of a mapping, as <<: *name")
		}
		merged = append(merged, inner...)
	}
	return append(own, merged...), true
}

func (d *decoder) merge(n ast.Node, path string) ([]entry, bool) {
	defer func() { d.depth-- }()
	if !d.enter() {
		return nil, false
	}
	target := d.plain(n, path)
	if target == nil {
		return nil, false
	}
	inner, ok := d.entries(target, path)
	for i := range inner {
		inner[i].merged = true
	}
	return inner, ok
}

func keyText(key ast.MapKeyNode) string {
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value
	}
	return key.GetToken().Value
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func fieldIndex(t reflect.Type, key string) int {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == key {
			return i
		}
	}
	return -1
}

func keyNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}
