package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/webhook/keys"
)

const (
	snsTopic = "arn:aws:sns:eu-west-1:444455556666:ecr-events"
	snsHost  = "https://sns.eu-west-1.amazonaws.com/"
	snsCert  = snsHost + "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	snsVisit = snsHost + "?Action=ConfirmSubscription&TopicArn=" + snsTopic + "&Token=2336"
)

// internet is all there is outside: it writes down who is asked for what, and
// answers every request in the same way.
type internet struct {
	mu     sync.Mutex
	asked  []string
	status int
	body   string
	header http.Header
	err    error
}

func (i *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, r.Method+" "+r.URL.String())
	if i.err != nil {
		return nil, i.err
	}
	header := i.header
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: i.status, Header: header, Body: io.NopCloser(strings.NewReader(i.body)), Request: r}, nil
}

// keysFrom has nothing but what the internet answers, at sampleTime.
func keysFrom(t *testing.T, i *internet) *keys.Keys {
	t.Helper()
	k, err := keys.New(keys.Options{Transport: i, Now: func() time.Time { return sampleTime }})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// snsRequest is a message as it is sent: the fields of a push, those of changes
// before it is signed, those of tampering after that, and headers. A field that is nil is
// left out.
type snsRequest struct {
	changes, tampering map[string]any
	headers            []string
	by                 *signer
}

func (s snsRequest) parts() (body string, headers []string) {
	message := map[string]any{
		"Type": snsNotification, "MessageId": "m1", "TopicArn": snsTopic, "Timestamp": at(sampleTime.Add(-time.Second)),
		"SignatureVersion": "2", "SigningCertURL": snsCert,
		"Message": ecrBody("ECR Image Action", `"result":"SUCCESS","action-type":"PUSH","image-tag":"1"`),
	}
	apply := func(changes map[string]any) {
		for name, value := range changes {
			if message[name] = value; value == nil {
				delete(message, name)
			}
		}
	}
	apply(s.changes)
	by := s.by
	if by == nil {
		by = sampleSigner()
	}
	by.sign(message)
	apply(s.tampering)
	headers = s.headers
	if headers == nil {
		headers = []string{snsTypeHeader, fmt.Sprint(message["Type"])}
	}
	return string(must(json.Marshal(message))), headers
}

// send posts the message to an endpoint of kind sns.
func (s snsRequest) send(t *testing.T, out *internet, auth Auth) (status int, answer string, items []Item) {
	t.Helper()
	e := Endpoint{Registry: "ecr", Host: ecrName, Format: "ecr-sns", Auth: auth}
	sink := &keeper{}
	h, err := NewHandler([]Endpoint{e}, sink, Metrics{}, withClock(sampleTime), WithKeys(keysFrom(t, out)))
	if err != nil {
		t.Fatal(err)
	}
	body, headers := s.parts()
	w := post(h, "ecr", body, headers...)
	return w.Code, w.Body.String(), sink.kept()
}

func snsAuth() Auth {
	return Auth{Kind: AuthSNS, Topics: []string{"arn:aws:sns:eu-west-1:444455556666:other", snsTopic}}
}

// amazon serves the certificate of the signer.
func amazon() *internet { return &internet{status: 200, body: sampleSigner().certificate} }

func TestSNSMessages(t *testing.T) {
	const fetched = "GET " + snsCert
	for name, tt := range map[string]struct {
		request snsRequest
		asked   []string
	}{
		"version 2":             {snsRequest{}, []string{fetched}},
		"version 1":             {snsRequest{changes: map[string]any{"SignatureVersion": "1"}}, []string{fetched}},
		"subject":               {snsRequest{changes: map[string]any{"Subject": "push\nof 1"}}, []string{fetched}},
		"empty subject":         {snsRequest{changes: map[string]any{"Subject": ""}}, []string{fetched}},
		"an hour old":           {snsRequest{changes: map[string]any{"Timestamp": at(sampleTime.Add(-time.Hour))}}, []string{fetched}},
		"clock ahead":           {snsRequest{changes: map[string]any{"Timestamp": at(sampleTime.Add(10 * time.Minute))}}, []string{fetched}},
		"raw delivery is off":   {snsRequest{headers: []string{snsTypeHeader, snsNotification, snsRawHeader, "false"}}, []string{fetched}},
		"a field nobody signs":  {snsRequest{tampering: map[string]any{"UnsubscribeURL": "https://evil.test/"}}, []string{fetched}},
		"header of other types": {snsRequest{headers: []string{snsTypeHeader, snsNotification, "X-Amz-Sns-Topic-Arn", "else"}}, []string{fetched}},
	} {
		out := amazon()
		status, answer, items := tt.request.send(t, out, snsAuth())
		if status != http.StatusAccepted || len(items) != 1 || items[0].Event.Tag != "1" || items[0].Ignored != "" {
			t.Errorf("%s: status %d %s, %+v", name, status, answer, items)
		}
		if diff := cmp.Diff(tt.asked, out.asked); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", name, diff)
		}
	}
}

