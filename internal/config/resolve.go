package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// resolver replaces references in values by what they stand for.
type resolver struct {
	env func(string) (string, bool)
	dir string // of the configuration file; relative paths begin there
}

// maxSecretFile bounds what a file: reference reads.
const maxSecretFile = 64 << 10

var envReference = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// resolve replaces every ${NAME} in text by the environment variable and $${ by
// ${; any other dollar sign is kept. With files, a text "file:PATH" stands for
// the content of the file without the line ends behind it. What was put in is
// not looked at again. Errors name the variable or file and never a content.
func (r resolver) resolve(text string, files bool) (string, error) {
	if path, ok := strings.CutPrefix(text, "file:"); ok && files {
		path, err := r.expand(path)
		if err != nil {
			return "", err
		}
		return r.read(path)
	}
	return r.expand(text)
}

func (r resolver) expand(text string) (string, error) {
	var failed error
	out := envReference.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$${" {
			return "${"
		}
		name := strings.TrimSuffix(strings.TrimPrefix(match, "${"), "}")
		if !strings.HasSuffix(match, "}") || !envName.MatchString(name) {
			failed = firstError(failed, fmt.Errorf("a variable is written ${NAME} with letters, digits and underscores; for a plain ${ write $${"))
			return ""
		}
		value, ok := r.env(name)
		if !ok {
			failed = firstError(failed, fmt.Errorf("environment variable %s is not set", name))
		}
		return value
	})
	return out, failed
}

func (r resolver) read(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	if len(content) > maxSecretFile {
		return "", fmt.Errorf("secret file %s is larger than %s", path, Size(maxSecretFile))
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
