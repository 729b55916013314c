package doctor

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

const configuration = "configuration"

// readConfiguration reads it and tells every problem. What could be read is gone by
// in the other checks, so that one wrong key hides nothing else.
func (e *examination) readConfiguration() []Finding {
	loaded, err := e.Load()
	if err == nil {
		e.config = loaded
		return []Finding{{Check: configuration, Status: OK, Found: fmt.Sprintf("%s: %s", e.Path, contents(loaded))}}
	}
	if !errors.As(err, &e.wrong) {
		e.unreadable = true
		return []Finding{failed(configuration, err, "name the file with --config")}
	}
	var found []Finding
	for _, p := range e.wrong {
		found = append(found, Finding{configuration, Fail, p.String(), e.fixOf(p)})
		e.unreadable = e.unreadable || p.Path == "" && p.Line > 0
	}
	if e.unreadable {
		return found
	}
	if e.config, err = e.Load(config.Forgiving(func(string) bool { return true })); err != nil {
		e.unreadable = true
	}
	return found
}

// contents says in a few words what a configuration is about.
func contents(c config.Config) string {
	var roles []string
	for _, r := range []struct {
		name string
		on   bool
	}{{"receiver", c.Receiver.Enabled}, {"workers", c.Workers.Enabled}, {"API", c.API.Enabled}} {
		if r.on {
			roles = append(roles, r.name)
		}
	}
	return fmt.Sprintf("%s; %d registries, %d notification channels", strings.Join(roles, ", "), len(c.Registries), len(c.Notify.Channels))
}

var unsetVariable = regexp.MustCompile(`environment variable (\S+) is not set`)

// fixOf says what to do about a problem, as far as its text does not.
func (e *examination) fixOf(p config.Problem) string {
	where := e.Path
	if p.Line > 0 {
		where = fmt.Sprintf("%s, line %d", where, p.Line)
	}
	switch m := unsetVariable.FindStringSubmatch(p.Text); {
	case m != nil:
		return fmt.Sprintf("set %s in the environment that the service and this command start with, or write file:PATH in %s", m[1], where)
	case strings.Contains(p.Text, "secret file"), strings.Contains(p.Text, "no such file"):
		return fmt.Sprintf("make the file, readable for the user that the service runs as, or correct its path in %s", where)
	case strings.Contains(p.Text, "permission denied"):
		return "let the user that the service runs as read the file"
	case strings.Contains(p.Text, "unknown"), strings.Contains(p.Text, "no key"):
		return fmt.Sprintf("correct the name or remove the key in %s; docs/configuration.md lists every key", where)
	case strings.Contains(p.Text, "private key does not match"):
		return "put the key that belongs to the certificate beside it; a renewal may have replaced one of the two files only"
	case p.Source != "":
		return "correct " + p.Source
	}
	return "correct it in " + where
}

// isWrong reports whether something is wrong with a key or below it, so that there
// is no use in trying what it says.
func (e *examination) isWrong(path string) bool {
	for _, p := range e.wrong {
		if rest, ok := strings.CutPrefix(p.Path, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// left is the finding of a check that is left out because of the configuration.
func left(name string) []Finding {
	return []Finding{{Check: name, Status: Skipped, Found: "not tried: its configuration has a problem"}}
}
