package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// verifyCloudevents: brokers send a bearer token or an access token in the query
// (CloudEvents HTTP webhook 1.0, section 3); others what they can.
func verifyCloudevents(ctx context.Context, r request) error { return r.verify(ctx, plainSigning) }

// greetCloudevents answers the OPTIONS request of a broker.
func greetCloudevents(r request) (*Greeting, error) { return greetOrigin(r) }

// parseCloudevents reads events of whatever producer in any content mode, also
// those an input transformer of Amazon EventBridge makes of ECR's.
func parseCloudevents(r request) ([]Item, error) { return r.judgeEvents(r.anyClaim) }

// anyClaim reads one event by the names producers commonly give to what we need.
func (r request) anyClaim(e cloudEvent) (claim, error) {
	switch {
	case e.Type == "":
		return claim{}, errs.New(errs.Malformed, `webhook: the body is not a CloudEvent: attribute "type" is missing`)
	case strings.HasPrefix(e.Type, "dev.cdevents."):
		return r.cdClaim(e)
	}
	action, ignored := anyAction(e.Type)
	var data anyData
	if err := e.into(&data); err != nil && ignored == "" && e.Subject == "" {
		return claim{}, err
	}
	c := r.place(data, e)
	c.action, c.ignored = action, ignored
	c.mediaType = data.text("mediaType", "media_type")
	return c, nil
}

// anyData are the fields of an event's data. Fields of other names may have any
// shape.
type anyData map[string]json.RawMessage

// text returns the first of the named fields that is a string and not empty.
func (d anyData) text(names ...string) string {
	for _, name := range names {
		var s string
		if json.Unmarshal(d[name], &s) == nil && s != "" {
			return s
		}
	}
	return ""
}

// place finds the image: in the data a reference, or repository, tag and digest
// apart; what is missing there in the subject. The host is the data's, else the
// reference's, else that of the source.
func (r request) place(data anyData, e cloudEvent) claim {
	reference := data.text("image", "reference")
	_, _, sourceRepository := ecrSource(e.Source)
	c := r.readReference(cmp.Or(reference, data.text("repository", "repositoryName"), sourceRepository))
	c.tag = cmp.Or(data.text("tag", "imageTag"), c.tag)
	c.digest = cmp.Or(data.text("digest", "imageDigest"), c.digest)
	if subject := r.readReference(e.Subject); c.repository == "" || c.repository == subject.repository {
		c.host, c.repository = cmp.Or(c.host, subject.host), subject.repository
		c.tag, c.digest = cmp.Or(c.tag, subject.tag), cmp.Or(c.digest, subject.digest)
	}
	if reference != "" && c.tag == "" && c.digest == "" {
		c.tag = "latest" // as every container tool reads it
	}
	registry, _ := r.splitLocation(data.text("registry", "registryUrl", "registryURL"))
	if registry != "" && c.host != "" && c.host != registry {
		c.repository = c.host + "/" + c.repository // not a host, but a folder called like one
	}
	c.host = cmp.Or(registry, c.host, sourceHost(e.Source, data.text("registryId")))
	return c
}

// readReference cuts "host/repository:tag@digest" into its parts, of which all
// but the repository may be missing. Whether they are valid is judged later.
func (r request) readReference(s string) claim {
	if len(s) > maxReference {
		return claim{}
	}
	var c claim
	c.host, s = r.splitHost(s)
	s, c.digest, _ = strings.Cut(s, "@")
	if colon := strings.IndexByte(s, ':'); colon >= 0 {
		s, c.tag = s[:colon], s[colon+1:]
	}
	c.repository = s
	return c
}

// sourceHost finds a registry in an event's source: the host of a URL, or that
// of Amazon ECR in "urn:aws:ecr:<region>:<account>:repository/<name>".
func sourceHost(source, account string) string {
	region, owner, _ := ecrSource(source)
	if region == "" {
		return urlHost(source)
	}
	return ecrHost(cmp.Or(account, owner), region)
}

// ecrHost is the host of an account's registry at Amazon ECR; "" when account or
// region cannot be one.
func ecrHost(account, region string) string {
	if !isECRPart(account) || !isECRPart(region) {
		return ""
	}
	host := account + ".dkr.ecr." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		host += ".cn"
	}
	return host
}

func isECRPart(s string) bool {
	return s != "" && len(s) <= maxWord && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// anyAction looks for a word we know in an event's type, from its end: what
// stands before is the producer's name. Words that say little count only beside
// one for an image.
func anyAction(eventType string) (action Action, ignored string) {
	words := strings.FieldsFunc(strings.ToLower(eventType), func(c rune) bool { return c < 'a' || c > 'z' })
	if hasAny(words, "chart", "helm") {
		return Action(eventType), ReasonChart
	}
	about := hasAny(words, "image", "artifact", "container", "manifest", "tag")
	for _, word := range slices.Backward(words) {
		switch word {
		case "push", "pushed", "publish", "published", "uploaded":
			return ActionPush, ""
		case "create", "created", "update", "updated":
			if about {
				return ActionPush, ""
			}
		case "delete", "deleted", "remove", "removed":
			return ActionDelete, ""
		case "pull", "pulled", "downloaded":
			return "pull", ReasonPull
		case "ping", "test":
			return Action(eventType), ReasonPing
		case "scan", "scanned", "scanning", "vulnerability", "quota", "replication":
			return Action(eventType), ReasonOtherEvent
		}
	}
	return Action(eventType), ReasonUnknownEvent
}

func hasAny(words []string, known ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(known, w) })
}
