package notify

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// card is a message for people, in a form that every channel can show without
// taking any of its text for markup.
type card struct {
	title string
	lines []cardLine
	link  string // where to read on; may be empty
}

// cardLine is a line of text, or an item of a list.
type cardLine struct {
	item bool
	runs []run
}

// Lengths that no name needs: what is longer only keeps the rest from being read.
const (
	maxRun  = 1000 // characters
	maxLink = 1000 // bytes
)

// run is a piece of text in one style.
type run struct {
	text string
	bold bool
	link string // of safeLink; may be empty
}

func (c *card) say(runs ...run) { c.lines = append(c.lines, cardLine{runs: runs}) }

func (c *card) list(runs ...run) { c.lines = append(c.lines, cardLine{item: true, runs: runs}) }

// text is a run of a text from outside.
func text(format string, args ...any) run {
	return run{text: cut(line(fmt.Sprintf(format, args...)), maxRun)}
}

func strong(s string) run { return run{text: cut(line(s), maxRun), bold: true} }

// linked is a text that leads to an address, or the text alone where the address is
// not one to follow.
func linked(s, to string) run {
	return run{text: cut(line(s), maxRun), link: safeLink(to)}
}

// safeLink returns a web address as it is, and nothing for what a reader should not
// click on or what does not stay on one line.
func safeLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(s) > maxLink || line(s) != s || strings.ContainsAny(s, " <>\"") {
		return ""
	}
	return s
}

// plain writes the card as text alone, one line each.
func (c card) plain() string {
	var b strings.Builder
	for _, l := range c.lines {
		if l.item {
			b.WriteString("- ")
		}
		for _, r := range l.runs {
			b.WriteString(r.text)
			if r.link != "" && r.link != r.text {
				b.WriteString(" (" + r.link + ")")
			}
		}
		b.WriteString("\n")
	}
	if c.link != "" {
		b.WriteString("\n" + c.link + "\n")
	}
	return b.String()
}

// cardOf writes a message for people.
func cardOf(n report.News) card {
	c := card{title: cut(line(n.Title), maxRun), link: safeLink(n.Link)}
	switch n.Kind {
	case report.NewsTest:
		c.say(text("This is a test of the channel. If you can read it, it works."))
	case report.NewsDigest:
		c.digest(n)
	default:
		c.group(n.Groups[0])
	}
	if n.Sample {
		c.say(strong("Judged with the sample database, which knows a few vulnerabilities only."))
	}
	if n.Kind != report.NewsTest {
		c.say(text("Rule %s.", n.Rule))
	}
	return c
}

func (c *card) digest(n report.News) {
	c.say(text("%s, %s.", count(n.Counts.Findings, "change"), breakdown(n.Counts)))
	for _, g := range n.Groups {
		c.list(linked(groupTitle(g), g.Link))
	}
	if more := n.GroupCount - len(n.Groups); more > 0 {
		c.list(text("and %s more", thousands(more)))
	}
}

func (c *card) group(g report.NewsGroup) {
	if g.Image != nil {
		c.image(g)
		return
	}
	c.vulnerability(g)
}

func (c *card) image(g report.NewsGroup) {
	c.say(text("%s, %s.", sentence(what(g.Counts)), causeWords(g.Cause)))
	for _, f := range g.Image.Findings {
		words := fmt.Sprintf(" %s in %s %s", f.Severity, f.Package, f.Version)
		if f.FixVersion != "" {
			words += ", fixed in " + f.FixVersion
		}
		if f.KnownExploited {
			words += ", known exploited"
		}
		c.list(strong(f.Vulnerability), text("%s", words))
	}
	if more := g.Counts.Findings - len(g.Image.Findings); more > 0 {
		c.list(text("and %s more", thousands(more)))
	}
	if g.Image.Digest != "" {
		c.say(text("Digest %s", g.Image.Digest))
	}
}

func (c *card) vulnerability(g report.NewsGroup) {
	v := g.Vulnerability
	c.say(text("%s, %s.", sentence(what(g.Counts)), causeWords(g.Cause)))
	where := fmt.Sprintf(" %s", v.Package)
	if len(v.Versions) > 0 {
		where += " " + strings.Join(v.Versions, ", ")
	}
	if v.FixVersion != "" {
		where += ", fixed in " + v.FixVersion
	} else if !g.Fixable {
		where += ", no fix yet"
	}
	c.say(strong("Package"), text("%s", where))
	if v.Description != "" {
		c.say(text("%s", v.Description))
	}
	if v.EPSS != nil {
		c.say(strong("Probability of exploitation"), text(" %.1f %%", *v.EPSS*100))
	}
	if g.Reach != nil {
		c.reach(*g.Reach)
	}
	if v.Advisory != "" {
		c.say(linked(v.Advisory, v.Advisory))
	}
}

func (c *card) reach(r report.NewsReach) {
	words := " " + count(r.Repositories, "repository")
	if r.Images > 0 {
		words += ", " + count(r.Images, "image") + ", " + count(r.Tags, "tag")
	}
	c.say(strong("Where"), text("%s", words))
	if s := r.Shared; s != nil {
		words := fmt.Sprintf(" %s of %s images, %s", thousands(s.Images), thousands(r.Images), megabytes(s.Size))
		if s.Base != "" {
			words += ", from " + s.Base
		} else if s.CreatedBy != "" {
			words += ", up to " + s.CreatedBy
		}
		c.say(strong("The same "+count(s.Layers, "layer")), text("%s", words))
	}
	for _, p := range r.Examples {
		words := p.Repository
		if p.Tag != "" {
			words += ":" + p.Tag
		}
		if p.Tags > 1 {
			words += fmt.Sprintf(" and %s more", thousands(p.Tags-1))
		}
		c.list(text("%s", words))
	}
	if more := r.Repositories - len(r.Examples); more > 0 {
		c.list(text("and %s more", count(more, "repository")))
	}
}

// sentence begins with a capital.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