// TestSNSRefusedWithoutAsking: what would be refused with any certificate, and
// what names an address that is not Amazon's, makes us connect nowhere.
func TestSNSRefusedWithoutAsking(t *testing.T) {
	change := func(name string, value any) snsRequest { return snsRequest{changes: map[string]any{name: value}} }
	tests := map[string]snsRequest{
		"another topic":             change("TopicArn", "arn:aws:sns:eu-west-1:111122223333:ecr-events"),
		"topic that begins alike":   change("TopicArn", snsTopic+"2"),
		"topic in another region":   change("TopicArn", strings.Replace(snsTopic, "eu-west-1", "us-east-1", 1)),
		"no topic":                  change("TopicArn", nil),
		"unknown type":              change("Type", "Something"),
		"no type":                   change("Type", nil),
		"another signature version": change("SignatureVersion", "3"),
		"no signature version":      change("SignatureVersion", nil),
		"no certificate":            change("SigningCertURL", nil),
		"stale":                     change("Timestamp", at(sampleTime.Add(-2*time.Hour))),
		"of the future":             change("Timestamp", at(sampleTime.Add(time.Hour))),
		"no time":                   change("Timestamp", nil),
		"no readable time":          change("Timestamp", "yesterday"),
		"no signature":              {tampering: map[string]any{"Signature": nil}},
		"empty signature":           {tampering: map[string]any{"Signature": ""}},
		"signature that is none":    {tampering: map[string]any{"Signature": "%%%"}},
		"endless signature":         {tampering: map[string]any{"Signature": strings.Repeat("AAAA", 1000)}},
		"wrong shape":               {tampering: map[string]any{"Message": map[string]any{}}},
		"raw delivery":              {headers: []string{snsTypeHeader, snsNotification, snsRawHeader, "true"}},
		"raw delivery, oddly":       {headers: []string{snsTypeHeader, snsNotification, snsRawHeader, "TRUE "}},
		"no header":                 {headers: []string{}},
		"header of another type":    {headers: []string{snsTypeHeader, snsConfirmation}},
		"header twice":              {headers: []string{snsTypeHeader, snsNotification, snsTypeHeader, snsNotification}},
	}
	for _, url := range []string{
		"http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
		"https://sns.eu-west-1.amazonaws.com.attacker.test/SimpleNotificationService-01.pem",
		"https://evil.sns.amazonaws.com.attacker.test/SimpleNotificationService-01.pem",
		"https://attacker.test/SimpleNotificationService-01.pem",
		"https://attacker.test/sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
		"https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
		"https://sns.eu-west-1.amazonaws.com@attacker.test/SimpleNotificationService-01.pem",
		"https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-01.pem",
		"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem?x=1",
		"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem#x",
		"https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-01.pem",
		"https://sns.eu-west-1.amazonaws.com/x/SimpleNotificationService-01.pem",
		"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-%2e%2e.pem",
		"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem\n",
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
		"https://sns.eu-west-1.amazonaws.com.cn/SimpleNotificationService-01.pem",
		"https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
		"https://sns.s3.amazonaws.com/SimpleNotificationService-01.pem",
		"https://127.0.0.1/SimpleNotificationService-01.pem",
		"file:///SimpleNotificationService-01.pem", "//sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem", "%",
	} {
		tests["certificate at "+url] = change("SigningCertURL", url)
	}
	for name, request := range tests {
		t.Run(name, func(t *testing.T) {
			for how, auth := range map[string]Auth{"fetching": snsAuth(), "with a certificate": withCertificate(snsAuth())} {
				out := amazon()
				status, answer, items := request.send(t, out, auth)
				if status != http.StatusUnauthorized || len(items) > 0 || len(out.asked) > 0 {
					t.Errorf("%s: status %d, %d items, asked %v: %s", how, status, len(items), out.asked, answer)
				}
			}
		})
	}
}

func withCertificate(a Auth) Auth {
	a.Certificate = sampleSigner().certificate
	return a
}

