package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// webhook sends a CloudEvent (CloudEvents 1.0, structured mode) that is signed as
// the Standard Webhooks specification 1.0 says.
type webhook struct {
	named
	*poster
	keys          [][]byte
	authorization string
	source        string
}

func newWebhook(s Settings) (Channel, error) {
	p, err := newPoster(s)
	if err != nil {
		return nil, err
	}
	if len(s.Secrets) == 0 {
		return nil, errs.New(errs.Invalid, "empty; make one with: echo whsec_$(openssl rand -base64 32)").WithField("secrets")
	}
	w := &webhook{named: named{s.Name, "webhook"}, poster: p, authorization: s.Authorization, source: s.PublicURL}
	if w.source == "" {
		w.source = "urn:tidewaiter"
	}
	for i, secret := range s.Secrets {
		key, err := signingKey(secret)
		if err != nil {
			return nil, errs.New(errs.Invalid, "%s", err).WithField("secrets[" + strconv.Itoa(i) + "]")
		}
		w.keys = append(w.keys, key)
		w.secrets = append(w.secrets, secret, strings.TrimPrefix(secret, secretPrefix))
	}
	return w, nil
}

const (
	secretPrefix = "whsec_"
	leastKey     = 24 // bytes, as the specification says
	greatestKey  = 64
)

// signingKey reads a secret as the specification writes it: "whsec_" and 24 to 64
// bytes in base64. The error does not repeat it.
func signingKey(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < leastKey || len(key) > greatestKey {
		return nil, errs.New(errs.Invalid, "not whsec_ followed by %d to %d bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)", leastKey, greatestKey)
	}
	return key, nil
}

// Sign returns the value of the header webhook-signature for a message: one
// signature for each key, "v1," and the HMAC-SHA256 of id, time and body in base64.
func Sign(keys [][]byte, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		// Hash writes never fail.
		_, _ = mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		_, _ = mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}

// event is a CloudEvent.
type event struct {
	SpecVersion     string      `json:"specversion"`
	ID              string      `json:"id"`
	Source          string      `json:"source"`
	Type            string      `json:"type"`
	Subject         string      `json:"subject,omitempty"`
	Time            string      `json:"time"`
	DataContentType string      `json:"datacontenttype"`
	Data            report.News `json:"data"`
}

// eventType is what the types of events begin with; kind and version follow.
const eventType = "io.github.tidewaiter.notification."

func (w *webhook) event(p Parcel) event {
	e := event{
		SpecVersion: "1.0", ID: p.ID, Source: w.source, Type: eventType + string(p.News.Kind) + ".v1",
		Time: p.CreatedAt.UTC().Format(time.RFC3339), DataContentType: "application/json", Data: p.News,
	}
	if len(p.News.Groups) == 1 && p.News.GroupCount == 1 {
		switch g := p.News.Groups[0]; {
		case g.Image != nil:
			e.Subject = imageName(*g.Image)
		case g.Vulnerability != nil:
			e.Subject = g.Vulnerability.ID
		}
	}
	return e
}

// Send implements Channel.
func (w *webhook) Send(ctx context.Context, p Parcel) (Receipt, error) {
	body, err := json.Marshal(w.event(p))
	if err != nil {
		return Receipt{}, errs.Wrap(errs.Internal, "notify: encode event", err)
	}
	at := time.Now()
	header := http.Header{}
	header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	header.Set("Webhook-Id", p.ID)
	header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("Webhook-Signature", Sign(w.keys, p.ID, at, body))
	if w.authorization != "" {
		header.Set("Authorization", w.authorization)
	}
	return w.post(ctx, header, body)
}
