package report

import (
	"fmt"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// The steps of what is known of the image: manifest, rule, tag, answer,
// reconcile.

func (f TraceFacts) manifestSteps() []TraceStep {
	i := f.Image
	if i == nil || i.Digest == "" {
		return nil
	}
	step := TraceStep{What: AboutManifest, At: i.FirstSeen, Mood: Fine, State: string(i.State), Reason: i.Reason, Digest: i.Digest}
	name := fmt.Sprintf("%s is %s", short(i.Digest), f.whatItIs())
	if len(f.Indexes) > 0 {
		name += " of the index " + strings.Join(f.Indexes, ", ")
	}
	switch {
	case i.Presence == Excluded:
		step.Mood, step.Text = Note, name
	case !i.State.Final():
		step.Mood, step.Text = Waiting, name+" and not catalogued yet"
	case i.State == StateDone:
		step.Text = name + " and catalogued"
	case i.State == StateCanceled:
		step.Mood, step.Text = Trouble, because(name+" and not catalogued", i.Detail)
	case i.State == StateUnsupported:
		step.Mood, step.Text = Note, name+", which has no packages to judge"
	case i.State == StateTooLarge:
		step.Mood, step.Text = Trouble, because(name+" and larger than the limits allow", i.Detail)
	default:
		words, _ := failure(i.Reason)
		if i.Reason == "platform_failed" {
			words = "not all of its platforms have an answer"
		}
		step.Mood, step.Text = Trouble, because(name+" and could not be scanned: "+words, i.Detail)
	}
	if i.Presence == Gone {
		step.Mood, step.Text = Trouble, step.Text+"; the registry no longer has it"
	}
	return []TraceStep{step}
}

// whatItIs is the kind of the image in words.
func (f TraceFacts) whatItIs() string {
	i := f.Image
	switch i.Kind {
	case image.KindIndex:
		n := 0
		for _, p := range i.Platforms {
			if p.Counted() {
				n++
			}
		}
		return "an index of " + many(n, "image")
	case image.KindImage:
		if len(i.Platforms) == 1 && i.Platforms[0].Platform != "" {
			return "an image for " + i.Platforms[0].Platform
		}
		return "an image"
	case image.KindSBOM:
		return "an uploaded SBOM"
	}
	return unsupported(string(i.Kind))
}

func (f TraceFacts) ruleSteps() []TraceStep {
	step := TraceStep{What: AboutRule, Mood: Note}
	switch {
	case f.ExcludedBy != "":
		step.Reason, step.Text = f.ExcludedBy, fmt.Sprintf("the rule %s leaves the whole repository out", f.ExcludedBy)
	case f.LeftOutBy != "":
		step.Reason, step.Text = f.LeftOutBy, fmt.Sprintf("the rule %s leaves it out", f.LeftOutBy)
	default:
		return nil
	}
	return []TraceStep{step}
}

func (f TraceFacts) tagSteps() []TraceStep {
	t := f.Target
	switch {
	case t.Tag == "":
		return f.tagsOfDigest()
	case f.TagNow == nil && f.TagGoneAt != nil:
		return []TraceStep{{What: AboutTag, At: f.TagGoneAt, Mood: Trouble, State: "deleted", Text: fmt.Sprintf("tag %s was found deleted %s", t.Tag, ago(f.Now.Sub(*f.TagGoneAt)))}}
	case f.TagNow == nil:
		return nil
	}
	p := f.TagNow
	at := p.MovedAt
	step := TraceStep{What: AboutTag, At: &at, Mood: Fine, Digest: p.Digest}
	step.Text = fmt.Sprintf("tag %s points to %s, set %s", t.Tag, short(p.Digest), ago(f.Now.Sub(at)))
	if p.Before != "" {
		step.Text = fmt.Sprintf("tag %s points to %s, moved %s from %s", t.Tag, short(p.Digest), ago(f.Now.Sub(at)), short(p.Before))
	}
	if t.Digest != "" && t.Digest != p.Digest {
		step.Mood = Note
		step.Text += fmt.Sprintf("; %s is not what it points to", short(t.Digest))
	}
	return []TraceStep{step}
}

// tagsOfDigest tells which live tags point to a digest.
func (f TraceFacts) tagsOfDigest() []TraceStep {
	switch {
	case f.Image == nil:
		return nil
	case len(f.Image.Tags) == 0 && len(f.Indexes) > 0:
		return nil // its tags are those of the index
	case len(f.Image.Tags) == 0:
		return []TraceStep{{What: AboutTag, Mood: Note, Text: "no live tag points to it"}}
	}
	const most = 5
	tags := f.Image.Tags
	text := strings.Join(tags[:min(len(tags), most)], ", ")
	if len(tags) > most {
		text += " and more"
	}
	return []TraceStep{{What: AboutTag, Mood: Fine, Text: "live tags that point to it: " + text}}
}

func (f TraceFacts) answerSteps() []TraceStep {
	i := f.Image
	if i == nil || i.Counts == nil {
		return nil
	}
	step := TraceStep{What: AboutAnswer, Mood: Fine, State: string(i.Answer), Text: found(*i.Counts)}
	for _, p := range i.Platforms {
		if p.ScannedAt != nil && (step.At == nil || p.ScannedAt.After(*step.At)) {
			step.At = p.ScannedAt
		}
	}
	if !i.Complete {
		step.Mood = Note
		step.Text += "; that is not all: " + f.leftOut()
	}
	if b := i.Build; b != nil {
		step.Text += fmt.Sprintf("; judged with the database of %s", b.Built.UTC().Format("2006-01-02"))
		if b.Sample {
			step.Text += ", a sample that is not for decisions"
		}
	}
	return []TraceStep{step}
}

// found says what counts say.
func found(c Counts) string {
	if c.Total == 0 {
		return "no known vulnerability"
	}
	text := "1 vulnerability"
	if c.Total > 1 {
		text = fmt.Sprintf("%d vulnerabilities", c.Total)
	}
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{c.Critical, "critical"}, {c.High, "high"}, {c.Medium, "medium"}, {c.Low, "low"}, {c.Negligible, "negligible"}, {c.Unknown, "of unknown severity"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	text += ": " + strings.Join(parts, ", ")
	if c.Fixable > 0 {
		text += fmt.Sprintf("; %d can be fixed", c.Fixable)
	}
	if c.KnownExploited > 0 {
		text += fmt.Sprintf("; %d known to be exploited", c.KnownExploited)
	}
	return text
}

// leftOut says why an answer is not complete.
func (f TraceFacts) leftOut() string {
	i := f.Image
	var parts []string
	if len(i.NoData) > 0 {
		parts = append(parts, "the database has nothing for "+strings.Join(i.NoData, ", "))
	}
	for _, p := range i.Platforms {
		if p.Partial != "" && p.Counted() {
			parts = append(parts, p.Partial)
			break
		}
	}
	for _, p := range i.Platforms {
		if p.Counted() && p.Counts == nil {
			parts = append(parts, "some platforms have no answer")
			break
		}
	}
	if len(parts) == 0 {
		return "a part could not be judged"
	}
	return strings.Join(parts, "; ")
}

func (f TraceFacts) reconcileSteps() []TraceStep {
	if !f.Configured || f.Target.Registry == UploadRegistry {
		return nil
	}
	step := TraceStep{What: AboutReconcile, At: f.Reconciled, Mood: Note}
	switch {
	case f.Reconciled != nil:
		step.Mood, step.Text = Fine, "the registry was last compared as a whole "+ago(f.Now.Sub(*f.Reconciled))
	case f.Reconciling:
		step.Mood, step.Text = Waiting, "the registry was never compared as a whole"
	default:
		step.Text = "the registry was never compared as a whole"
	}
	if f.ListedAt != nil {
		step.Text += ", this repository " + ago(f.Now.Sub(*f.ListedAt))
	}
	if f.Reconciling {
		step.Text += "; it is being compared now"
	}
	if f.TagNow != nil {
		step.Text += "; the tag was last seen there " + ago(f.Now.Sub(f.TagNow.LastSeen))
	}
	return []TraceStep{step}
}
