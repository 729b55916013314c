package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoder puts a YAML file into a Config. It goes on after a problem, so that
// one run tells all of them, and remembers the line of every key.
type decoder struct {
	resolver resolver
	flags    map[string]string // by environment variable, those that were given
	anchors  map[string]ast.Node
	lines    map[string]int
	sources  map[string]string // of keys whose value is not the file's
	unread   map[string]bool   // keys whose value could not be read
	depth    int
	steps    int
	problems Problems
	forgiven func(path string) bool // keys whose problems do not count; nil for none
}

// An anchor that holds its own alias never ends, and one that holds others
// twice over grows without bound.
const (
	maxDepth = 20
	maxSteps = 100_000
)

// enter counts a step down and reports whether it may be made; leave it with
// d.depth--.
func (d *decoder) enter() bool {
	d.depth++
	d.steps++
	return d.depth <= maxDepth && d.steps <= maxSteps
}

// decode reads source into v, which holds the defaults.
func (d *decoder) decode(source []byte, v reflect.Value) {
	// Twice the same key is found below, with both lines.
	file, err := parser.ParseBytes(source, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(source, err)
		return
	}
	if len(file.Docs) > 1 {
		d.problem(file.Docs[1].Body, "", "the file holds more than one document: keep one and remove the --- line")
		return
	}
	if len(file.Docs) == 1 {
		d.value(file.Docs[0].Body, v, "", "")
	}
}

// syntax tells what the parser said, without the excerpt of the file it adds:
// there may be a secret in it.
func (d *decoder) syntax(source []byte, err error) {
	p := Problem{Text: "not valid YAML"}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		p.Text += ": " + syntax.GetMessage()
		if at := syntax.GetToken(); at != nil {
			p.Line = at.Position.Line
		}
	}
	lines := bytes.Split(source, []byte("\n"))
	if p.Line > 0 && p.Line <= len(lines) && bytes.Contains(lines[p.Line-1], []byte("${")) {
		p.Text += "; inside { } and [ ] a value with ${…} needs quotes"
	}
	d.problems = append(d.problems, p)
	d.unread[""] = true
}

// maxProblems is more than anybody reads.
const maxProblems = 200

// problem notes that the value of a key could not be read.
func (d *decoder) problem(at ast.Node, path, format string, args ...any) {
	d.unread[path] = true
	d.odd(at, path, format, args...)
}

// odd notes a mistake that leaves every known key as it is.
func (d *decoder) odd(at ast.Node, path, format string, args ...any) {
	if len(d.problems) >= maxProblems {
		return
	}
	d.problems = append(d.problems, Problem{Line: lineOf(at), Path: path, Text: fmt.Sprintf(format, args...)})
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// value reads any node into v. A key without a value leaves the default.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	defer func() { d.depth-- }()
	if !d.enter() {
		d.problem(n, path, "nested too deeply")
		return
	}
	n = d.plain(n, path)
	if n == nil || n.Type() == ast.NullType {
		return
	}
	switch {
	case isScalar(v.Type()):
		d.scalar(n, v, path, tag)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	default:
		d.section(n, v, path)
	}
}

// plain resolves anchors, aliases and tags.
func (d *decoder) plain(n ast.Node, path string) ast.Node {
	switch n := n.(type) {
	case *ast.AnchorNode:
		d.anchors[n.Name.GetToken().Value] = n.Value
		return d.plain(n.Value, path)
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := d.anchors[name]
		if !ok {
			d.problem(n, path, "there is no anchor %q above", name)
			return nil
		}
		return d.plain(target, path)
	case *ast.TagNode:
		return d.plain(n.Value, path)
	}
	return n
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	var text string
	switch n := n.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	case *ast.MappingNode, *ast.SequenceNode, *ast.MappingValueNode:
		var ok bool
		if text, ok = unsplit(n); !ok {
			d.problem(n, path, "expected one value (%s)", typeName(v.Type()))
			return
		}
	default:
		// What was written, so that a password of digits keeps its zeros.
		text = n.GetToken().Value
	}
	text, err := d.resolver.resolve(text, v.Type() == secretType)
	if err == nil {
		err = setScalar(v, text)
	}
	if err != nil {
		d.problem(n, path, "%s", err)
		return
	}
	if tag.Get("path") != "" && v.String() != "" && !filepath.IsAbs(v.String()) {
		v.SetString(filepath.Join(d.resolver.dir, v.String()))
	}
}

// unsplit puts back together what the parser takes for a mapping: a list inside
// { } that holds host:5000. A colon makes a mapping only with a space behind it
// (YAML 1.2, section 7.3.3).
func unsplit(n ast.Node) (string, bool) {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) == 1 {
		n = m.Values[0]
	}
	pair, ok := n.(*ast.MappingValueNode)
	if !ok || pair.Value == nil {
		return "", false
	}
	key, colon, value := pair.Key.GetToken(), pair.Start, pair.Value.GetToken()
	_, scalar := pair.Value.(ast.ScalarNode)
	plain := key.Indicator != token.QuotedScalarIndicator && value.Indicator != token.QuotedScalarIndicator
	touching := key.Position.Column+utf8.RuneCountInString(key.Value) == colon.Position.Column && colon.Position.Column+1 == value.Position.Column &&
		key.Position.Line == value.Position.Line
	return key.Value + ":" + value.Value, scalar && plain && touching
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(n, path, "expected a list, one entry per line that begins with a hyphen")
		return
	}
	v.SetZero()
	if len(seq.Values) > 0 {
		v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	}
	for i, entry := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = lineOf(entry)
		if v.Index(i).Kind() == reflect.Struct && !isScalar(v.Type().Elem()) {
			setDefaults(v.Index(i))
		}
		d.value(entry, v.Index(i), at, "")
	}
}
