package report

import (
	"cmp"
	"fmt"
	"slices"
)

// Tell makes the story of what is known.
func (f TraceFacts) Tell() Trace {
	t := Trace{
		Reference: f.reference(), Registry: f.Target.Registry, Repository: f.Host + "/" + f.Target.Name,
		Tag: f.Target.Tag, Digest: f.Target.Digest, At: f.Now.UTC(), Steps: []TraceStep{}, Build: f.Build,
	}
	if f.Image != nil {
		t.Digest = f.Image.Digest
		if f.Image.Counts != nil {
			t.Assessment = &f.Image.Assessment
		}
	}
	for _, part := range []func() []TraceStep{
		f.registrySteps, f.endpointSteps, f.rejectedSteps, f.deliverySteps, f.scanSteps, f.manifestSteps, f.ruleSteps, f.tagSteps,
		f.answerSteps, f.reconcileSteps,
	} {
		if f.Configured || len(t.Steps) == 0 {
			t.Steps = append(t.Steps, part()...)
		}
	}
	t.Outcome, t.Conclusion, t.NextStep = f.conclude(t.Steps)
	t.Answered = t.Outcome == OutcomeAnswered
	return t
}

// reference writes the target as it was asked for.
func (f TraceFacts) reference() string {
	ref := f.Host + "/" + f.Target.Name
	if f.Target.Tag != "" {
		ref += ":" + f.Target.Tag
	}
	if f.Target.Digest != "" {
		ref += "@" + string(f.Target.Digest)
	}
	return ref
}

// conclude says where the image is. What is under way comes first: while a newer
// push is, an answer is that of the one before.
func (f TraceFacts) conclude(steps []TraceStep) (outcome Outcome, text, next string) {
	switch {
	case !f.Configured:
		return OutcomeNoRegistry, "No configured registry has the host " + f.Host + ".",
			"add the registry under registries in the configuration, or the host to the aliases of the registry it belongs to"
	case f.Scan != nil && !f.Scan.State.Final():
		return f.pending()
	case f.Scan != nil && f.Scan.State == RunFailed && (f.Image == nil || f.Scan.Resolved == "" && f.Target.Digest == ""):
		words, next := failure(f.Scan.Reason)
		return OutcomeFailed, "The last push could not be looked at: " + words + "." + f.before(), next
	case f.leftCanceled():
		return OutcomeCanceled, fmt.Sprintf("Its scan was canceled by %s, and nobody is going to look at it.%s", f.Scan.CanceledBy, f.before()),
			"push it again, or ask for a scan with POST /api/v1/scans"
	case f.Target.Tag != "" && f.Target.Digest == "" && f.TagNow == nil && f.TagGoneAt != nil:
		return OutcomeGone, "The tag is gone from the registry.", "push it again if it should be there"
	case f.Image != nil:
		return f.imageOutcome()
	case f.Scan != nil && f.Scan.State == RunDone:
		return OutcomeGone, "The registry did not have it when it was asked.", "push it again if it should be there"
	case f.ExcludedBy != "":
		return f.excluded(f.ExcludedBy)
	}
	return f.nothing(steps)
}

// leftCanceled reports that somebody canceled the scan that was to find out, and
// that nothing told of the target since.
func (f TraceFacts) leftCanceled() bool {
	s := f.Scan
	switch {
	case s == nil || s.CanceledBy == "":
		return false
	case f.Image == nil || f.Image.State == StateCanceled:
		return true
	}
	seen := f.TagNow != nil && s.FinishedAt != nil && f.TagNow.LastSeen.After(*s.FinishedAt)
	return s.Resolved == "" && f.Target.Digest == "" && !seen
}

// before adds that an older answer stands.
func (f TraceFacts) before() string {
	if f.Image != nil && f.Image.Counts != nil {
		return " The answer that stands is of the push before."
	}
	return ""
}

func (f TraceFacts) pending() (Outcome, string, string) {
	s := f.Scan
	switch {
	case s.State == RunRunning:
		return OutcomePending, "It is being scanned." + f.before(), ""
	case s.Attempt > 0 && s.Reason != "":
		words, next := failure(s.Reason)
		return OutcomePending, fmt.Sprintf("The last attempt failed: %s. The next is due %s.%s", words, f.due(), f.before()), next
	case f.Build == nil:
		return OutcomePending, "It is queued, and no scan can begin: there is no vulnerability database yet.",
			"wait until it is fetched, or import one with `tidewaiter vulndb import FILE`"
	case f.stuck():
		return OutcomePending, "It is queued, and nobody seems to take scans." + f.before(),
			"check that a process with workers.enabled runs, and GET /readyz of it"
	case s.RunAfter.After(f.Now):
		return OutcomePending, fmt.Sprintf("It is held and due %s.%s", f.due(), f.before()), ""
	}
	return OutcomePending, "It is queued." + f.before(), ""
}

