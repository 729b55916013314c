package keys

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestCertificateIsFetchedOnce(t *testing.T) {
	o := startOutside(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(pemOf(certificateFor(nil)))) })
	c := &clock{now: start}
	k := o.keys(t, c)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := k.Certificate(t.Context(), signingAddress); err != nil || got.Subject.CommonName != "sns.amazonaws.com" {
				t.Errorf("certificate %v, %v", got, err)
			}
		})
	}
	all.Wait()
	c.pass(freshCertificate - time.Second)
	if _, err := k.Certificate(t.Context(), signingAddress); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET " + signingAddress}, o.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	c.pass(2 * time.Second)
	if _, err := k.Certificate(t.Context(), signingAddress); err != nil || len(o.requests()) != 2 {
		t.Errorf("a day later: %v, requests %v", err, o.requests())
	}
	if got := fetches(t, k, kindCertificate, outcomeOK); got != 2 {
		t.Errorf("%v fetches counted", got)
	}
}

func TestCertificateThatIsNone(t *testing.T) {
	large := pemOf(certificateFor(nil)) + strings.Repeat("\n", maxCertificate)
	for name, tt := range map[string]struct {
		status int
		body   string
		kind   errs.Kind
	}{
		"not found":   {404, "", errs.Unauthorized},
		"redirect":    {302, "", errs.Unauthorized},
		"failure":     {500, "", errs.Unavailable},
		"slow down":   {429, "", errs.Unavailable},
		"text":        {200, "hello", errs.Unauthorized},
		"empty":       {200, "", errs.Unauthorized},
		"too large":   {200, large, errs.Unauthorized},
		"of somebody": {200, pemOf(certificateFor(func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "attacker.test", nil })), errs.Unauthorized},
		"with a like name": {200, pemOf(certificateFor(func(c *x509.Certificate) {
			c.Subject.CommonName, c.DNSNames = "sns.amazonaws.com.attacker.test", []string{"x.sns.amazonaws.com"}
		})), errs.Unauthorized},
		"over":    {200, pemOf(certificateFor(func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Second) })), errs.Unauthorized},
		"not yet": {200, pemOf(certificateFor(func(c *x509.Certificate) { c.NotBefore = start.Add(time.Second) })), errs.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOutside(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://issuer.example/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			c := &clock{now: start}
			k := o.keys(t, c)
			for range 3 {
				if got, err := k.Certificate(t.Context(), signingAddress); !errs.Is(err, tt.kind) || got != nil {
					t.Errorf("certificate %v, error %v, want kind %s", got, err, tt.kind)
				}
			}
			if diff := cmp.Diff([]string{"GET " + signingAddress}, o.requests()); diff != "" {
				t.Errorf("requests of three calls (-want +got):\n%s", diff)
			}
			c.pass(refusedCertificate + time.Second)
			_, _ = k.Certificate(t.Context(), signingAddress)
			if len(o.requests()) != 2 {
				t.Errorf("after a minute: %v", o.requests())
			}
			if got := fetches(t, k, kindCertificate, outcomeOK) + fetches(t, k, kindCertificate, outcomeFailed); got != 2 {
				t.Errorf("%v fetches counted", got)
			}
		})
	}
}

// TestNamesOfRegions: these are in the certificates of regions.
func TestNamesOfRegions(t *testing.T) {
	for _, name := range []string{"sns.amazonaws.com", "sns-signing.eu-south-1.amazonaws.com", "sns-us-gov-west-1.amazonaws.com", "sns-cn-north-1.amazonaws.com.cn"} {
		for _, change := range []func(*x509.Certificate){
			func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = name, nil },
			func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "", []string{name} },
		} {
			if c := must(x509.ParseCertificate(certificateFor(change))); !isSigner(c) {
				t.Errorf("%s does not count as Amazon SNS", name)
			}
		}
	}
}

// TestFloodOfCertificates: who knows a topic can make up addresses, but not make
// us ask for all of them; what is known goes on.
func TestFloodOfCertificates(t *testing.T) {
	o := startOutside(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "0123456789abcdef") {
			w.WriteHeader(403)
			return
		}
		_, _ = w.Write([]byte(pemOf(certificateFor(nil))))
	})
	c := &clock{now: start}
	k := o.keys(t, c)
	if _, err := k.Certificate(t.Context(), signingAddress); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		_, err := k.Certificate(t.Context(), fmt.Sprintf("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-%d.pem", i))
		if kind := errs.KindOf(err); kind != errs.Unauthorized && (kind != errs.Unavailable || errs.RetryAfter(err) <= 0) {
			t.Fatalf("error %v", err)
		}
		if _, err := k.Certificate(t.Context(), signingAddress); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(o.requests()); n != certificateBurst {
		t.Errorf("%d requests", n)
	}
	if got := fetches(t, k, kindCertificate, outcomeLimited); got < 400 {
		t.Errorf("%v counted as not asked", got)
	}
	for i := range 2 * maxCertificates {
		c.pass(certificatePause)
		_, _ = k.Certificate(t.Context(), fmt.Sprintf("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-x%d.pem", i))
	}
	if len(k.certificates) > maxCertificates || k.certificate(signingAddress).value == nil {
		t.Errorf("%d certificates are kept", len(k.certificates))
	}
}

