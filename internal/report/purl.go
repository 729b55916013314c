package report

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// PURL is a package URL taken apart (purl specification, "How to parse a purl
// string in its components"), percent-decoded.
type PURL struct {
	Type       string // lower case
	Namespace  string // segments joined by "/"; may be empty
	Name       string
	Version    string            // may be empty
	Qualifiers map[string]string // by lower-case key; never of empty value
	Subpath    string
}

var purlType = regexp.MustCompile(`^[a-z][a-z0-9.+-]*$`)

// ParsePURL reads a package URL. It takes what images hold: an escape that is
// none stays as it is written. The error is of kind Invalid.
func ParsePURL(s string) (PURL, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !strings.EqualFold(scheme, "pkg") {
		return PURL{}, notPURL(s)
	}
	var p PURL
	rest, subpath, _ := strings.Cut(rest, "#")
	p.Subpath = unescape(strings.Trim(subpath, "/"))
	rest, qualifiers, _ := strings.Cut(rest, "?")
	p.Qualifiers = readQualifiers(qualifiers)
	kind, path, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	p.Type = strings.ToLower(kind)
	path = strings.Trim(path, "/")
	slash := strings.LastIndexByte(path, '/')
	// An @ that is no part of a version begins a scope: pkg:npm/@types/node.
	if at := strings.LastIndexByte(path, '@'); at > slash+1 {
		path, p.Version = path[:at], unescape(path[at+1:])
	}
	if slash >= 0 {
		p.Namespace = unescape(strings.Trim(path[:slash], "/"))
	}
	p.Name = unescape(path[slash+1:])
	whole := p.Namespace + p.Name + p.Version
	if !purlType.MatchString(p.Type) || p.Name == "" || !utf8.ValidString(whole) || strings.ContainsRune(whole, 0) {
		return PURL{}, notPURL(s)
	}
	return p, nil
}

func notPURL(s string) error {
	return errs.New(errs.Invalid, "%.200q is not a package URL", s).WithField("purl").
		WithHint("write it as pkg:npm/lodash or pkg:deb/debian/openssl@3.0.11; name searches by the bare name")
}

func readQualifiers(s string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(s, "&") {
		if key, value, ok := strings.Cut(pair, "="); ok && value != "" {
			out[strings.ToLower(key)] = unescape(value)
		}
	}
	return out
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// Names reports whether p, as somebody asks for it, names the package that other
// belongs to. What p leaves out may be anything: version, qualifiers and the
// namespace; but in npm and Hex a name without a scope is another package than
// the one within. Type, namespace and name are compared without regard to case,
// names of PyPI as it does (PEP 503).
func (p PURL) Names(other PURL) bool {
	scoped := p.Type == "npm" || p.Type == "hex"
	if p.Type != other.Type || p.nameKey() != other.nameKey() ||
		(p.Version != "" && p.Version != other.Version) || (p.Subpath != "" && p.Subpath != other.Subpath) {
		return false
	}
	if (p.Namespace != "" || scoped) && lower(p.Namespace) != lower(other.Namespace) {
		return false
	}
	for key, value := range p.Qualifiers {
		if other.Qualifiers[key] != value {
			return false
		}
	}
	return true
}

func (p PURL) nameKey() string {
	if p.Type == "pypi" {
		return PyPIName(p.Name)
	}
	return lower(p.Name)
}

// Keys lists under which keys packages that p may name are found: the type and
// the name, each way the name may be escaped. The function purl_key of the
// schema makes the same of a stored purl.
func (p PURL) Keys() []string {
	keys := []string{
		p.Type + "/" + p.nameKey(), p.Type + "/" + lower(url.PathEscape(p.Name)), p.Type + "/" + lower(url.QueryEscape(p.Name)),
		p.Type + "/" + lower(strings.ReplaceAll(url.PathEscape(p.Name), "+", "%2B")),
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

var runOfSeparators = regexp.MustCompile(`[-_.]+`)

// PyPIName is the form under which PyPI takes names for the same (PEP 503,
// "Normalized Names").
func PyPIName(name string) string { return runOfSeparators.ReplaceAllString(lower(name), "-") }

// PackageNameKeys returns the keys of the packages that go by a name: of the
// type python, and of all others. The function package_key of the schema makes
// the same of a stored package.
func PackageNameKeys(name string) (python, other string) { return PyPIName(name), lower(name) }

// lower folds ASCII only, as the schema does: other letters would depend on the
// database's locale.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// VulnerabilityNames returns the spellings a vulnerability may be stored under
// that somebody calls id: as given, in the usual form of CVE and GHSA, and in
// capitals, as most publishers have it.
func VulnerabilityNames(id string) []string {
	upper := strings.ToUpper(id)
	names := []string{id}
	for _, prefix := range []string{"GHSA-", "CGA-"} { // their bodies are lower case
		if body, ok := strings.CutPrefix(upper, prefix); ok {
			names = append(names, prefix+lower(body))
		}
	}
	names = append(names, upper)
	slices.Sort(names)
	return slices.Compact(names)
}