func (f TraceFacts) excluded(rule string) (Outcome, string, string) {
	return OutcomeExcluded, fmt.Sprintf("The rule %s leaves it out.", rule),
		"change the rule in the configuration, or ask for a scan with POST /api/v1/scans, which no rule stops"
}

// imageOutcome concludes from what is known of the image, with nothing under
// way.
func (f TraceFacts) imageOutcome() (Outcome, string, string) {
	i := f.Image
	words, next := failure(i.Reason)
	switch {
	case i.Presence == Excluded:
		return f.excluded(f.LeftOutBy)
	case i.Presence == Gone:
		return OutcomeGone, "The registry no longer has it.", "push it again if it should be there"
	case i.State == StateUnsupported:
		return OutcomeUnsupported, fmt.Sprintf("It is recorded and not scanned: it is %s.", f.kindOrReason()), ""
	case i.State == StateTooLarge:
		return OutcomeTooLarge, "It was not scanned: " + words + ".", next
	case i.State == StateFailed && i.Reason == "platform_failed":
		return OutcomeFailed, "Some of its platforms could not be scanned.", "GET /api/v1/image tells of each platform"
	case i.State == StateFailed:
		return OutcomeFailed, "It could not be scanned: " + words + ".", next
	case i.State != StateDone || i.Counts == nil:
		return OutcomePending, "It is known and waits for its answer.", "ask for a scan with POST /api/v1/scans if none comes"
	case f.Target.Digest != "" && f.TagNow != nil && f.TagNow.Digest != f.Target.Digest:
		return OutcomeAnswered, "It is answered: " + answerWords(*i) + ". The tag points to another digest by now.", ""
	}
	return OutcomeAnswered, "It is answered: " + answerWords(*i) + ".", ""
}

func (f TraceFacts) kindOrReason() string {
	if words, ok := unsupportedWords[f.Image.Reason]; ok {
		return words
	}
	return unsupported(string(f.Image.Kind))
}

// answerWords is the answer in a few words.
func answerWords(i Image) string {
	text := found(*i.Counts)
	switch i.Answer {
	case Unknown:
		return "the database has data for nothing in it, so no findings mean nothing"
	case Partial:
		return text + ", and a part could not be judged"
	}
	return text
}

// nothing concludes when neither a scan nor a manifest is known: nobody told, or
// what was told asked for nothing.
func (f TraceFacts) nothing(steps []TraceStep) (Outcome, string, string) {
	if len(f.Deliveries) > 0 && f.Deliveries[0].Verdict == "ignored" {
		d, next := f.Deliveries[0], ""
		if d.Reason == otherRegistry {
			next = fmt.Sprintf("add %s to the aliases of registry %s, if it is one of its names", cmp.Or(d.NamedHost, "the host that the event names"), f.Target.Registry)
		}
		return OutcomeIgnored, "The webhook told of it and the event was ignored: " + d.whyIgnored() + ".", next
	}
	const ask = "ask for a scan with POST /api/v1/scans"
	switch {
	case f.Target.Registry == UploadRegistry:
		return OutcomeUnknown, "Nothing was uploaded under this name.", "upload it with POST /api/v1/sboms"
	case f.Elsewhere != nil:
		return OutcomeUnknown, fmt.Sprintf("Nothing is known of it: its event came to the endpoint of registry %s.", f.Elsewhere.Registry),
			fmt.Sprintf("point the sender to /webhooks/%s; %s", f.Target.Registry, ask)
	case slices.ContainsFunc(steps, func(s TraceStep) bool { return s.What == AboutRejected && s.Mood == Trouble }):
		return OutcomeUnknown, "Nothing is known of it, and requests to the endpoint were refused.",
			"mend what the refusals name at the sender, then push again or " + ask
	case f.Endpoint == nil:
		return OutcomeUnknown, "Nothing is known of it.", "check the name; " + ask
	case !f.Endpoint.Configured:
		return OutcomeUnknown, "Nothing is known of it, and the registry has no webhook.",
			"set up the webhook of the registry, or " + ask
	case f.Endpoint.LastDeliveryAt == nil:
		return OutcomeUnknown, "Nothing is known of it, and the endpoint was never heard.",
			fmt.Sprintf("point the registry to /webhooks/%s as deploy/registries says, or %s", f.Target.Registry, ask)
	case f.Endpoint.Silence == SilenceAlarm:
		return OutcomeUnknown, "Nothing is known of it, and the endpoint is silent.",
			fmt.Sprintf("check that the registry still sends; `tidewaiter reconcile %s` finds what was missed, or %s", f.Target.Registry, ask)
	}
	return OutcomeUnknown, "Nothing is known of it.",
		fmt.Sprintf("check the name, and that the registry sends events of this repository; `tidewaiter reconcile %s` finds what was missed, or %s", f.Target.Registry, ask)
}
