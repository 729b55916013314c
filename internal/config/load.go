package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// DefaultPath is read when no file is named; it may be missing.
const DefaultPath = "/etc/tidewaiter/tidewaiter.yaml"

// maxFile bounds the configuration file.
const maxFile = 4 << 20

// Default returns the configuration of an empty file. It has no database and so
// does not pass Validate.
func Default() Config {
	var c Config
	setDefaults(reflect.ValueOf(&c).Elem())
	return c
}

// Option changes what Load does.
type Option func(*decoder)

// WithFlags names flags by the environment variable they stand for, as
// "listen" by "TIDEWAITER_LISTEN": of those given here, the env of Load returns
// the value of the flag, and problems call it so.
func WithFlags(flags map[string]string) Option {
	return func(d *decoder) { d.flags = flags }
}

// Forgiving leaves out problems of keys that unused reports, for commands that do
// nothing with them. Their values may be missing.
func Forgiving(unused func(path string) bool) Option {
	return func(d *decoder) { d.forgiven = unused }
}

// Load reads the file at path, then what env overrides (Keys tells the names),
// replaces references to secrets, and checks everything. An empty path stands
// for no file; a missing file is an error unless it is DefaultPath. env is
// usually os.LookupEnv. Errors are of kind Invalid, or NotFound for a missing
// file; errors.As finds the Problems, all of them: what could be read is checked
// even when something else could not.
func Load(path string, env func(string) (string, bool), options ...Option) (Config, error) {
	source, found, err := readFile(path)
	if err != nil {
		return Config{}, err
	}
	c, problems := load(source, filepath.Dir(path), env, options...)
	if len(problems) > 0 {
		return Config{}, errs.Wrap(errs.Invalid, title(path, found, problems), problems)
	}
	return c, nil
}

// title is how errors call the configuration. A file that is not there, or not
// at fault, is not blamed.
func title(path string, found bool, problems Problems) string {
	switch {
	case problems.elsewhere():
		return "config"
	case path == "":
		return "config: flags and environment"
	case !found:
		return "config: no configuration file at " + path
	}
	return "config: " + path
}

// load does the work of Load on the content of a file.
func load(source []byte, dir string, env func(string) (string, bool), options ...Option) (Config, Problems) {
	c := Default()
	d := decoder{
		resolver: resolver{env: env, dir: dir}, anchors: map[string]ast.Node{}, lines: map[string]int{},
		sources: map[string]string{}, unread: map[string]bool{},
	}
	for _, option := range options {
		option(&d)
	}
	d.decode(source, reflect.ValueOf(&c).Elem())
	d.environment(reflect.ValueOf(&c).Elem(), "")
	c.canonicalise()
	d.problems = d.problems.forgive(d.forgiven)
	checked := append(c.problems(), c.fileProblems()...).forgive(d.forgiven)
	problems := append(d.problems, checked.without(d.unread)...)
	problems = problems[:min(len(problems), maxProblems)]
	problems.place(d.lines, d.sources)
	if len(d.problems) > 0 {
		return Config{}, problems
	}
	return c, problems
}

// readFile also reports whether there is a file.
func readFile(path string) (source []byte, found bool, err error) {
	if path == "" {
		return nil, false, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && path == DefaultPath {
		return nil, false, nil
	}
	if err != nil {
		kind := errs.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = errs.NotFound
		}
		return nil, false, &errs.Error{Kind: kind, Op: "config: read", Err: err, Hint: "name the file with --config; `tidewaiter config example` prints one to start from"}
	}
	defer func() { _ = f.Close() }()
	source, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, true, errs.Wrap(errs.Invalid, "config: read", err)
	case len(source) > maxFile:
		return nil, true, errs.New(errs.TooLarge, "config: %s is larger than %s", path, Size(maxFile))
	}
	return source, true, nil
}

// environment overrides keys that have an environment variable. A variable that
// is set to nothing counts as not set; one for a secret may be a file: reference.
func (d *decoder) environment(v reflect.Value, path string) {
	for i := range v.NumField() {
		field, tag := v.Field(i), v.Type().Field(i).Tag
		at := join(path, tag.Get("yaml"))
		if field.Kind() == reflect.Struct && !isScalar(field.Type()) {
			d.environment(field, at)
			continue
		}
		variable := tag.Get("env")
		if variable == "" {
			continue
		}
		text, ok := d.resolver.env(variable)
		if !ok || text == "" {
			continue
		}
		d.sources[at] = variable
		if flag, ok := d.flags[variable]; ok {
			d.sources[at] = "--" + flag
		}
		delete(d.unread, at)
		if err := d.override(field, text); err != nil {
			d.problems.add(at, "%s", err)
			d.unread[at] = true
		}
	}
}

func (d *decoder) override(field reflect.Value, text string) error {
	if path, ok := strings.CutPrefix(text, "file:"); ok && field.Type() == secretType {
		content, err := d.resolver.read(path)
		if err != nil {
			return err
		}
		text = content
	}
	return setScalar(field, text)
}

// canonicalise brings hosts into the form that references are compared in.
func (c *Config) canonicalise() {
	for i := range c.Registries {
		r := &c.Registries[i]
		r.Host = image.CanonicalHost(r.Host)
		for n, alias := range r.Aliases {
			r.Aliases[n] = image.CanonicalHost(alias)
		}
	}
}
