package main

import (
	"context"
	"os/exec"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// startService runs `tidewaiter serve` and waits until it is ready.
func (q *quickstart) startService(ctx context.Context, report func(string)) (string, error) {
	cmd := exec.Command(q.program, "serve", "--config", q.configFile())
	service, err := startChild(cmd, q.logFile())
	if err != nil {
		return "", err
	}
	q.service = service
	report("waiting until it is ready")
	deadline := time.Now().Add(2 * time.Minute)
	for !q.api().ready(ctx) {
		if err := q.pause(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
		if time.Now().After(deadline) {
			return "", errs.New(errs.Timeout, "tidewaiter is not ready after two minutes\n%s", logEnd(q.logFile())).WithHint("see %s", q.logFile())
		}
	}
	return q.base() + ", log in " + q.logFile(), nil
}

// createToken brings the schema up and makes a token for the API. Its name says
// when: an earlier token may be known to the database and lost to us.
func (q *quickstart) createToken(ctx context.Context, report func(string)) (string, error) {
	report("bringing the schema up")
	if _, err := tool(ctx, report, q.program, "migrate", "--config", q.configFile()); err != nil {
		return "", errs.Op("bring the schema up", err)
	}
	report("making an API token")
	name := "quickstart-" + time.Now().UTC().Format("20060102-150405")
	out, err := tool(ctx, report, q.program, "token", "create", "--config", q.configFile(), "--scope", "triage", name)
	return strings.TrimSpace(out), errs.Op("create an API token", err)
}
