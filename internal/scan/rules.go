package scan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Names under which images are left out without a rule of that name. No rule may
// have one of them.
const (
	// NotIncluded leaves out what no include rule matches, where there are any.
	NotIncluded = "not_included"
	// PlatformRule leaves out images of platforms that nobody asks for.
	PlatformRule = "platforms"
)

// Glob matches names: * stands for any characters but a slash, ** for any
// characters, everything else for itself. The zero Glob matches everything.
type Glob struct {
	pattern  string
	compiled *regexp.Regexp // nil matches everything
}

// NewGlob reads a pattern; an empty one matches everything.
func NewGlob(pattern string) Glob {
	if pattern == "" {
		return Glob{}
	}
	var out strings.Builder
	for i, part := range strings.Split(pattern, "**") {
		if i > 0 {
			out.WriteString(".*")
		}
		for n, literal := range strings.Split(part, "*") {
			if n > 0 {
				out.WriteString("[^/]*")
			}
			out.WriteString(regexp.QuoteMeta(literal))
		}
	}
	// Nothing in it can fail to compile, and matching takes time linear in the name.
	return Glob{pattern, regexp.MustCompile(`\A(?s:` + out.String() + `)\z`)}
}

// Match reports whether the glob matches the whole name.
func (g Glob) Match(name string) bool { return g.compiled == nil || g.compiled.MatchString(name) }

// All reports whether the glob matches everything.
func (g Glob) All() bool { return g.pattern == "" }

// String returns the pattern.
func (g Glob) String() string { return g.pattern }

// Rule matches images by what they are called and how old they are; all that it
// says has to hold.
type Rule struct {
	Name       string // unique among the rules of a registry
	Repository Glob
	// Tag matches no image without a tag, unless it is the zero Glob.
	Tag Glob
	// OlderThan matches images made longer ago; 0 asks for no age. An image that
	// does not say when it was made is of no age, and so is one from before 2000:
	// builds that are to be reproducible write such dates.
	OlderThan time.Duration
}

// Rules say which images of a registry are wanted. An image is left out by the
// first exclude rule that matches it, or because there are include rules and none
// matches it. The zero value wants all.
type Rules struct {
	Include, Exclude []Rule
}

// Empty reports whether everything is wanted.
func (r Rules) Empty() bool { return len(r.Include) == 0 && len(r.Exclude) == 0 }

// Excludes names the rule that leaves an image out; empty when it is wanted. tag
// is empty for an image without one, created zero when nobody says.
func (r Rules) Excludes(repository, tag string, created, now time.Time) string {
	matches := func(rule Rule) bool { return rule.named(repository, tag) && rule.aged(created, now) }
	if i := slices.IndexFunc(r.Exclude, matches); i >= 0 {
		return r.Exclude[i].Name
	}
	if len(r.Include) > 0 && !slices.ContainsFunc(r.Include, matches) {
		return NotIncluded
	}
	return ""
}

func (r Rule) named(repository, tag string) bool {
	return r.Repository.Match(repository) && (r.Tag.All() || tag != "" && r.Tag.Match(tag))
}

func (r Rule) aged(created, now time.Time) bool {
	const credible = 2000
	return r.OlderThan == 0 || created.Year() >= credible && now.Sub(created) > r.OlderThan
}

// ExcludesRepository names the rule that leaves a whole repository out, whatever
// its tags are and however old; empty when there is none.
func (r Rules) ExcludesRepository(repository string) string {
	for _, rule := range r.Exclude {
		if rule.Tag.All() && rule.OlderThan == 0 && rule.Repository.Match(repository) {
			return rule.Name
		}
	}
	if len(r.Include) > 0 && !slices.ContainsFunc(r.Include, func(rule Rule) bool { return rule.Repository.Match(repository) }) {
		return NotIncluded
	}
	return ""
}

// Verdict is what can be told of a tag by its name alone.
type Verdict struct {
	// Names are the rules that may leave the tag out, depending on the age of what
	// it points to.
	Names []string
	// Sure is true when one of them does, whatever the age.
	Sure bool
}

// May reports whether the tag may be left out by the named rule.
func (v Verdict) May(rule string) bool { return slices.Contains(v.Names, rule) }

// Tag tells what the rules say of a tag before anything is known of the image.
func (r Rules) Tag(repository, tag string) Verdict {
	var v Verdict
	for _, rule := range r.Exclude {
		if !rule.named(repository, tag) {
			continue
		}
		v.Names = append(v.Names, rule.Name)
		if rule.OlderThan == 0 {
			v.Sure = true
			return v // no rule behind it is reached
		}
	}
	if len(r.Include) == 0 {
		return v
	}
	named := func(rule Rule) bool { return rule.named(repository, tag) }
	if slices.ContainsFunc(r.Include, func(rule Rule) bool { return named(rule) && rule.OlderThan == 0 }) {
		return v
	}
	v.Names = append(v.Names, NotIncluded)
	v.Sure = !slices.ContainsFunc(r.Include, named)
	return v
}

// Fingerprint is equal for rules that say the same; empty when there are none.
func (r Rules) Fingerprint() string {
	if r.Empty() {
		return ""
	}
	hash := sha256.New()
	for i, rules := range [][]Rule{r.Include, r.Exclude} {
		for _, rule := range rules {
			// Hash writes never fail.
			_, _ = fmt.Fprintf(hash, "%d %q %q %q %d\n", i, rule.Name, rule.Repository.pattern, rule.Tag.pattern, rule.OlderThan)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// rule marks the target and its children as left out when a rule says so. What
// another tag of the repository holds and no rule leaves out under that name is
// wanted. What somebody asks for is always looked at.
func (r *run) rule(ctx context.Context, root Manifest) (Manifest, error) {
	rules := r.Rules[r.job.Registry]
	if rules.Empty() || r.job.Cause == CauseRequest || r.job.Cause == CauseUpload {
		return root, nil
	}
	now := time.Now()
	rule := rules.Excludes(r.job.Ref.Repository, r.job.Ref.Tag, root.newest(), now)
	if rule == "" {
		return root, nil
	}
	tags, err := r.Store.TagsOf(ctx, r.job, root.digests())
	if err != nil {
		return root, err
	}
	wanted := func(m Manifest) bool {
		return slices.ContainsFunc(tags[m.Digest], func(tag string) bool {
			return tag != r.job.Ref.Tag && rules.Excludes(r.job.Ref.Repository, tag, m.newest(), now) == ""
		})
	}
	if wanted(root) {
		return root, nil
	}
	root.Excluded = rule
	for i, c := range root.Children {
		if !wanted(c) {
			root.Children[i].Excluded = rule
		}
	}
	return root, nil
}

// newest is when an image was made, or the last image of an index.
func (m Manifest) newest() time.Time {
	newest := m.Created
	for _, c := range m.Children {
		if c.Created.After(newest) {
			newest = c.Created
		}
	}
	return newest
}

// digests lists the manifest and its children.
func (m Manifest) digests() []image.Digest {
	out := []image.Digest{m.Digest}
	for _, c := range m.Children {
		out = append(out, c.Digest)
	}
	return out
}
