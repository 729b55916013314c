package webhook

import (
	"cmp"
	"context"
	"strings"
	"time"
)

// giteaBody is a webhook of Gitea or Forgejo (modules/structs, PackagePayload).
type giteaBody struct {
	Action  string        `json:"action"`
	Package *giteaPackage `json:"package"`
	Sender  struct {
		Login string `json:"login"`
	} `json:"sender"`
}

type giteaPackage struct {
	Owner struct {
		Login string `json:"login"`
	} `json:"owner"`
	Creator struct {
		Login string `json:"login"`
	} `json:"creator"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Version   string `json:"version"` // the tag in lower case, or the digest
	URL       string `json:"html_url"`
	CreatedAt string `json:"created_at"`
}

// verifyGitea: the sender signs the JSON, which is the body, or the field of a
// form. A signature over the form itself is as good: what is read is in it.
func verifyGitea(ctx context.Context, r request) error {
	const header = "X-Gitea-Signature"
	err := r.verify(ctx, signing{header: header})
	if err == nil || !r.endpoint.Auth.isHMAC() {
		return err
	}
	payload, formErr := r.payload()
	if formErr != nil {
		return err
	}
	r.body = payload
	return r.verify(ctx, signing{header: header})
}

// parseGitea reads the one event of a webhook. The body says which it is; the
// header, which is not signed, only names those without a package.
func parseGitea(r request) ([]Item, error) {
	payload, err := r.payload()
	if err != nil {
		return nil, err
	}
	var body giteaBody
	if err := decodeObject(payload, &body); err != nil {
		return nil, err
	}
	c := claim{actor: body.Sender.Login, eventID: r.header.Get("X-Gitea-Delivery")}
	switch event := r.header.Get("X-Gitea-Event"); {
	case body.Package != nil:
		body.Package.fill(&c, body.Action)
	case event == "", event == "package":
		c.action, c.ignored = Action(event), ReasonUnknownEvent
	default:
		c.action, c.ignored = Action(event), ReasonOtherEvent
	}
	if c.key == "" {
		c.key = idKey(c.eventID)
	}
	return []Item{r.judge(c)}, nil
}

// fill reads a package. Its version is created anew when a tag is overwritten,
// so created_at is the time of a push; of a delete it is not.
func (p giteaPackage) fill(c *claim, action string) {
	c.action, c.ignored = p.action(action)
	c.host = urlHost(p.URL) // the registry is at the root of the same host
	c.repository = p.repository()
	c.tag = p.Version
	c.actor = cmp.Or(c.actor, p.Creator.Login)
	created := parseTime(p.CreatedAt)
	if c.action != ActionDelete {
		c.occurredAt = created
	}
	if c.eventID == "" && !created.IsZero() {
		c.key = contentKey("event", string(c.action), c.repository, c.tag, created.UTC().Format(time.RFC3339Nano))
	}
}

func (p giteaPackage) action(word string) (action Action, ignored string) {
	switch {
	case strings.EqualFold(p.Type, "helm"):
		return Action(word), ReasonChart
	case !strings.EqualFold(p.Type, "container"):
		return Action(word), ReasonArtifact
	}
	switch word {
	case "created":
		return ActionPush, ""
	case "deleted":
		return ActionDelete, ""
	}
	return Action(word), ReasonUnknownEvent
}

// repository is in lower case, as references to it are; owners are not.
func (p giteaPackage) repository() string {
	if p.Owner.Login == "" || p.Name == "" {
		return ""
	}
	return strings.ToLower(p.Owner.Login + "/" + p.Name)
}
