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

// createToken makes the token for the API and keeps it beside the rest.
func (q *quickstart) createToken(ctx context.Context, report func(string)) error {
	if _, err := tool(ctx, report, q.program, "migrate", "--config", q.configFile()); err != nil {
		return errs.Op("bring the schema up", err)
	}
	out, err := tool(ctx, report, q.program, "token", "create", "--config", q.configFile(), "quickstart")
	if err != nil {
		return errs.Op("create an API token", err)
	}
	q.secrets.Token = strings.TrimSpace(out)
	return q.saveSecrets()
}
