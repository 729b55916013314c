package webhook

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/webhook/keys"
)

// snsMessage is what Amazon SNS posts ("HTTP/HTTPS notification JSON format").
// What is verified and what is read are the same decoded values, so that no two
// readings of a body can differ.
type snsMessage struct {
	Type             string  `json:"Type"`
	ID               string  `json:"MessageId"`
	Topic            string  `json:"TopicArn"`
	Subject          *string `json:"Subject"` // signed when it is there
	Message          string  `json:"Message"`
	Timestamp        string  `json:"Timestamp"`
	SignatureVersion string  `json:"SignatureVersion"`
	Signature        string  `json:"Signature"`
	SigningCertURL   string  `json:"SigningCertURL"`
	Token            string  `json:"Token"`
	SubscribeURL     string  `json:"SubscribeURL"`
}

// The types of messages.
const (
	snsNotification = "Notification"
	snsConfirmation = "SubscriptionConfirmation"
	snsGoodbye      = "UnsubscribeConfirmation"
)

// The headers beside the body. Nobody signs them.
const (
	snsTypeHeader = "X-Amz-Sns-Message-Type"
	snsRawHeader  = "X-Amz-Sns-Rawdelivery"
)

const (
	// snsLifetime is how long SNS tries to deliver a message.
	snsLifetime = time.Hour
	// clockSkew is how far two clocks may be apart.
	clockSkew = 15 * time.Minute
	// maxSNSSignature is that of an RSA key of 8192 bits.
	maxSNSSignature = 1024
)

func (a Auth) snsProblems() []error {
	if a.Kind != AuthSNS {
		return a.unused(AuthSNS, setting{"topics", len(a.Topics) > 0}, setting{"certificate_file", a.Certificate != ""})
	}
	var all []error
	if len(a.Topics) == 0 {
		all = append(all, errs.New(errs.Invalid, "auth.topics: is empty").
			WithHint("name the ARN of the topic: Amazon signs the messages of everybody's topics"))
	}
	for i, topic := range a.Topics {
		if keys.SNSHost(topic) == "" {
			all = append(all, errs.New(errs.Invalid, "auth.topics[%d]: %.300q is not the ARN of a topic", i, topic).
				WithHint("write it as arn:aws:sns:eu-west-1:444455556666:name"))
		}
	}
	if a.Certificate != "" {
		if _, err := keys.ParseCertificates([]byte(a.Certificate)); err != nil {
			all = append(all, errs.Op("auth.certificate_file", err))
		}
	}
	return all
}

// checkSNS verifies a message (Amazon SNS developer guide, "Verifying the
// signatures of Amazon SNS messages"). Nothing is fetched for a message that
// would be refused with any certificate.
func (a Auth) checkSNS(ctx context.Context, r request) error {
	if raw := r.header.Get(snsRawHeader); raw != "" && !strings.EqualFold(raw, "false") {
		return errs.New(errs.Unauthorized, "webhook: a message in raw delivery is not signed").
			WithHint("switch raw message delivery off, or choose another kind of authentication")
	}
	said, err := single(r.header, snsTypeHeader)
	if err != nil {
		return err
	}
	var m snsMessage
	if err := decodeObject(r.body, &m); err != nil {
		return errs.New(errs.Unauthorized, "webhook: the body is not a message of Amazon SNS")
	}
	text := m.signed()
	switch {
	case text == "" || m.Type != said:
		return errs.New(errs.Unauthorized, "webhook: field Type is not that of header %s, or not one we know", snsTypeHeader)
	case !slices.Contains(a.Topics, m.Topic):
		return errs.New(errs.Unauthorized, "webhook: field TopicArn names none of the topics that are configured").
			WithHint("add the topic to auth.topics of the registry's webhook")
	case keys.SigningHost(m.SigningCertURL) != keys.SNSHost(m.Topic):
		return errs.New(errs.Unauthorized, "webhook: field SigningCertURL is not an address of Amazon SNS in the region of the topic")
	}
	if err := m.checkAge(r); err != nil {
		return err
	}
	return a.checkSNSSignature(ctx, r.keys, m, text)
}

func (a Auth) checkSNSSignature(ctx context.Context, at Keys, m snsMessage, text string) error {
	algorithm, ok := map[string]x509.SignatureAlgorithm{"1": x509.SHA1WithRSA, "2": x509.SHA256WithRSA}[m.SignatureVersion]
	if !ok {
		return errs.New(errs.Unauthorized, "webhook: field SignatureVersion is neither 1 nor 2")
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil || len(signature) == 0 || len(signature) > maxSNSSignature {
		return errs.New(errs.Unauthorized, "webhook: field Signature is missing or not a signature")
	}
	certificates, err := a.snsCertificates(ctx, at, m.SigningCertURL)
	if err != nil {
		return err
	}
	for _, c := range certificates {
		if c.CheckSignature(algorithm, []byte(text), signature) == nil {
			return nil
		}
	}
	return errs.New(errs.Unauthorized, "webhook: the signature in field Signature was refused")
}

// snsCertificates are those that are configured, whatever their dates: who
// configured them trusts them. Otherwise it is the one at a URL that was checked.
func (a Auth) snsCertificates(ctx context.Context, at Keys, url string) ([]*x509.Certificate, error) {
	if a.Certificate != "" {
		all, err := keys.ParseCertificates([]byte(a.Certificate))
		return all, errs.Op("webhook: the configured certificate", err)
	}
	c, err := at.Certificate(ctx, url)
	return []*x509.Certificate{c}, errs.Op("webhook: the certificate of the message", err)
}

// signed is the text that is signed; "" for a type we do not know.
func (m snsMessage) signed() string {
	var b strings.Builder
	add := func(name, value string) { fmt.Fprintf(&b, "%s\n%s\n", name, value) }
	add("Message", m.Message)
	add("MessageId", m.ID)
	switch m.Type {
	case snsNotification:
		if m.Subject != nil {
			add("Subject", *m.Subject)
		}
		add("Timestamp", m.Timestamp)
	case snsConfirmation, snsGoodbye:
		add("SubscribeURL", m.SubscribeURL)
		add("Timestamp", m.Timestamp)
		add("Token", m.Token)
	default:
		return ""
	}
	add("TopicArn", m.Topic)
	add("Type", m.Type)
	return b.String()
}

// checkAge refuses what SNS would not send any more: somebody else may have kept
// the message. How old a captured request is says nothing.
func (m snsMessage) checkAge(r request) error {
	sent := parseTime(m.Timestamp)
	switch {
	case sent.IsZero():
		return errs.New(errs.Unauthorized, "webhook: field Timestamp is missing or no time")
	case r.replayed:
		return nil
	case r.received.Sub(sent) > snsLifetime+clockSkew, sent.Sub(r.received) > clockSkew:
		return errs.New(errs.Unauthorized, "webhook: field Timestamp is more than an hour ago, or in the future").
			WithHint("if the message is fresh, set the clock of this machine")
	}
	return nil
}