// TestSNSRefusedBySignature changes a field that is signed, or has another key.
func TestSNSRefusedBySignature(t *testing.T) {
	tamper := func(name string, value any) snsRequest { return snsRequest{tampering: map[string]any{name: value}} }
	confirm := map[string]any{"Type": snsConfirmation, "Token": "2336", "SubscribeURL": snsVisit}
	for name, request := range map[string]snsRequest{
		"message":                 tamper("Message", `{"a":1}`),
		"id":                      tamper("MessageId", "m2"),
		"time":                    tamper("Timestamp", at(sampleTime)),
		"topic":                   tamper("TopicArn", "arn:aws:sns:eu-west-1:444455556666:other"),
		"subject added":           tamper("Subject", "x"),
		"subject removed":         {changes: map[string]any{"Subject": "x"}, tampering: map[string]any{"Subject": nil}},
		"type":                    {changes: confirm, tampering: map[string]any{"Type": snsGoodbye}, headers: []string{snsTypeHeader, snsConfirmation}},
		"version":                 tamper("SignatureVersion", "1"),
		"signature of another":    {by: strangeSigner()},
		"address to confirm":      {changes: confirm, tampering: map[string]any{"SubscribeURL": snsVisit + "&x=1"}},
		"token to confirm with":   {changes: confirm, tampering: map[string]any{"Token": "2337"}},
		"notification made of it": {changes: confirm, tampering: map[string]any{"Type": snsNotification}, headers: []string{snsTypeHeader, snsNotification}},
	} {
		out := amazon()
		status, answer, items := request.send(t, out, snsAuth())
		if status != http.StatusUnauthorized || len(items) > 0 {
			t.Errorf("%s: status %d, %d items: %s", name, status, len(items), answer)
		}
		if len(out.asked) > 1 || len(out.asked) == 1 && out.asked[0] != "GET "+snsCert {
			t.Errorf("%s: asked %v", name, out.asked)
		}
		if status, answer, _ := request.send(t, &internet{}, withCertificate(snsAuth())); status != http.StatusUnauthorized {
			t.Errorf("%s with a certificate: status %d: %s", name, status, answer)
		}
	}
}

// TestSNSCertificateThatCannotBeHad: the sender is told to come again when the
// certificate may be had later, and refused when it is none.
func TestSNSCertificateThatCannotBeHad(t *testing.T) {
	for name, tt := range map[string]struct {
		out    *internet
		status int
	}{
		"nobody there":        {&internet{err: errors.New("dial tcp 10.1.2.3:443: refused")}, 503},
		"fault of Amazon":     {&internet{status: 500}, 503},
		"no such certificate": {&internet{status: 404}, 401},
		"forbidden":           {&internet{status: 403}, 401},
		"redirect":            {&internet{status: 302, header: http.Header{"Location": {"https://attacker.test/cert.pem"}}}, 401},
		"no certificate":      {&internet{status: 200, body: "<html>"}, 401},
		"too long":            {&internet{status: 200, body: sampleSigner().certificate + strings.Repeat(" ", 70_000)}, 401},
	} {
		status, answer, items := snsRequest{}.send(t, tt.out, snsAuth())
		if status != tt.status || len(items) > 0 || strings.Contains(answer, "10.1.2.3") {
			t.Errorf("%s: status %d, want %d: %s", name, status, tt.status, answer)
		}
		if diff := cmp.Diff([]string{"GET " + snsCert}, tt.out.asked); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", name, diff)
		}
	}
}

