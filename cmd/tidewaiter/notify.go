package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// notifyCmd groups what concerns notifications of a running service.
type notifyCmd struct {
	Log       notifyLogCmd       `cmd:"" help:"List what was told through which channel, newest first."`
	Redeliver notifyRedeliverCmd `cmd:"" help:"Send a notification again."`
	Test      notifyTestCmd      `cmd:"" help:"Send a test message through a channel, and show what the receiver answers."`
}

// notifyLogCmd is tidewaiter notify log.
type notifyLogCmd struct {
	serverFlags
	Rule    string `placeholder:"NAME" help:"Of this rule only."`
	Channel string `placeholder:"NAME" help:"Through this channel only."`
	State   string `enum:",queued,sent,failed" default:"" placeholder:"STATE" help:"In this state only: queued, sent or failed."`
	Limit   int    `placeholder:"N" default:"50" help:"Greatest number to list, at most 500."`
	Cursor  string `placeholder:"CURSOR" help:"Go on where the list before ended."`
	JSON    bool   `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (notifyLogCmd) Help() string {
	return `Lists the notifications of a running service with their state and the last error. Needs a token without prefixes.

    tidewaiter notify log --state failed --server https://tidewaiter.example`
}

// Run is called by kong.
func (c *notifyLogCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	parameters := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	for name, value := range map[string]string{"rule": c.Rule, "channel": c.Channel, "state": c.State, "cursor": c.Cursor} {
		if value != "" {
			parameters.Set(name, value)
		}
	}
	var list report.List[report.Notification]
	if err := asked.get(ctx, "/notifications", parameters, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out.Stdout, list)
	}
	return writeNotifications(out.Stdout, list)
}

// writeNotifications prints a table. Titles and errors hold words that others
// chose, so nothing but what prints gets through.
func writeNotifications(w io.Writer, list report.List[report.Notification]) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tCREATED\tRULE\tCHANNEL\tSTATE\tATTEMPTS\tTITLE")
	for _, n := range list.Items {
		title := n.Title
		if n.LastError != "" && n.State != report.NewsSent {
			title += " (" + n.LastError + ")"
		}
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%d\t%s\n",
			n.ID, timeText(n.CreatedAt), line(n.Rule), line(n.Channel), line(string(n.State)), n.Attempts, line(title))
	}
	if err := table.Flush(); err != nil || list.NextCursor == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "there are more: --cursor %s\n", line(list.NextCursor))
	return err
}

// notifyRedeliverCmd is tidewaiter notify redeliver.
type notifyRedeliverCmd struct {
	serverFlags
	ID   int64 `arg:"" help:"Number of the notification, as notify log shows it."`
	JSON bool  `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (notifyRedeliverCmd) Help() string {
	return `Queues a notification again, whatever became of it. It keeps its message id, so that receivers know it, and gets all its attempts anew. Needs a token of scope admin without prefixes.

    tidewaiter notify redeliver 12`
}

// Run is called by kong.
func (c *notifyRedeliverCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	var n report.Notification
	if err := asked.post(ctx, fmt.Sprintf("/notifications/%d/redeliver", c.ID), nil, &n); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out.Stdout, n)
	}
	_, err = fmt.Fprintf(out.Stdout, "notification %d for %s: %s\n", n.ID, line(n.Channel), line(string(n.State)))
	return err
}

// notifyTestCmd is tidewaiter notify test.
type notifyTestCmd struct {
	serverFlags
	Channel string `arg:"" help:"Channel, by its name in the configuration."`
	JSON    bool   `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (notifyTestCmd) Help() string {
	return `Has a running service send a message that says it is a test, once, and shows what the receiver answered. Needs a token of scope admin without prefixes.

    tidewaiter notify test team-slack

Exit codes: 0 when it arrived; 1 when it did not, or the service could not be asked.`
}

// Run is called by kong.
func (c *notifyTestCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	var tried report.NotificationTest
	if err := asked.post(ctx, "/notifications/channels/"+url.PathEscape(c.Channel)+"/test", nil, &tried); err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(out.Stdout, tried)
	} else {
		err = writeNotificationTest(out.Stdout, tried)
	}
	if err == nil && !tried.Delivered {
		return &exitError{code: 1} // the answer has said it
	}
	return err
}

func writeNotificationTest(w io.Writer, t report.NotificationTest) error {
	word := "arrived"
	if !t.Delivered {
		word = "did not arrive"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the test of %s (%s) %s after %d ms\n", line(t.Channel), line(t.Type), word, t.DurationMS)
	if t.Error != "" {
		fmt.Fprintf(&b, "  error:  %s\n", line(t.Error))
	}
	if t.Status != 0 {
		fmt.Fprintf(&b, "  status: %d\n", t.Status)
	}
	if t.Answer != "" {
		fmt.Fprintf(&b, "  answer: %s\n", line(strings.TrimSpace(t.Answer)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
