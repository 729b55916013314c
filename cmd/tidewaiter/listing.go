package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// formFlags choose the form of an answer.
type formFlags struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table, or json as the API has it."`
}

// pageFlags bound a listing.
type pageFlags struct {
	Limit int  `placeholder:"N" default:"50" help:"Greatest number to list."`
	All   bool `help:"List all there are, however many."`
}

// jsonHelp says what -o json prints of a listing.
const jsonHelp = `With -o json the API's own answers are printed, one a line: a listing of more than 500 takes several.`

// most is how many items a command is to ask for; negative for all.
func (f pageFlags) most(command string) (int, error) {
	switch {
	case f.All:
		return -1, nil
	case f.Limit < 1:
		return 0, &usageError{err: errs.New(errs.Invalid, "--limit %d lists nothing: give 1 or more, or --all", f.Limit), command: command}
	}
	return f.Limit, nil
}

// listed is what the pages of a listing hold.
type listed[T any] struct {
	items []T
	raw   []json.RawMessage // the pages as they came, one at least
	more  bool              // the service has more
}

// list asks for a listing page by page until there are as many items as wanted;
// negative for all.
func list[T any](ctx context.Context, asked *client, path string, parameters url.Values, most int, stderr people) (listed[T], error) {
	var out listed[T]
	steps := newProgress(stderr, false)
	defer steps.soon("reading " + strings.Trim(path, "/"))()
	parameters = clone(parameters)
	for {
		size := report.MaxLimit
		if most >= 0 {
			size = min(size, most-len(out.items))
		}
		parameters.Set("limit", strconv.Itoa(size))
		var raw json.RawMessage
		if err := asked.get(ctx, path, parameters, &raw); err != nil {
			return out, err
		}
		var page report.List[T]
		if err := json.Unmarshal(raw, &page); err != nil || page.Items == nil {
			return out, errs.New(errs.Malformed, "the answer of %s is no list", asked.base.Host).WithHint(otherServer)
		}
		out.items, out.raw = append(out.items, page.Items...), append(out.raw, raw)
		out.more = page.NextCursor != ""
		if !out.more || most >= 0 && len(out.items) >= most {
			return out, nil
		}
		parameters.Set("cursor", page.NextCursor)
		steps.update(fmt.Sprint(len(out.items)))
	}
}

func clone(v url.Values) url.Values {
	out := url.Values{}
	for name, values := range v {
		out[name] = values
	}
	return out
}

// given makes parameters of what is not empty.
func given(pairs ...string) url.Values {
	out := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out.Set(pairs[i], pairs[i+1])
		}
	}
	return out
}

// head reads what a page says besides its items.
func (l listed[T]) head(into any) error {
	if err := json.Unmarshal(l.raw[0], into); err != nil {
		return errs.Wrap(errs.Malformed, "read the answer", err)
	}
	return nil
}

// writeRaw prints answers as they came, one a line.
func writeRaw(w io.Writer, answers ...json.RawMessage) error {
	for _, raw := range answers {
		if _, err := fmt.Fprintf(w, "%s\n", strings.TrimSpace(string(raw))); err != nil {
			return err
		}
	}
	return nil
}

// endTable parts a table from what is said below it, and says when it is not all
// there is.
func endTable(w io.Writer, more bool, shown int) error {
	if more || shown == 0 {
		return writeMore(w, more, shown)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// writeMore says that a table is not all there is.
func writeMore(w io.Writer, more bool, shown int) error {
	if !more {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nThe first %d; there are more: --limit N or --all.\n", shown)
	return err
}

// writeJudgedWith says what an answer was judged with, when that is worth a word.
func writeJudgedWith(w io.Writer, b *report.Build) error {
	var text string
	switch {
	case b == nil:
		text = "There is no vulnerability database yet: nothing is judged. `tidewaiter vulndb check` looks for one."
	case b.Sample:
		text = "Judged with the SAMPLE database: it knows a few well-known vulnerabilities and is no good for real decisions."
	default:
		text = fmt.Sprintf("Judged with the database of %s, %s old.", b.Built.UTC().Format(time.DateOnly), ageText(time.Duration(b.AgeSeconds)*time.Second))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// soon tells a step when it takes longer than a second, until the function it
// returns is called.
func (p *progress) soon(step string) (stop func()) {
	if p.w == nil {
		return func() {}
	}
	const patience = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			p.start(step)
		}
	}()
	return func() { cancel(); <-over; p.done() }
}
