package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// trace asks where an image is.
func (s *service) trace(ref string) report.Trace {
	s.t.Helper()
	var got report.Trace
	if status := s.get("/api/v1/trace?ref="+ref, &got); status != http.StatusOK {
		s.t.Fatalf("trace %s: status %d", ref, status)
	}
	return got
}

// about returns the steps of a trace about one thing.
func about(t report.Trace, what report.What) (steps []report.TraceStep) {
	for _, s := range t.Steps {
		if s.What == what {
			steps = append(steps, s)
		}
	}
	return steps
}

func (s *service) coverage() report.Coverage {
	s.t.Helper()
	var got report.Coverage
	if status := s.get("/api/v1/coverage?registry=local", &got); status != http.StatusOK || len(got.Items) != 1 {
		s.t.Fatalf("coverage: status %d, %+v", status, got)
	}
	return got
}

func TestATraceFollowsAPushToItsAnswer(t *testing.T) {
	s := start(t)
	digest := s.pushed(vulnerable(t), "demo/shop", "1.0")
	host := s.registry.Host()
	for _, ref := range []string{host + "/demo/shop:1.0", host + "/demo/shop@" + digest.String(), "registry.alias.example/demo/shop:1.0"} {
		got := s.trace(ref)
		if got.Outcome != report.OutcomeAnswered || !got.Answered || got.Digest != image.Digest(digest.String()) || got.Assessment == nil || got.Build == nil {
			t.Errorf("%s: %+v", ref, got)
		}
		for _, what := range []report.What{report.AboutEndpoint, report.AboutDelivery, report.AboutScan, report.AboutManifest, report.AboutTag, report.AboutAnswer} {
			steps := about(got, what)
			if len(steps) == 0 || steps[0].Mood == report.Trouble || (what != report.AboutTag && steps[0].At == nil) {
				t.Errorf("%s: steps about %s are %+v", ref, what, steps)
			}
		}
	}
	c := s.coverage()
	if l := c.Items[0]; l.Known != 1 || l.States.Done != 1 || *l.Share != 1 || l.Endpoint.Events.Accepted == 0 || l.OldestAnswerAt == nil {
		t.Errorf("coverage = %+v", l)
	}
}

func TestATraceOfWhatNobodyToldOf(t *testing.T) {
	s := start(t)
	s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1.0")
	host := s.registry.Host()
	unknown := s.trace(host + "/demo/other:1.0")
	if unknown.Outcome != report.OutcomeUnknown || unknown.Answered || unknown.NextStep == "" {
		t.Errorf("an unknown repository: %+v", unknown)
	}
	if d := about(unknown, report.AboutDelivery); len(d) != 1 || d[0].Text != "no webhook told of this repository" {
		t.Errorf("deliveries = %+v", d)
	}
	tag := s.trace(host + "/demo/shop:2.0")
	if d := about(tag, report.AboutDelivery); tag.Outcome != report.OutcomeUnknown || len(d) != 1 || !strings.Contains(d[0].Text, "no webhook told of tag 2.0; the last about this repository was of 1.0") {
		t.Errorf("an unknown tag: %+v", tag)
	}
	if got := s.trace("registry.elsewhere.example/demo/shop:1.0"); got.Outcome != report.OutcomeNoRegistry {
		t.Errorf("a host that is not configured: %+v", got)
	}
}

// Who sends with the wrong secret finds out by the trace and by the ledger.
func TestAWrongSecretIsSeen(t *testing.T) {
	s := start(t)
	const requests = 3
	for range requests {
		if status, _ := s.post("local", "Bearer wrong", "application/json", `{"events": []}`); status != http.StatusUnauthorized {
			t.Fatalf("status %d with a wrong secret", status)
		}
	}
	s.until(`COALESCE(sum(requests), 0) = $1 FROM webhook_rejection_hour WHERE registry = 'local' AND status = 401`, requests)
	e := s.coverage().Items[0].Endpoint
	if e.Rejected.Requests != requests || len(e.LastRejected) != requests || e.LastRejected[0].Reason != "unauthorized" {
		t.Errorf("endpoint = %+v", e)
	}
	got := s.trace(s.registry.Host() + "/demo/shop:1.0")
	steps := about(got, report.AboutRejected)
	if got.Outcome != report.OutcomeUnknown || len(steps) != 1 || steps[0].Mood != report.Trouble || *steps[0].Count != requests ||
		!strings.Contains(steps[0].Text, "3 requests to the endpoint were refused with 401 in the last hour: the secret may be wrong") {
		t.Errorf("outcome %s, rejected %+v", got.Outcome, steps)
	}
}
