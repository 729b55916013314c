package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

// leastSecret is the length from which on nobody guesses a secret, in characters.
const leastSecret = 16

// examples are secrets that stand in documentation, ours and others'.
var examples = []string{
	"change-me", "change-me-too", "changeme", "secret", "s3cret", "password", "example", "test", "token", "webhook", "tidewaiter", "webhook-secret", "mysecret",
}

// lookAtWebhooks judges the secrets of the endpoints, and when they were last
// heard.
func (e *examination) lookAtWebhooks(ctx context.Context) []Finding {
	var found []Finding
	users := map[string][]string{}
	for i, r := range e.config.Registries {
		path := "registries[" + strconv.Itoa(i) + "].webhook"
		if r.Webhook.Format == "" {
			continue
		}
		name := "webhook " + r.Name
		if e.isWrong(path) {
			found = append(found, left(name)...)
			continue
		}
		found = append(found, judgeProof(name, r)...)
		for _, s := range secretsOf(r) {
			users[s] = append(users[s], r.Name)
		}
		found = append(found, e.judgeSilence(ctx, name, r.Name)...)
	}
	return append(found, shared(users)...)
}

// judgeProof says how good the proof is that an endpoint asks of its sender.
func judgeProof(name string, r config.Registry) (found []Finding) {
	fix := "make one with `openssl rand -hex 32`, set it here and at the sender; two secrets at once allow that without a gap"
	switch auth := r.Webhook.Auth; auth.Kind {
	case webhook.AuthNone:
		return []Finding{{name, Warn, "auth.kind is none: whoever reaches the endpoint can have images scanned",
			"choose another kind; docs/webhooks.md says which ones the sender knows"}}
	case webhook.AuthQuery, webhook.AuthPath:
		found = append(found, Finding{name, OK, "the secret is part of the address: see that proxies do not log it", ""})
	}
	for _, s := range secretsOf(r) {
		switch {
		case slices.Contains(examples, strings.ToLower(s)):
			found = append(found, Finding{name, Fail, "the secret is one that stands in examples, which everybody knows", fix})
		case len(s) < leastSecret:
			found = append(found, Finding{name, Warn, fmt.Sprintf("the secret has %d characters, which can be guessed", len(s)), fix})
		}
	}
	return found
}

// secretsOf are the secrets of an endpoint; of user:password, the password.
func secretsOf(r config.Registry) (secrets []string) {
	for _, s := range r.Webhook.Auth.Secrets {
		text := s.Reveal()
		if r.Webhook.Auth.Kind == webhook.AuthBasic {
			_, text, _ = strings.Cut(text, ":")
		}
		secrets = append(secrets, text)
	}
	return secrets
}

// shared tells of secrets that several endpoints have.
func shared(users map[string][]string) (found []Finding) {
	for _, names := range users {
		slices.Sort(names)
		if names = slices.Compact(names); len(names) > 1 {
			found = append(found, Finding{"webhooks", Warn, "the endpoints of " + strings.Join(names, ", ") + " have the same secret: who knows it can speak for all of them",
				"give each endpoint a secret of its own"})
		}
	}
	slices.SortFunc(found, func(a, b Finding) int { return strings.Compare(a.Found, b.Found) })
	return found
}

// judgeSilence says when an endpoint last stored an event, in any process.
func (e *examination) judgeSilence(ctx context.Context, name, registry string) []Finding {
	d := e.wait(ctx)
	if d == nil || !d.usable {
		return unknownWithout(name)
	}
	heard, ok := d.heard[registry]
	if !ok || heard.LastDeliveryAt == nil {
		return []Finding{{name, Warn, "nothing was ever delivered",
			fmt.Sprintf("point the sender at %s/webhooks/%s and push something; docs/webhooks.md has its settings, `tidewaiter webhook check` tries a request", e.address(), registry)}}
	}
	ago := time.Since(*heard.LastDeliveryAt).Round(time.Second)
	if heard.Silent {
		return []Finding{{name, Warn, fmt.Sprintf("the last delivery came %s ago, which is unusual for it", ago),
			"look at the sender's log of deliveries; GET /api/v1/coverage tells what was refused here"}}
	}
	return []Finding{{name, OK, fmt.Sprintf("the last delivery came %s ago", ago), ""}}
}

// address is where senders reach the service.
func (e *examination) address() string {
	if u := strings.TrimRight(e.config.PublicURL, "/"); u != "" {
		return u
	}
	return "this service"
}
