package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shell reads as much of a shell's language as pages use: words, quotes,
// variables, comments, lists, pipes, and commands inside of $(…).
type shell struct {
	text     string
	commands [][]string
}

// commandsOf lists the commands of a script, each as its words, without what is
// assigned before it and what it is redirected to. The value of a variable is not
// known; a name in its place stands for it.
func commandsOf(script string) [][]string {
	s := &shell{text: strings.ReplaceAll(script, "\\\n", " ")}
	s.list("")
	return s.commands
}

// list reads commands until one of the characters in end.
func (s *shell) list(end string) {
	var words []string
	finish := func() {
		for len(words) > 0 && (assignment(words[0]) || words[0] == "export") {
			words = words[1:]
		}
		if len(words) > 0 {
			s.commands = append(s.commands, words)
		}
		words = nil
	}
	defer finish()
	for s.text != "" {
		switch c := s.text[0]; {
		case strings.IndexByte(end, c) >= 0:
			return
		case c == ' ' || c == '\t':
			s.text = s.text[1:]
		case c == '#':
			_, rest, _ := strings.Cut(s.text, "\n")
			s.text = "\n" + rest
		case strings.IndexByte("\n;|&(){}", c) >= 0:
			s.text = s.text[1:]
			finish()
		case c == '<' || c == '>':
			s.text = strings.TrimLeft(s.text, "<>& ")
			s.word(end)
		default:
			words = append(words, s.word(end))
		}
	}
}

// word reads one word.
func (s *shell) word(end string) string {
	var word strings.Builder
	for s.text != "" {
		c := s.text[0]
		if strings.IndexByte(" \t\n;|&<>()"+end, c) >= 0 {
			break
		}
		s.text = s.text[1:]
		switch c {
		case '\'':
			quoted, rest, _ := strings.Cut(s.text, "'")
			word.WriteString(quoted)
			s.text = rest
		case '"':
			for s.text != "" && s.text[0] != '"' {
				s.character(&word)
			}
			s.text = strings.TrimPrefix(s.text, `"`)
		default:
			s.text = string(c) + s.text
			s.character(&word)
		}
	}
	return word.String()
}

// character takes one, or what stands for others.
func (s *shell) character(word *strings.Builder) {
	switch {
	case strings.HasPrefix(s.text, "$("):
		s.text = s.text[2:]
		s.list(")")
		s.text = strings.TrimPrefix(s.text, ")")
		word.WriteString("value")
	case strings.HasPrefix(s.text, "${"):
		_, rest, _ := strings.Cut(s.text, "}")
		s.text = rest
		word.WriteString("value")
	case s.text[0] == '$':
		rest := strings.TrimLeft(s.text[1:], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789")
		if len(rest) < len(s.text)-1 {
			word.WriteString("value")
		}
		s.text = rest
	case s.text[0] == '\\' && len(s.text) > 1:
		word.WriteByte(s.text[1])
		s.text = s.text[2:]
	default:
		word.WriteByte(s.text[0])
		s.text = s.text[1:]
	}
}

// assignment reports whether a word gives a variable its value.
func assignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

func TestCommandsOf(t *testing.T) {
	for _, c := range []struct {
		script string
		want   [][]string
	}{
		{"tidewaiter version # prints it\n", [][]string{{"tidewaiter", "version"}}},
		{`a "b c" 'd"e' f\ g`, [][]string{{"a", "b c", `d"e`, "f g"}}},
		{"a --x=1 \\\n  --y\nb | c > file; d && e", [][]string{{"a", "--x=1", "--y"}, {"b"}, {"c"}, {"d"}, {"e"}}},
		{`export T=$(tidewaiter token create ci --scope triage)`, [][]string{{"tidewaiter", "token", "create", "ci", "--scope", "triage"}}},
		{`A=1 B="two words" tidewaiter migrate`, [][]string{{"tidewaiter", "migrate"}}},
		{`curl -H "Authorization: Bearer $TOKEN" "$URL/api/v1/tags?repository=${R}&limit=5"`,
			[][]string{{"curl", "-H", "Authorization: Bearer value", "value/api/v1/tags?repository=value&limit=5"}}},
		{"curl 'http://h/?a=1&b=2'  \n\n# only words\n", [][]string{{"curl", "http://h/?a=1&b=2"}}},
		{`x "$(y 'z' | w)" end`, [][]string{{"y", "z"}, {"w"}, {"x", "value", "end"}}},
	} {
		if diff := cmp.Diff(c.want, commandsOf(c.script)); diff != "" {
			t.Errorf("%s\n%s", c.script, diff)
		}
	}
}
