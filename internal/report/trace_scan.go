package report

import (
	"fmt"
	"strings"
	"time"
)

// The steps of the scan.

// stuckAfter is how long a scan may be due, with none of its registry at work,
// before nobody seems to take it.
const stuckAfter = 5 * time.Minute

// causeWords say what asked for a scan.
var causeWords = map[string]string{
	"push": "for the push", "delete": "for a delete", "request": "that was asked for", "upload": "for the upload", "reconcile": "that reconcile asked for",
}

func (f TraceFacts) scanSteps() []TraceStep {
	s := f.Scan
	if s == nil {
		return nil
	}
	id, created := s.ID, s.CreatedAt
	step := TraceStep{What: AboutScan, At: &created, Mood: Fine, State: string(s.State), Reason: s.Reason, ScanID: &id}
	name := fmt.Sprintf("scan %d %s", s.ID, causeWords[s.Cause])
	switch s.State {
	case RunQueued:
		f.queued(&step, name)
	case RunRunning:
		step.Mood = Waiting
		if s.StartedAt != nil {
			step.At = s.StartedAt
			name += " began " + ago(f.Now.Sub(*s.StartedAt))
		}
		step.Progress = s.Progress
		step.Text = fmt.Sprintf("%s, attempt %d: %s", name, s.Attempt, f.doing())
	case RunDone:
		step.At, step.Text = s.FinishedAt, name+" is done"+f.took()
	case RunFailed:
		words, _ := failure(s.Reason)
		step.At, step.Mood = s.FinishedAt, Trouble
		step.Text = fmt.Sprintf("%s failed after %s: %s", name, many(s.Attempt, "attempt"), because(words, s.Detail))
	case RunCanceled:
		step.At = s.FinishedAt
		f.canceled(&step, name)
	}
	return []TraceStep{step}
}

// canceled says why a scan came to no end of its own.
func (f TraceFacts) canceled(step *TraceStep, name string) {
	s := f.Scan
	if s.CanceledBy == "" {
		step.Mood, step.Text = Note, because(name+" was left to another", s.Detail)
		return
	}
	step.Mood, step.Text = Trouble, fmt.Sprintf("%s was canceled by %s", name, s.CanceledBy)
	if s.FinishedAt != nil {
		step.Text += " " + ago(f.Now.Sub(*s.FinishedAt))
	}
	if p := s.Progress; p != nil {
		step.Progress, step.Text = p, step.Text+"; last heard: "+p.Words()
	}
}

// queued says what a scan waits for.
func (f TraceFacts) queued(step *TraceStep, name string) {
	s, q := f.Scan, f.Queue
	step.Mood = Waiting
	if s.RunAfter.After(f.Now) {
		until := s.RunAfter
		step.Until = &until
	}
	switch {
	case s.Attempt > 0 && s.Reason != "":
		words, _ := failure(s.Reason)
		step.Mood = Trouble
		step.Text = fmt.Sprintf("attempt %d of %s failed: %s; the next is due %s", s.Attempt, name, because(words, s.Detail), f.due())
	case step.Until != nil:
		step.Text = fmt.Sprintf("%s is held and due %s: more of the same push may come", name, f.due())
	case f.Build == nil:
		step.Mood, step.Text = Trouble, name+" waits: there is no vulnerability database yet"
	case q == nil:
		step.Text = name + " is queued"
	case q.Busy:
		step.Text = name + " waits until another scan of the same target has ended"
	default:
		f.inLine(step, name)
	}
}

// inLine tells of a scan whose time has come and whose turn has not.
func (f TraceFacts) inLine(step *TraceStep, name string) {
	q := f.Queue
	if q.InLine {
		step.Count = &q.Before
	}
	running := many(q.Running, "scan")
	if q.MaxRunning != nil {
		running += fmt.Sprintf(" of at most %d", *q.MaxRunning)
	}
	if q.Running == 1 {
		running += " runs"
	} else {
		running += " run"
	}
	before := "none is before it"
	switch {
	case q.Before >= MaxBefore:
		before = fmt.Sprintf("%d or more are before it", MaxBefore)
	case q.Before == 1:
		before = "1 is before it"
	case q.Before > 1:
		before = fmt.Sprintf("%d are before it", q.Before)
	}
	step.Text = fmt.Sprintf("%s is queued: in the line of its registry %s, and %s", name, before, running)
	if f.stuck() {
		step.Mood = Trouble
		step.Text += "; " + f.noWorker()
	}
}

// stuck reports that nobody seems to take scans.
func (f TraceFacts) stuck() bool {
	return f.Scan != nil && f.Scan.State == RunQueued && f.Queue != nil && f.Queue.Running == 0 && !f.Queue.Busy &&
		f.Now.Sub(f.Scan.RunAfter) > stuckAfter
}

func (f TraceFacts) noWorker() string {
	if f.Queue.LastStarted == nil {
		return "no worker ever took a scan of this registry"
	}
	return "the last scan of this registry began " + ago(f.Now.Sub(*f.Queue.LastStarted))
}

func (f TraceFacts) due() string {
	if wait := f.Scan.RunAfter.Sub(f.Now); wait > 0 {
		return "in " + span(wait)
	}
	return "now"
}

// doing is what a running scan is at.
func (f TraceFacts) doing() string {
	switch {
	case f.Scan.Progress != nil:
		return f.Scan.Progress.Words()
	case f.Scan.Resolved == "":
		return "it asks the registry what this is"
	case f.Queue != nil && len(f.Queue.Cataloguing) > 0:
		if platforms := strings.Trim(strings.Join(f.Queue.Cataloguing, ", "), ", "); platforms != "" {
			return "it pulls and catalogues the image for " + platforms
		}
		return "it pulls and catalogues the image"
	}
	return "it judges what is inside and stores the answer"
}

// took adds how long a scan took and what it pulled.
func (f TraceFacts) took() string {
	s := f.Scan
	if s.StartedAt == nil || s.FinishedAt == nil {
		return ""
	}
	text := " after " + brief(s.FinishedAt.Sub(*s.StartedAt).Seconds())
	var names []string
	sums := map[string]float64{}
	for _, p := range s.Phases {
		if _, known := sums[p.Name]; !known {
			names = append(names, p.Name)
		}
		sums[p.Name] += p.Seconds
	}
	for i, name := range names {
		names[i] = name + " " + brief(sums[name])
	}
	if len(names) > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	if s.PulledBytes > 0 {
		text += "; " + volume(s.PulledBytes) + " were pulled"
	}
	return text
}
