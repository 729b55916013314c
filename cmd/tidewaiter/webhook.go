package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
	"github.com/tidewaiter/tidewaiter/internal/webhook/keys"
)

// webhookCmd groups what concerns webhooks.
type webhookCmd struct {
	Check webhookCheckCmd `cmd:"" help:"Run a captured request against the configuration and print what would happen."`
}

// webhookCheckCmd is tidewaiter webhook check.
type webhookCheckCmd struct {
	configFile
	Registry string `required:"" placeholder:"NAME" help:"Registry of the configuration whose endpoint the request was sent to."`
	Headers  string `required:"" placeholder:"FILE" help:"The request line and the headers, as they came; the line \"POST /webhooks/NAME HTTP/1.1\" first. A dash is standard input."`
	Body     string `arg:"" optional:"" help:"File with the body, byte for byte; left out for a request without one. A dash is standard input."`
	At       moment `placeholder:"TIME" help:"When the request arrived, as 2026-11-23T12:00:00Z, where the sender's signature holds for some time only. Without it the age of a message is not looked at, and a token has to be good now."`
	Online   bool   `help:"Fetch the keys of senders that sign with one, and confirm the subscription the request asks for. Without it nothing is fetched."`
}

// moment is a time as flags take it.
type moment struct{ time.Time }

// UnmarshalText is called by kong.
func (m *moment) UnmarshalText(text []byte) (err error) {
	if m.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return errs.New(errs.Invalid, "%.100q is not a time: write it as 2026-11-23T12:00:00Z", text)
	}
	return nil
}

// Help is shown by --help.
func (webhookCheckCmd) Help() string {
	return `Nothing is stored and nothing is scanned. The answer is JSON: the verdict (events, ignored, rejected or handshake), the status the sender would get, the reason, and the events that ask for work. The exit code is 0 for every verdict, 1 when the request cannot be read or the endpoint is not configured. Of the configuration only what the endpoint needs has to be complete.

    tidewaiter webhook check --config tidewaiter.yaml --registry prod --headers push.headers push.json

To capture a request, point the sender at any server that prints what it gets, or take it from the sender's own log of deliveries.`
}

// Run is called by kong.
func (c *webhookCheckCmd) Run(ctx context.Context, out *output) error {
	endpoint, found, err := c.endpoint()
	if err != nil {
		return err
	}
	captured, err := c.captured()
	if err != nil {
		return err
	}
	const deadline = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	verdict, err := webhook.Check(ctx, endpoint, captured, found)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return errs.Wrap(errs.Unavailable, "write the verdict", encoder.Encode(verdict))
}

// endpoint finds the endpoint in the configuration.
func (c *webhookCheckCmd) endpoint() (webhook.Endpoint, webhook.Keys, error) {
	loaded, err := c.load(nil, config.Forgiving(unusedByEndpoints))
	if err != nil {
		return webhook.Endpoint{}, nil, err
	}
	var names []string
	loaded.Receiver.Enabled = true // another process may be the receiver
	endpoints, err := loaded.WebhookEndpoints()
	if err != nil {
		return webhook.Endpoint{}, nil, err
	}
	for _, e := range endpoints {
		if e.Registry == c.Registry {
			found, err := c.keys(loaded)
			return e, found, err
		}
		names = append(names, e.Registry)
	}
	return webhook.Endpoint{}, nil, errs.New(errs.NotFound, "registry %q has no webhook in the configuration", c.Registry).WithHint("%s", c.instead(names))
}

// instead says what to do when the registry is none of those with an endpoint.
func (c *webhookCheckCmd) instead(names []string) string {
	_, err := os.Stat(c.path())
	switch {
	case len(names) > 0:
		return "those with a webhook are: " + strings.Join(names, ", ")
	case err != nil:
		return "there is no " + c.path() + ": name the configuration with --config"
	}
	return "the configuration has none; give the registry a webhook with a format"
}

// usedByEndpoints are the keys of a registry that an endpoint is made of.
var usedByEndpoints = regexp.MustCompile(`^registries(\[\d+\](\.(name|host|aliases|webhook).*)?)?$`)

// unusedByEndpoints reports whether a key has nothing to do with endpoints, so
// that this command runs on a machine that has not all of the service's secrets.
func unusedByEndpoints(path string) bool {
	for _, other := range []string{"database", "tls", "vulndb", "ca_file", "temp_dir", "listen", "admin_listen", "workers"} {
		if path == other || strings.HasPrefix(path, other+".") {
			return true
		}
	}
	return strings.HasPrefix(path, "registries") && !usedByEndpoints.MatchString(path)
}

// captured reads the request.
func (c *webhookCheckCmd) captured() (webhook.Captured, error) {
	if c.Headers == "-" && c.Body == "-" {
		return webhook.Captured{}, errs.New(errs.Invalid, "headers and body cannot both be read from standard input")
	}
	head, err := readWhole(c.Headers)
	if err != nil {
		return webhook.Captured{}, errs.Op("read the headers", err)
	}
	captured, err := parseHead(head)
	if err != nil {
		return webhook.Captured{}, errs.Op("read the headers in "+c.Headers, err)
	}
	captured.At = c.At.Time
	if c.Body != "" {
		if captured.Body, err = readWhole(c.Body); err != nil {
			return webhook.Captured{}, errs.Op("read the body", err)
		}
	}
	return captured, nil
}

// maxCaptured is more than any endpoint takes.
const maxCaptured = 32 << 20

func readWhole(path string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, errs.New(errs.Invalid, "%v", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, maxCaptured+1))
	switch {
	case err != nil:
		return nil, errs.Wrap(errs.Invalid, "read "+path, err)
	case len(content) > maxCaptured:
		return nil, errs.New(errs.TooLarge, "%s is larger than %d bytes", path, maxCaptured)
	}
	return content, nil
}

// parseHead reads a request line and headers (RFC 9112, sections 3 and 5). The
// empty line at the end may be missing.
func parseHead(head []byte) (webhook.Captured, error) {
	trimmed := append(bytes.TrimRight(head, "\r\n"), "\r\n\r\n"...)
	reader := textproto.NewReader(bufio.NewReader(bytes.NewReader(trimmed)))
	line, err := reader.ReadLine()
	if err != nil {
		return webhook.Captured{}, errs.Wrap(errs.Invalid, "request line", err)
	}
	method, rest, ok := strings.Cut(line, " ")
	target, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if !ok || target == "" || strings.Contains(method, ":") {
		return webhook.Captured{}, errs.New(errs.Invalid, "the first line is %.100q, not a request line", line).
			WithHint("begin with the request line, as in: POST /webhooks/prod HTTP/1.1")
	}
	header, err := reader.ReadMIMEHeader()
	if err != nil {
		return webhook.Captured{}, errs.Wrap(errs.Invalid, "headers", err)
	}
	return webhook.Captured{Method: method, Target: target, Header: http.Header(header)}, nil
}

// keys finds the keys of senders, where that is allowed.
func (c *webhookCheckCmd) keys(loaded config.Config) (webhook.Keys, error) {
	if !c.Online {
		return nil, nil
	}
	return keys.New(keys.Options{CAFile: loaded.CAFile})
}
