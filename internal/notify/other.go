package notify

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// other sends through shoutrrr, which knows some twenty services by their address:
// Discord, Mattermost, Matrix, Telegram, PagerDuty and more. The text is plain, with
// what most of these services take for markup or a mention made harmless.
type other struct {
	named
	url     string
	secrets []string
	timeout time.Duration
}

// notServices are schemes of the library that lead to no receiver.
func notServices() []string { return []string{"logger"} }

func newOther(s Settings) (Channel, error) {
	u, err := url.Parse(s.URL)
	if s.URL == "" {
		return nil, errs.New(errs.Invalid, "empty").WithField("url")
	}
	if err != nil || u.Scheme == "" {
		return nil, errs.New(errs.Invalid, "not an address as discord://TOKEN@ID").WithField("url")
	}
	scheme, _, _ := strings.Cut(u.Scheme, "+")
	known := slices.DeleteFunc((&router.ServiceRouter{}).ListServices(), func(name string) bool { return slices.Contains(notServices(), name) })
	slices.Sort(known)
	if !slices.Contains(known, scheme) {
		return nil, errs.New(errs.Invalid, "%.40q is none of the services %s", scheme, strings.Join(known, ", ")).WithField("url")
	}
	return &other{named: named{s.Name, "other"}, url: s.URL, secrets: append(partsOf(u), u.User.String(), u.User.Username(), u.Host), timeout: s.Timeout}, nil
}

// maxOther is what the strictest of the services take, in characters.
const maxOther = 1800

// harmless takes the meaning from what most services read as markup or a mention: an
// invisible space behind @ keeps @everyone from calling anybody.
func harmless(s string) string {
	return strings.NewReplacer("@", "@\u200b", "`", "'", "<", "‹", ">", "›", "](", "]\u200b(").Replace(s)
}

// Send implements Channel.
func (o *other) Send(ctx context.Context, p Parcel) (Receipt, error) {
	sender, err := router.New(nil, o.url)
	if err != nil {
		return Receipt{}, errs.New(errs.Invalid, "%s", hide(err.Error(), o.secrets))
	}
	sender.Timeout = o.timeout
	c := cardOf(p.News)
	text := cut(harmless(c.title+"\n\n"+c.plain()), maxOther)
	done := make(chan error, 1)
	go func() { done <- errors.Join(sender.Send(text, &types.Params{})...) }()
	select {
	case <-ctx.Done(): // the library takes no context; it ends by its own timeout
		return Receipt{}, errs.Wrap(errs.KindOf(ctx.Err()), "send", ctx.Err())
	case err = <-done:
	}
	if err != nil {
		return Receipt{}, errs.New(errs.Unavailable, "%s", hide(err.Error(), o.secrets))
	}
	return Receipt{}, nil
}
