package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"html/template"
	"net/mail"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// EmailSettings are those of a channel of type email.
type EmailSettings struct {
	Host string
	// Port is 587 when it is 0, or 465 where TLS is "implicit".
	Port int
	// TLS is "starttls", "implicit" or "none"; empty means the first. With the first
	// nothing is sent over a connection that the server does not encrypt.
	TLS                string
	Username, Password string
	From               string
	To                 []string
}

// email sends by SMTP, as text and as HTML. The library encodes every header, and
// what becomes one has no line ends before.
type email struct {
	named
	client  *gomail.Client
	from    *mail.Address
	to      []*mail.Address
	secrets []string
}

func newEmail(s Settings) (Channel, error) {
	e := &email{named: named{s.Name, "email"}, secrets: []string{s.Email.Password}}
	if err := e.addresses(s.Email); err != nil {
		return nil, err
	}
	options := []gomail.Option{
		gomail.WithTimeout(s.Timeout), gomail.WithoutNoop(), gomail.WithoutRset(),
		gomail.WithTLSConfig(&tls.Config{RootCAs: s.Roots, ServerName: s.Email.Host, MinVersion: tls.VersionTLS12}),
	}
	port := s.Email.Port
	switch s.Email.TLS {
	case "", "starttls":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case "implicit":
		options = append(options, gomail.WithSSL())
	case "none":
		if s.Email.Username != "" {
			return nil, errs.New(errs.Invalid, "none would send the password in the clear; use starttls or implicit, or leave out username").WithField("email.tls")
		}
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, errs.New(errs.Invalid, "%.40q is none of starttls, implicit, none", s.Email.TLS).WithField("email.tls")
	}
	if port == 0 {
		port = gomail.DefaultPortTLS
		if s.Email.TLS == "implicit" {
			port = gomail.DefaultPortSSL
		}
	}
	options = append(options, gomail.WithPort(port))
	if s.Email.Username != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.Email.Username), gomail.WithPassword(s.Email.Password))
	}
	var err error
	if e.client, err = gomail.NewClient(s.Email.Host, options...); err != nil {
		return nil, errs.New(errs.Invalid, "%s", err).WithField("email")
	}
	return e, nil
}

func (e *email) addresses(s EmailSettings) (err error) {
	if s.Host == "" || strings.ContainsAny(s.Host, "/: ") && !strings.HasPrefix(s.Host, "[") {
		return errs.New(errs.Invalid, "%.100q is not the name of a mail server", s.Host).WithField("email.host")
	}
	if e.from, err = mail.ParseAddress(s.From); err != nil {
		return errs.New(errs.Invalid, "%.200q is not an address, as Tidewaiter <tidewaiter@example.com>", s.From).WithField("email.from")
	}
	if len(s.To) == 0 {
		return errs.New(errs.Invalid, "empty").WithField("email.to")
	}
	for i, to := range s.To {
		address, err := mail.ParseAddress(to)
		if err != nil {
			return errs.New(errs.Invalid, "%.200q is not an address", to).WithField("email.to[" + strconv.Itoa(i) + "]")
		}
		e.to = append(e.to, address)
	}
	return nil
}

// maxSubject keeps a subject readable, in characters.
const maxSubject = 200

// Send implements Channel.
func (e *email) Send(ctx context.Context, p Parcel) (Receipt, error) {
	message, err := e.message(p)
	if err != nil {
		return Receipt{}, err
	}
	err = e.client.DialAndSendWithContext(ctx, message)
	// What the server took is sent, however the connection ends; again would be twice.
	if err == nil || message.IsDelivered() {
		const accepted = 250
		return Receipt{Status: accepted, Answer: begin(hide(message.ServerResponse(), e.secrets), maxAnswer)}, nil
	}
	if ctx.Err() != nil {
		return Receipt{}, errs.Wrap(errs.KindOf(ctx.Err()), "send", ctx.Err())
	}
	receipt := Receipt{}
	var refused *gomail.SendError
	if errors.As(err, &refused) {
		receipt.Status = refused.ErrorCode()
	}
	return receipt, errs.New(errs.Unavailable, "the mail server: %s", hide(err.Error(), e.secrets))
}

func (e *email) message(p Parcel) (*gomail.Msg, error) {
	c := cardOf(p.News)
	m := gomail.NewMsg()
	m.FromMailAddress(e.from)
	m.ToMailAddress(e.to...)
	m.Subject(cut("[Tidewaiter] "+c.title, maxSubject))
	m.SetDateWithValue(p.CreatedAt)
	_, domain, _ := strings.Cut(e.from.Address, "@")
	m.SetMessageIDWithValue(p.ID + "@" + domain)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no vacation notices
	m.SetGenHeader("X-Tidewaiter-Rule", line(p.News.Rule))
	m.SetBodyString(gomail.TypeTextPlain, c.title+"\n\n"+c.plain())
	var html strings.Builder
	if err := emailPage().Execute(&html, pageOf(c)); err != nil {
		return nil, errs.Wrap(errs.Internal, "notify: write e-mail", err)
	}
	m.AddAlternativeString(gomail.TypeTextHTML, html.String())
	return m, nil
}

// page is a card as the template shows it.
type page struct {
	Title string
	Lines []pageLine
	Link  string
}

type pageLine struct {
	Item bool
	Runs []pageRun
}

type pageRun struct {
	Text string
	Bold bool
	Link string
}

func pageOf(c card) page {
	p := page{Title: c.title, Link: c.link}
	for _, l := range c.lines {
		out := pageLine{Item: l.item}
		for _, r := range l.runs {
			out.Runs = append(out.Runs, pageRun{r.text, r.bold, r.link})
		}
		p.Lines = append(p.Lines, out)
	}
	return p
}

func emailPage() *template.Template {
	const source = `<!doctype html><html><body style="font-family:sans-serif;font-size:14px">
<h2 style="font-size:16px">{{.Title}}</h2>
{{range .Lines}}<p style="margin:4px 0{{if .Item}} 4px 16px{{end}}">{{if .Item}}• {{end}}{{range .Runs}}{{if .Link}}<a href="{{.Link}}">{{.Text}}</a>{{else if .Bold}}<b>{{.Text}}</b>{{else}}{{.Text}}{{end}}{{end}}</p>
{{end}}{{if .Link}}<p><a href="{{.Link}}">Read on</a></p>{{end}}
</body></html>
`
	return template.Must(template.New("e-mail").Parse(source))
}