// TestCertificateOutlivesAnOutage of Amazon, but not itself.
func TestCertificateOutlivesAnOutage(t *testing.T) {
	fails := false
	o := startOutside(t, func(w http.ResponseWriter, _ *http.Request) {
		if fails {
			w.WriteHeader(503)
			return
		}
		_, _ = w.Write([]byte(pemOf(certificateFor(func(c *x509.Certificate) { c.NotAfter = start.Add(3 * freshCertificate) }))))
	})
	c := &clock{now: start}
	k := o.keys(t, c)
	if _, err := k.Certificate(t.Context(), signingAddress); err != nil {
		t.Fatal(err)
	}
	fails = true
	c.pass(2 * freshCertificate)
	if _, err := k.Certificate(t.Context(), signingAddress); err != nil || len(o.requests()) != 2 {
		t.Errorf("in an outage: %v, requests %v", err, o.requests())
	}
	c.pass(2 * freshCertificate)
	if _, err := k.Certificate(t.Context(), signingAddress); !errs.Is(err, errs.Unavailable) {
		t.Errorf("after its end: %v", err)
	}
}

func TestCertificateWithoutAnswer(t *testing.T) {
	arrived, stop := make(chan struct{}), make(chan struct{})
	o := startOutside(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-stop })
	defer close(stop)
	k := o.keys(t, &clock{now: start})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := k.Certificate(ctx, signingAddress)
		result <- err
	}()
	<-arrived
	cancel()
	if err := <-result; !errs.Is(err, errs.Canceled) {
		t.Errorf("error %v of who does not wait", err)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		signingAddress: "sns.eu-west-1.amazonaws.com",
		"https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-ab.pem": "sns.cn-north-1.amazonaws.com.cn",
		"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-.pem":       "",
		"HTTPS://sns.eu-west-1.amazonaws.com/SimpleNotificationService-ab.pem":     "",
		"https://SNS.eu-west-1.amazonaws.com/SimpleNotificationService-ab.pem":     "",
		" " + signingAddress: "", signingAddress + "\n": "", signingAddress + "/": "", "": "",
	} {
		if got := SigningHost(address); got != want {
			t.Errorf("SigningHost(%q) is %q, want %q", address, got, want)
		}
	}
	for arn, want := range map[string]string{
		topic: "sns.eu-west-1.amazonaws.com",
		"arn:aws-cn:sns:cn-north-1:444455556666:t":        "sns.cn-north-1.amazonaws.com.cn",
		"arn:aws-us-gov:sns:us-gov-west-1:444455556666:t": "sns.us-gov-west-1.amazonaws.com",
		"arn:aws:sns:eu-west-1:444455556666:t.fifo":       "sns.eu-west-1.amazonaws.com",
		"arn:aws:sns:attacker.test/:444455556666:t":       "",
		"arn:aws:sns:eu-west-1:444455556666:t:sub":        "",
		"arn:aws:sns:eu-west-1:44445555666:t":             "",
		topic + "\n":                                      "", "": "",
	} {
		if got := SNSHost(arn); got != want {
			t.Errorf("SNSHost(%q) is %q, want %q", arn, got, want)
		}
	}
	o := startOutside(t, func(http.ResponseWriter, *http.Request) {})
	k := o.keys(t, &clock{now: start})
	if _, err := k.Certificate(t.Context(), "https://issuer.example/SimpleNotificationService-ab.pem"); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("certificate elsewhere: %v", err)
	}
	if err := k.Confirm(t.Context(), "https://issuer.example/?Action=ConfirmSubscription&TopicArn="+topic+"&Token=1"); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("confirmation elsewhere: %v", err)
	}
	if len(o.requests()) > 0 {
		t.Errorf("requests %v", o.requests())
	}
}

func TestConfirm(t *testing.T) {
	status := 200
	o := startOutside(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	c := &clock{now: start}
	k := o.keys(t, c)
	if err := k.Confirm(t.Context(), confirmAddress); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET " + confirmAddress}, o.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	status = 403
	err := k.Confirm(t.Context(), confirmAddress)
	if !errs.Is(err, errs.Unavailable) || strings.Contains(err.Error(), "t1") {
		t.Errorf("refused: %v", err)
	}
	for range 100 {
		_ = k.Confirm(t.Context(), confirmAddress)
	}
	if len(o.requests()) != confirmBurst || fetches(t, k, kindConfirm, outcomeLimited) != 102-confirmBurst {
		t.Errorf("%d requests", len(o.requests()))
	}
}
