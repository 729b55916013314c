package keys

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

var (
	// topicARN is the name of a topic (Amazon SNS developer guide, "Amazon SNS
	// security": arn:partition:sns:region:account:name).
	topicARN = regexp.MustCompile(`^arn:aws[a-z-]{0,20}:sns:([a-z0-9-]{1,32}):[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?$`)
	// signingURL leaves no room for a port, credentials, a query or an escape.
	signingURL = regexp.MustCompile(`^https://(sns\.[a-z0-9-]{1,32}\.amazonaws\.com(?:\.cn)?)/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem$`)
	// signerName is what Amazon puts into these certificates: sns.amazonaws.com,
	// and names with the region in them for some regions.
	signerName = regexp.MustCompile(`^sns[a-z0-9.-]{0,60}\.amazonaws\.com(?:\.cn)?$`)
)

// SNSHost returns the host at which Amazon SNS serves a topic, "" for what is
// not the ARN of a topic.
func SNSHost(topic string) string {
	m := topicARN.FindStringSubmatch(topic)
	if m == nil {
		return ""
	}
	host := "sns." + m[1] + ".amazonaws.com"
	if strings.HasPrefix(m[1], "cn-") {
		host += ".cn"
	}
	return host
}

// SigningHost returns the host of a URL at which Amazon SNS serves a
// certificate; "" for any other URL.
func SigningHost(address string) string {
	m := signingURL.FindStringSubmatch(address)
	if m == nil {
		return ""
	}
	return m[1]
}

// ConfirmedTopic returns the topic whose subscription is confirmed by visiting an
// address; "" for any other address. The address is on the topic's own host.
func ConfirmedTopic(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Path != "/" && u.Path != "" {
		return ""
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return ""
	}
	topic := query.Get("TopicArn")
	host := SNSHost(topic)
	if host == "" || u.Host != host || query.Get("Action") != "ConfirmSubscription" || query.Get("Token") == "" {
		return ""
	}
	for _, values := range query {
		if len(values) > 1 {
			return ""
		}
	}
	return topic
}

// ParseCertificates reads the certificates of a PEM file. The error is of kind
// Invalid unless there is one at least and all have RSA keys.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		switch {
		case block.Type != "CERTIFICATE" || err != nil:
			return nil, errs.New(errs.Invalid, "holds something else than certificates")
		case c.PublicKeyAlgorithm != x509.RSA:
			return nil, errs.New(errs.Invalid, "holds a certificate without an RSA key")
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errs.New(errs.Invalid, "holds no certificate in PEM form")
	}
	return all, nil
}

// isSigner reports whether a certificate names Amazon SNS.
func isSigner(c *x509.Certificate) bool {
	return slices.ContainsFunc(append([]string{c.Subject.CommonName}, c.DNSNames...), signerName.MatchString)
}