// TestSNSConfirmation: the address of the topic itself is visited, once, and no
// other.
func TestSNSConfirmation(t *testing.T) {
	message := func(url string) snsRequest {
		return snsRequest{changes: map[string]any{"Type": snsConfirmation, "Token": "2336", "Message": "confirm me", "SubscribeURL": url}}
	}
	out := &internet{status: 200}
	status, answer, items := message(snsVisit).send(t, out, withCertificate(snsAuth()))
	if status != http.StatusOK || len(items) > 0 {
		t.Errorf("status %d: %s", status, answer)
	}
	if diff := cmp.Diff([]string{"GET " + snsVisit}, out.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	for _, failing := range []*internet{{status: 500}, {status: 403}, {status: 302, header: http.Header{"Location": {"https://attacker.test/"}}}, {err: errors.New("x")}} {
		if status, answer, _ := message(snsVisit).send(t, failing, withCertificate(snsAuth())); status != http.StatusServiceUnavailable || len(failing.asked) != 1 {
			t.Errorf("visit that fails: status %d, asked %v: %s", status, failing.asked, answer)
		}
	}
	for _, url := range []string{
		"", "http" + strings.TrimPrefix(snsVisit, "https"), strings.Replace(snsVisit, "amazonaws.com", "amazonaws.com.attacker.test", 1),
		strings.Replace(snsVisit, "sns.", "user@sns.", 1), strings.Replace(snsVisit, "amazonaws.com/", "amazonaws.com:444/", 1),
		strings.Replace(snsVisit, "eu-west-1.amazonaws", "us-east-1.amazonaws", 1), strings.Replace(snsVisit, "Confirm", "Delete", 1),
		strings.Replace(snsVisit, "&Token=2336", "", 1), strings.Replace(snsVisit, "ecr-events", "other", 1), snsVisit + "&TopicArn=x", snsVisit + "&Action=Publish",
		strings.Replace(snsVisit, "/?", "/x?", 1), snsVisit + "#x", snsVisit + "&%zz", "https://169.254.169.254/?Action=ConfirmSubscription&TopicArn=" + snsTopic + "&Token=1",
	} {
		out := &internet{status: 200}
		status, answer, items := message(url).send(t, out, withCertificate(snsAuth()))
		if status != http.StatusUnprocessableEntity || len(items) > 0 || len(out.asked) > 0 {
			t.Errorf("%q: status %d, asked %v: %s", url, status, out.asked, answer)
		}
	}
}

// TestSNSFarewell: visiting the address in it would subscribe us again.
func TestSNSFarewell(t *testing.T) {
	out := amazon()
	request := snsRequest{changes: map[string]any{"Type": snsGoodbye, "Token": "2336", "SubscribeURL": snsVisit}}
	status, answer, items := request.send(t, out, snsAuth())
	if status != http.StatusAccepted || len(items) != 1 || items[0].Ignored != ReasonOtherEvent || len(out.asked) != 1 {
		t.Errorf("status %d: %s, %+v, asked %v", status, answer, items, out.asked)
	}
}

// TestSNSByPassword: SNS shows its password when it is asked for it, and in raw
// delivery that is all there is.
func TestSNSByPassword(t *testing.T) {
	e := Endpoint{Registry: "ecr", Host: ecrName, Format: "ecr-sns", Auth: Auth{Kind: AuthBasic, Secrets: []string{"sns:secret"}}}
	out, sink := &internet{status: 200}, &keeper{}
	h, err := NewHandler([]Endpoint{e}, sink, Metrics{}, withClock(sampleTime), WithKeys(keysFrom(t, out)))
	if err != nil {
		t.Fatal(err)
	}
	event := ecrBody("ECR Image Action", `"result":"SUCCESS","action-type":"PUSH","image-tag":"1"`)
	raw := []string{snsTypeHeader, snsNotification, snsRawHeader, "true"}
	if w := post(h, "ecr", event, raw...); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != `Basic realm="tidewaiter"` {
		t.Errorf("without the password: status %d, %v", w.Code, w.Header())
	}
	password := []string{"Authorization", "Basic c25zOnNlY3JldA=="}
	if w := post(h, "ecr", event, append(raw, password...)...); w.Code != http.StatusAccepted {
		t.Errorf("raw: status %d: %s", w.Code, w.Body)
	}
	wrapped, _ := snsRequest{}.parts()
	if w := post(h, "ecr", wrapped, append(password, snsTypeHeader, snsNotification)...); w.Code != http.StatusAccepted {
		t.Errorf("wrapped: status %d: %s", w.Code, w.Body)
	}
	confirm, _ := snsRequest{changes: map[string]any{"Type": snsConfirmation, "Token": "2336", "SubscribeURL": snsVisit}}.parts()
	if w := post(h, "ecr", confirm, append(password, snsTypeHeader, snsConfirmation)...); w.Code != http.StatusOK {
		t.Errorf("confirmation: status %d: %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"GET " + snsVisit}, out.asked); diff != "" || len(sink.kept()) != 2 {
		t.Errorf("%d items, asked (-want +got):\n%s", len(sink.kept()), diff)
	}
}

// TestSNSReplayed: a captured message is as good as on its day; without the
// certificate at hand it cannot be judged, and nothing is fetched.
func TestSNSReplayed(t *testing.T) {
	body, headers := snsRequest{changes: map[string]any{"Timestamp": "2020-01-01T00:00:00.000Z"}}.parts()
	captured := Captured{Method: http.MethodPost, Target: "/webhook", Header: headersOf(headers...), Body: []byte(body)}
	e := Endpoint{Registry: "ecr", Host: ecrName, Format: "ecr-sns", Auth: withCertificate(snsAuth())}
	if v, err := Check(t.Context(), e, captured, nil); err != nil || v.Verdict != VerdictEvents {
		t.Errorf("replayed: %+v, %v", v, err)
	}
	captured.At = sampleTime
	if v, err := Check(t.Context(), e, captured, nil); err != nil || v.Status != http.StatusUnauthorized {
		t.Errorf("at a time: %+v, %v", v, err)
	}
	e.Auth, captured.At = snsAuth(), time.Time{}
	if v, err := Check(t.Context(), e, captured, nil); err != nil || v.Status != http.StatusUnauthorized || !strings.Contains(v.Detail, "not at hand") {
		t.Errorf("without a certificate: %+v, %v", v, err)
	}
}
