package notify_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/notify"
)

// mailServer speaks as much SMTP as a client needs, on the loopback.
type mailServer struct {
	listener net.Listener
	tls      *tls.Config       // nil for a server without STARTTLS
	answers  map[string]string // to a command, instead of the usual; empty hangs up
	mu       sync.Mutex
	mails    []delivered
	ended    sync.WaitGroup
}

type delivered struct {
	from      string
	to        []string
	text      string
	encrypted bool
}

func newMailServer(t *testing.T, config *tls.Config, answers map[string]string) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	s := &mailServer{listener: listener, tls: config, answers: answers}
	s.ended.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			s.ended.Go(func() {
				// A client that does not encrypt leaves the connection as it is.
				defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
				s.serve(connection)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		end()
		s.ended.Wait()
	})
	return s
}

// serve speaks with one client until it leaves.
func (s *mailServer) serve(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(time.Minute))
	lines := textproto.NewReader(bufio.NewReader(connection))
	say := func(line string) { _, _ = io.WriteString(connection, line+"\r\n") }
	say("220 mail.test ESMTP")
	var mail delivered
	for {
		command, err := lines.ReadLine()
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(command), " ")
		if answer, ok := s.answers[verb]; ok {
			if answer == "" {
				return
			}
			say(answer)
			continue
		}
		switch verb {
		case "EHLO":
			if s.tls != nil && !mail.encrypted {
				say("250-mail.test\r\n250 STARTTLS")
			} else {
				say("250-mail.test\r\n250 8BITMIME")
			}
		case "STARTTLS":
			say("220 go on")
			secured := tls.Server(connection, s.tls)
			connection, lines = secured, textproto.NewReader(bufio.NewReader(secured))
			mail.encrypted = true
		case "MAIL":
			mail.from = command
			say("250 ok")
		case "RCPT":
			mail.to = append(mail.to, command)
			say("250 ok")
		case "DATA":
			say("354 go on")
			text, err := lines.ReadDotBytes()
			if err != nil {
				return
			}
			mail.text = string(text)
			s.mu.Lock()
			s.mails = append(s.mails, mail)
			s.mu.Unlock()
			say("250 queued as 7")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 not known")
		}
	}
}

func (s *mailServer) got() []delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivered{}, s.mails...)
}

// settings are those of a channel to the server, without encryption.
func (s *mailServer) settings() notify.Settings {
	return notify.Settings{Name: "mail", Type: "email", Email: notify.EmailSettings{
		Host: "127.0.0.1", Port: s.listener.Addr().(*net.TCPAddr).Port, TLS: "none",
		From: "Tidewaiter <tidewaiter@example.com>", To: []string{"ops@example.com", "Sec <sec@example.com>"},
	}}
}

// authority makes a certificate for the loopback and what trusts it.
func authority(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, roots
}

// read parses a mail: its header and its parts by type.
func read(t *testing.T, d delivered) (mail.Header, map[string]string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(d.text))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for reader := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return m.Header, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		if encoding := part.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
			t.Fatalf("a part in %q", encoding)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		parts[kind] = string(text)
	}
}

func TestEmailHoldsCountsAndLinks(t *testing.T) {
	server := newMailServer(t, nil, nil)
	c := channel(t, server.settings())
	news := messages("team/app")["push"]
	news.Groups[0].Link = "https://tidewaiter.example/api/v1/findings?ref=a%3A1"
	news.Link = news.Groups[0].Link
	receipt, err := c.Send(t.Context(), notify.Parcel{ID: "0b1c", CreatedAt: news.Since, News: news})
	if err != nil || receipt.Status != 250 || !strings.Contains(receipt.Answer, "queued as 7") {
		t.Fatalf("%+v, %v", receipt, err)
	}
	sent := server.got()
	if len(sent) != 1 || len(sent[0].to) != 2 || !strings.Contains(sent[0].from, "<tidewaiter@example.com>") {
		t.Fatalf("%+v", sent)
	}
	header, parts := read(t, sent[0])
	for name, want := range map[string]string{
		"Subject": "[Tidewaiter] team/app", "Message-Id": "<0b1c@example.com>", "Auto-Submitted": "auto-generated", "X-Tidewaiter-Rule": "all",
	} {
		if header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, header.Get(name), want)
		}
	}
	for kind, link := range map[string]string{"text/plain": "\n" + news.Link, "text/html": `href="` + news.Link + `"`} {
		for _, want := range []string{link, "critical in team/app", "fixed in team/app", "Rule all."} {
			if !strings.Contains(parts[kind], want) {
				t.Errorf("%s lacks %q:\n%s", kind, want, parts[kind])
			}
		}
	}
	digest := messages("team/app")["digest"]
	if _, err := c.Send(t.Context(), notify.Parcel{ID: "0b1d", News: digest}); err != nil {
		t.Fatal(err)
	}
	if _, parts := read(t, server.got()[1]); !strings.Contains(parts["text/plain"], "10 changes, 10 critical.") {
		t.Errorf("no counts in\n%s", parts["text/plain"])
	}
}

