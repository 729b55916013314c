package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// auditCmd is tidewaiter audit.
type auditCmd struct {
	serverFlags
	Actor  string    `placeholder:"ACTOR" help:"Of this actor only, as token:ci, oidc:corp/alice or cli:root."`
	Action string    `placeholder:"ACTION" help:"This action only, as token.create; token for all about tokens."`
	Object string    `placeholder:"OBJECT" help:"About this only, named as the list shows it."`
	Since  time.Time `placeholder:"TIME" help:"Not before this moment, as 2026-03-01T00:00:00Z."`
	Until  time.Time `placeholder:"TIME" help:"Before this moment only."`
	Limit  int       `placeholder:"N" default:"50" help:"Greatest number to list, at most 500."`
	Cursor string    `placeholder:"CURSOR" help:"Go on where the list before ended."`
	JSON   bool      `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (auditCmd) Help() string {
	return `Lists what people changed through a running service or on its database, and what they were refused, newest first. Needs a token of scope admin without prefixes. How long rows are kept is retention.audit in the configuration.

    tidewaiter audit --action token --since 2026-03-01T00:00:00Z --server https://tidewaiter.example`
}

// Run is called by kong.
func (c *auditCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	parameters := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	for name, value := range map[string]string{
		"actor": c.Actor, "action": c.Action, "object": c.Object, "since": momentText(c.Since), "until": momentText(c.Until), "cursor": c.Cursor,
	} {
		if value != "" {
			parameters.Set(name, value)
		}
	}
	var list report.List[report.AuditEntry]
	if err := asked.get(ctx, "/audit", parameters, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out.Stdout, list)
	}
	return writeAudit(out.Stdout, list)
}

// momentText is a time as the API takes it; empty for none.
func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// writeAudit prints a table. Names in it are what callers wrote, so nothing but
// what prints gets through.
func writeAudit(w io.Writer, list report.List[report.AuditEntry]) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "AT\tACTOR\tFROM\tACTION\tOBJECT\tOUTCOME\tDETAIL")
	for _, e := range list.Items {
		outcome := string(e.Outcome)
		if e.Reason != "" {
			outcome += ": " + string(e.Reason)
		}
		detail := ""
		if len(e.Detail) > 0 {
			encoded, err := json.Marshal(e.Detail)
			if err != nil {
				return err
			}
			detail = string(encoded)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			timeText(e.At), line(e.Actor), line(e.Address), line(e.Action), line(e.Object), line(outcome), line(detail))
	}
	if err := table.Flush(); err != nil || list.NextCursor == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "there are more: --cursor %s\n", line(list.NextCursor))
	return err
}
