package webhook

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// alibabaBody is what triggers of Alibaba Cloud Container Registry send (Alibaba
// Cloud help, 60949). There are triggers for pushes alone.
type alibabaBody struct {
	Push *struct {
		Digest   string          `json:"digest"`
		PushedAt json.RawMessage `json:"pushed_at"` // anything but a string is no time
		Tag      string          `json:"tag"`
	} `json:"push_data"`
	Repository struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Region    string `json:"region"`
		FullName  string `json:"repo_full_name"`
	} `json:"repository"`
}

// verifyAlibabaACR: the sender knows nothing but the URL.
func verifyAlibabaACR(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseAlibabaACR reads the one event of a request.
func parseAlibabaACR(r request) ([]Item, error) {
	var body alibabaBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	c := claim{action: ActionPush, host: r.alibabaHost(body.Repository.Region), repository: body.repository()}
	if body.Push == nil {
		c.action, c.ignored = "", ReasonUnknownEvent
		return []Item{r.judge(c)}, nil
	}
	c.tag, c.digest = body.Push.Tag, body.Push.Digest
	pushedAt := strings.Trim(string(body.Push.PushedAt), `"`)
	c.occurredAt = alibabaTime(pushedAt)
	if !c.occurredAt.IsZero() { // no id; a retry repeats the time
		c.key = contentKey("event", body.Repository.Region, c.repository, c.tag, c.digest, pushedAt)
	}
	return []Item{r.judge(c)}, nil
}

func (b alibabaBody) repository() string {
	if b.Repository.FullName != "" || b.Repository.Name == "" {
		return b.Repository.FullName
	}
	return strings.TrimPrefix(b.Repository.Namespace+"/"+b.Repository.Name, "/")
}

// alibabaName finds the region in the registries' own names, as
// registry.<region>.aliyuncs.com, registry-vpc.<region>.aliyuncs.com,
// <instance>-registry.<region>.cr.aliyuncs.com.
var alibabaName = regexp.MustCompile(`^[a-z0-9-]+\.([a-z0-9-]+)\.(?:personal\.)?(?:cr\.)?aliyuncs\.com$`)

// alibabaHost says which of the endpoint's names an event is about: it carries a
// region and no host. A name in that region is meant, whichever it is; names in
// other regions alone make it the event of the personal edition there. An
// endpoint without such a name has one of its own, which nothing contradicts.
func (r request) alibabaHost(region string) string {
	if region == "" {
		return ""
	}
	other := false
	for _, name := range slices.Concat([]string{r.endpoint.Host}, r.endpoint.Aliases) {
		found := alibabaName.FindStringSubmatch(image.CanonicalHost(name))
		if found != nil && found[1] == region {
			return name
		}
		other = other || found != nil
	}
	if !other {
		return ""
	}
	return "registry." + region + ".aliyuncs.com"
}

// alibabaTime reads a time without a zone, which is China's.
func alibabaTime(s string) time.Time {
	t, err := time.ParseInLocation(time.DateTime, s, time.FixedZone("", 8*60*60))
	if err != nil {
		return parseTime(s)
	}
	return t
}
