package webhook

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// ecrEvent is an event of Amazon EventBridge as ECR sends it (Amazon ECR user
// guide, "Amazon ECR events and EventBridge").
type ecrEvent struct {
	ID         string `json:"id"`
	DetailType string `json:"detail-type"`
	Source     string `json:"source"`
	Account    string `json:"account"`
	Region     string `json:"region"`
	Time       string `json:"time"`
}

// ecrDetail is what events about images say. That of others may have any shape.
type ecrDetail struct {
	Detail struct {
		Result       string `json:"result"`
		Action       string `json:"action-type"`
		Repository   string `json:"repository-name"`
		Digest       string `json:"image-digest"`
		Tag          string `json:"image-tag"` // may be empty
		MediaType    string `json:"manifest-media-type"`
		ArtifactType string `json:"artifact-media-type"`
	} `json:"detail"`
}

// ecrData is the data of the CloudEvent that input transformers make of an event.
type ecrData struct {
	Repository string `json:"repositoryName"`
	Digest     string `json:"imageDigest"`
	Tag        string `json:"imageTag"`
	Account    string `json:"registryId"`
}

// verifyECREventBridge: a connection of EventBridge adds a header of any name,
// which may be Authorization, or Basic credentials. It cannot sign.
func verifyECREventBridge(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseECREventBridge reads what an API destination is sent: the event itself,
// or the CloudEvent of type com.amazon.ecr.push that an input transformer made of
// it.
func parseECREventBridge(r request) ([]Item, error) { return r.judgeEvents(ecrClaim) }

func ecrClaim(e cloudEvent) (claim, error) {
	if e.Type != "" {
		return ecrCloudClaim(e)
	}
	var event ecrEvent
	if err := decodeObject(e.Raw, &event); err != nil {
		return claim{}, err
	}
	c := claim{
		action: Action(event.DetailType), ignored: event.other(),
		host: ecrHost(event.Account, event.Region), eventID: event.ID, key: idKey(event.ID), occurredAt: parseTime(event.Time),
	}
	var detail ecrDetail
	err := decodeObject(e.Raw, &detail)
	switch {
	case c.ignored != "": // whatever can be read is shown
		c.repository, c.tag, c.digest = detail.Detail.Repository, detail.Detail.Tag, detail.Detail.Digest
		return c, nil
	case err != nil:
		return claim{}, err
	}
	if c.host == "" && event.Account+event.Region != "" {
		c.ignored = ReasonMalformed // no registry has such a name
	}
	detail.into(&c)
	return c, nil
}

// other says why an event is not about an image, "" when it is.
func (e ecrEvent) other() string {
	switch {
	case e.Source == "aws.ecr", e.Source == "": // an input transformer may leave it out
	case strings.HasPrefix(e.Source, "aws."):
		return ReasonOtherEvent
	default:
		return ReasonUnknownEvent
	}
	switch e.DetailType {
	case "ECR Image Action", "ECR Replication Action":
		return ""
	case "ECR Referrer Action":
		return ReasonReferrer
	case "ECR Image Scan", "ECR Scan Resource Change", "ECR Pull Through Cache Action",
		"AWS API Call via CloudTrail", "AWS Service Event via CloudTrail":
		return ReasonOtherEvent
	}
	return ReasonUnknownEvent
}

func (d ecrDetail) into(c *claim) {
	action, ignored := d.action()
	c.action, c.ignored = action, cmp.Or(c.ignored, ignored)
	c.repository, c.tag, c.digest = d.Detail.Repository, d.Detail.Tag, d.Detail.Digest
	c.mediaType = d.Detail.MediaType
	if artifact := d.Detail.ArtifactType; c.ignored == "" && artifact != "" {
		c.ignored = kindReason(image.Classify(image.Traits{MediaType: c.mediaType, ConfigMediaType: artifact}))
	}
	c.ecrKey()
}

// action translates what happened. A replicated image arrives in the registry
// the event is of, which is the destination. A storage class that changes leaves
// tags and content as they are.
func (d ecrDetail) action() (action Action, ignored string) {
	word := d.Detail.Action
	switch word {
	case "PUSH", "REPLICATE":
		action = ActionPush
	case "DELETE":
		action = ActionDelete
	case "UPDATE_STORAGE_CLASS":
		return Action(word), ReasonOtherEvent
	default:
		return Action(word), ReasonUnknownEvent
	}
	if result := d.Detail.Result; result != "" && result != "SUCCESS" {
		return Action(word), ReasonOtherEvent
	}
	return action, ""
}

// ecrKey is for events without an id, which an input transformer may leave out.
func (c *claim) ecrKey() {
	if c.key == "" && !c.occurredAt.IsZero() {
		c.key = contentKey("event", string(c.action), c.repository, c.tag, c.digest, c.occurredAt.UTC().Format(time.RFC3339Nano))
	}
}

// ecrCloudClaim reads the CloudEvent. The repository may stand in the data, in
// the source (urn:aws:ecr:region:account:repository/name) or in the subject
// (name:tag).
func ecrCloudClaim(e cloudEvent) (claim, error) {
	action, ignored := ecrCloudAction(e.Type)
	var data ecrData
	if err := e.into(&data); err != nil && ignored == "" {
		return claim{}, err
	}
	region, account, repository := ecrSource(e.Source)
	subject, subjectTag, _ := strings.Cut(e.Subject, ":")
	c := claim{
		action: action, ignored: ignored, host: ecrHost(cmp.Or(data.Account, account), region),
		repository: cmp.Or(data.Repository, repository, subject), tag: data.Tag, digest: data.Digest,
		occurredAt: parseTime(e.Time), key: e.key(),
	}
	if c.tag == "" && c.digest == "" && subject == c.repository {
		c.tag = subjectTag
	}
	c.ecrKey()
	return c, nil
}

func ecrCloudAction(eventType string) (action Action, ignored string) {
	switch eventType {
	case "com.amazon.ecr.push":
		return ActionPush, ""
	case "com.amazon.ecr.delete":
		return ActionDelete, ""
	}
	return Action(eventType), ReasonUnknownEvent
}

// ecrSource reads the source of the CloudEvent; the parts of anything else are
// empty.
func ecrSource(source string) (region, account, repository string) {
	parts := strings.SplitN(source+":", ":", 6)
	if len(parts) != 6 || parts[0] != "urn" && parts[0] != "arn" || !strings.HasPrefix(parts[1], "aws") || parts[2] != "ecr" {
		return "", "", ""
	}
	return parts[3], parts[4], strings.TrimPrefix(strings.TrimRight(parts[5], ":"), "repository/")
}
