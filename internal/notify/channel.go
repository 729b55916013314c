package notify

import (
	"context"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Channel hands messages over.
type Channel interface {
	Name() string
	Type() string
	// Send hands a message over, once. It returns what the receiver answered also
	// where that is an error. Neither holds a secret.
	Send(ctx context.Context, p Parcel) (Receipt, error)
}

// Parcel is a message on its way.
type Parcel struct {
	ID        string // the same each time it is sent
	CreatedAt time.Time
	News      report.News
}

// Receipt is what a receiver answered.
type Receipt struct {
	Status     int           // HTTP's or SMTP's; 0 without an answer
	Answer     string        // the first bytes
	RetryAfter time.Duration // the pause it asked for; 0 for none
	Gone       bool          // it never wants to be asked again
}

// Settings are those of a channel. What a type does not know has to be empty.
type Settings struct {
	Name string
	Type string // webhook, slack, teams, email or other
	// URL is where to send to: http or https; of other, as its service wants it.
	URL string
	// Secrets sign what a webhook sends; two at once while one replaces the other.
	Secrets []string
	// Authorization is sent as that header of a webhook.
	Authorization string
	// Roots are the authorities to trust; nil for the system's.
	Roots *x509.CertPool
	Email EmailSettings
	// PublicURL names this service as the source of events.
	PublicURL string
	// Timeout bounds an attempt; 20 s.
	Timeout time.Duration
}

// makers are the types of channels. A new one is a file and a line here.
func makers() map[string]func(Settings) (Channel, error) {
	return map[string]func(Settings) (Channel, error){
		"webhook": newWebhook,
		"slack":   newSlack,
		"teams":   newTeams,
		"email":   newEmail,
		"other":   newOther,
	}
}

// Types lists the types of channels.
func Types() []string { return slices.Sorted(maps.Keys(makers())) }

// NewChannel checks the settings and returns the channel; it connects to nothing.
// The error is of kind Invalid, names the field, and holds no secret.
func NewChannel(s Settings) (Channel, error) {
	maker, ok := makers()[s.Type]
	if !ok {
		return nil, errs.New(errs.Invalid, "%.40q is none of %s", s.Type, strings.Join(Types(), ", ")).WithField("type")
	}
	if s.Timeout <= 0 {
		s.Timeout = 20 * time.Second
	}
	return maker(s)
}

// named is what every channel has.
type named struct{ name, kind string }

func (n named) Name() string { return n.name }

func (n named) Type() string { return n.kind }