func TestNoNameGetsIntoTheHeadersOfAnEmail(t *testing.T) {
	server := newMailServer(t, nil, nil)
	c := channel(t, server.settings())
	known := []string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "User-Agent", "X-Mailer", "X-Tidewaiter-Rule"}
	for label, name := range hostileNames() {
		for kind, news := range messages(name) {
			t.Run(label+"/"+kind, func(t *testing.T) {
				news.Rule = name
				before := len(server.got())
				if _, err := c.Send(t.Context(), notify.Parcel{ID: "1", CreatedAt: time.Now(), News: news}); err != nil {
					t.Fatal(err)
				}
				sent := server.got()
				if len(sent) != before+1 || len(sent[before].to) != 2 {
					t.Fatalf("%d mails", len(sent)-before)
				}
				header, parts := read(t, sent[before])
				for name, values := range header {
					if len(values) != 1 || !slices.Contains(known, name) {
						t.Errorf("header %s %.60q", name, values)
					}
				}
				subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
				if err != nil || !strings.HasPrefix(subject, "[Tidewaiter] ") || len([]rune(subject)) > 200 || strings.ContainsAny(subject, "\r\n\x00\u202e") {
					t.Errorf("subject %.80q, %v", subject, err)
				}
				checkPage(t, parts["text/html"])
				if s := parts["text/plain"]; len(parts) != 2 || strings.ContainsAny(s, "\x00\x1b\u202e\u2028") || len(s) > 300_000 {
					t.Errorf("%d parts, a text of %d bytes", len(parts), len(s))
				}
			})
		}
	}
}

// checkPage fails on elements and addresses that are not those of the template.
func checkPage(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"<script", "<!channel", `href="javascript`, "<a href=javascript", "\x00", "\u202e"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
	if !strings.Contains(page, "</html>") {
		t.Error("the page has no end")
	}
}

func TestEmailIsEncrypted(t *testing.T) {
	config, roots := authority(t)
	server := newMailServer(t, config, nil)
	s := server.settings()
	s.Email.TLS, s.Roots = "starttls", roots
	if got := try(t, channel(t, s)); !got.Delivered {
		t.Fatalf("%+v", got)
	}
	if sent := server.got(); len(sent) != 1 || !sent[0].encrypted {
		t.Fatalf("%d mails", len(sent))
	}
	s.Roots = x509.NewCertPool()
	if got := try(t, channel(t, s)); got.Delivered || !strings.Contains(got.Error, "certificate") {
		t.Errorf("an authority that is not trusted: %+v", got)
	}
	bare := newMailServer(t, nil, nil)
	s = bare.settings()
	s.Email.TLS, s.Roots = "starttls", roots
	if got := try(t, channel(t, s)); got.Delivered || !strings.Contains(got.Error, "STARTTLS") {
		t.Errorf("a server without STARTTLS: %+v", got)
	}
	if len(server.got()) != 1 || len(bare.got()) != 0 {
		t.Error("a mail went over a connection that is not safe")
	}
}

func TestEmailThatIsRefused(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name      string
		answers   map[string]string
		delivered bool
		status    int
		says      string
	}{
		{"for now", map[string]string{"MAIL": "451 come back later"}, false, 451, "come back later"},
		{"for good", map[string]string{"RCPT": "550 no such user\x00\x1b"}, false, 550, "no such user"},
		{"at length", map[string]string{"MAIL": "550 " + long}, false, 550, "xxxx"},
		// What was taken is not sent again because the server is in a hurry.
		{"not, but hung up on", map[string]string{"QUIT": "", "RSET": ""}, true, 250, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := newMailServer(t, nil, tt.answers)
			got := try(t, channel(t, server.settings()))
			if got.Delivered != tt.delivered || got.Status != tt.status || !strings.Contains(got.Error, tt.says) || len(got.Error) > 1100 || strings.ContainsAny(got.Error, "\x00\x1b") {
				t.Errorf("%.600s", fmt.Sprintf("%+v", got))
			}
			if (len(server.got()) == 1) != tt.delivered {
				t.Errorf("%d mails", len(server.got()))
			}
		})
	}
}
