package config

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Notify says who is told what is new.
type Notify struct {
	// Whether this process makes and sends messages.
	Enabled bool `yaml:"enabled" default:"true" env:"TIDEWAITER_NOTIFY_ENABLED"`
	// How long messages that were sent or given up stay in the log.
	Keep time.Duration `yaml:"keep" default:"30d"`
	// Where messages can be sent.
	Channels []NotifyChannel `yaml:"channels"`
	// What is sent.
	Rules []NotifyRule `yaml:"rules"`
}

// NotifyChannel is somewhere that messages can be sent.
type NotifyChannel struct {
	// Name that rules, log and metrics know it by. Required.
	Name string `yaml:"name"`
	// webhook, slack, teams, email or other; docs/notifications.md has one of each. Required.
	Type string `yaml:"type"`
	// Address to send to. Addresses of private networks are allowed, redirects are not followed. Of `other`, the address of a service as shoutrrr writes it.
	URL Secret `yaml:"url"`
	// Secrets that sign what a webhook sends, as whsec_…; two at once allow to change them without a gap. Required for webhooks.
	Secrets []Secret `yaml:"secrets"`
	// Value of the Authorization header of a webhook.
	Authorization Secret `yaml:"authorization"`
	// PEM file of certificate authorities to trust for this channel, in place of `ca_file`.
	CAFile string `yaml:"ca_file" path:"true"`
	// The mail server and who gets the mail.
	Email NotifyEmail `yaml:"email"`
}

// NotifyEmail is the mail server and who gets the mail.
type NotifyEmail struct {
	// Name of the mail server. Required for e-mail.
	Host string `yaml:"host"`
	// Its port; 0 stands for 587, or 465 with implicit TLS.
	Port int `yaml:"port" default:"0"`
	// starttls, implicit or none. With starttls nothing is sent before the connection is encrypted.
	TLS string `yaml:"tls" default:"starttls"`
	// User that logs in; empty for none.
	Username string `yaml:"username"`
	// Password of that user.
	Password Secret `yaml:"password"`
	// Sender, as `Tidewaiter <tidewaiter@example.com>`. Required for e-mail.
	From string `yaml:"from"`
	// Receivers. Required for e-mail.
	To []string `yaml:"to"`
}

// NotifyRule chooses events of findings; all that it says has to hold.
type NotifyRule struct {
	// Name that messages, log and metrics know it by. Required.
	Name string `yaml:"name"`
	// Whether it is used.
	Enabled bool `yaml:"enabled" default:"true"`
	// Names of the channels that are told. Required.
	Channels []string `yaml:"channels"`
	// Names of registries; empty means all.
	Registries []string `yaml:"registries"`
	// Repositories without the host, as `team/**`; empty means all.
	Repositories []string `yaml:"repositories"`
	// Tags, as `v*`: the one that was pushed or, when a database brings news, one of those that hold the finding. Empty means all, and images without a tag.
	Tags []string `yaml:"tags"`
	// Least severity: critical, high, medium, low, negligible or unknown.
	MinSeverity string `yaml:"min_severity" default:"high"`
	// Only what has a fix.
	Fixable bool `yaml:"fixable" default:"false"`
	// Only what is known to be exploited.
	KnownExploited bool `yaml:"known_exploited" default:"false"`
	// Of opened, reopened, escalated, fix_available and closed; empty means all but closed.
	Kinds []string `yaml:"kinds"`
	// Of push, request, upload, reconcile, delete, build and exception; empty means all.
	Causes []string `yaml:"causes"`
	// Time to gather what is new into one message, from the first; 0 tells at once.
	Window time.Duration `yaml:"window" default:"0s"`
	// Without a window, the most messages in ten minutes; what is more becomes one digest.
	Limit int `yaml:"limit" default:"10"`
}

func notifyKinds() []string {
	return []string{"opened", "reopened", "escalated", "fix_available", "closed"}
}

func notifyCauses() []string {
	return []string{"push", "request", "upload", "reconcile", "delete", "build", "exception"}
}

func (c Config) checkNotify(ps *Problems) {
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || (u.Scheme != "https" && u.Scheme != "http") {
			ps.add("public_url", "not an https:// or http:// address without user and query")
		}
	}
	ps.atLeast("notify.keep", c.Notify.Keep, time.Hour)
	channels := map[string]string{}
	for i, channel := range c.Notify.Channels {
		path := at("notify.channels", i)
		checkNotifyName(ps, path, channel.Name, channels)
		if _, err := notify.NewChannel(channel.settings(c.PublicURL, nil)); err != nil {
			ps.add(strings.TrimSuffix(path+"."+errs.Field(err), "."), "%s", err)
		}
	}
	rules := map[string]string{}
	for i, rule := range c.Notify.Rules {
		path := at("notify.rules", i)
		checkNotifyName(ps, path, rule.Name, rules)
		c.checkNotifyRule(ps, path, rule, channels)
	}
}

func checkNotifyName(ps *Problems, path, name string, taken map[string]string) {
	switch {
	case name == "":
		ps.add(path+".name", "empty")
	case !ruleName.MatchString(name):
		ps.add(path+".name", "%.80q: use letters, digits, and spaces, dots, hyphens or underscores between them, at most 63", name)
	case taken[name] != "":
		ps.add(path+".name", "%q is the name of %s already", name, taken[name])
	default:
		taken[name] = path
	}
}

func (c Config) checkNotifyRule(ps *Problems, path string, r NotifyRule, channels map[string]string) {
	if len(r.Channels) == 0 {
		ps.add(path+".channels", "empty")
	}
	for i, name := range r.Channels {
		if channels[name] == "" {
			ps.add(at(path+".channels", i), "there is no channel %.80q", name)
		}
	}
	for i, name := range r.Registries {
		if name != report.UploadRegistry && !slices.ContainsFunc(c.Registries, func(g Registry) bool { return g.Name == name }) {
			ps.add(at(path+".registries", i), "there is no registry %.80q", name)
		}
	}
	for i, glob := range r.Repositories {
		if !repositoryGlob.MatchString(glob) {
			ps.add(at(path+".repositories", i), "%.200q can match no repository: write it without the host, in lower case, with * or ** for what varies", glob)
		}
	}
	for i, glob := range r.Tags {
		if !tagGlob.MatchString(glob) {
			ps.add(at(path+".tags", i), "%.200q can match no tag: write letters, digits, dots, hyphens and underscores, with * for what varies", glob)
		}
	}
	if _, ok := vuln.ParseSeverity(r.MinSeverity); !ok {
		ps.add(path+".min_severity", "%.40q is none of critical, high, medium, low, negligible, unknown", r.MinSeverity)
	}
	for i, kind := range r.Kinds {
		ps.oneOf(at(path+".kinds", i), kind, notifyKinds()...)
	}
	for i, cause := range r.Causes {
		ps.oneOf(at(path+".causes", i), cause, notifyCauses()...)
	}
	const month = 31 * 24 * time.Hour
	ps.within(path+".window", r.Window, 0, month)
	ps.between(path+".limit", r.Limit, 1, 1000)
}

func (c NotifyChannel) settings(publicURL string, roots *x509.CertPool) notify.Settings {
	secrets := make([]string, len(c.Secrets))
	for i, s := range c.Secrets {
		secrets[i] = s.Reveal()
	}
	return notify.Settings{
		Name: c.Name, Type: c.Type, URL: c.URL.Reveal(), Secrets: secrets, Authorization: c.Authorization.Reveal(),
		Roots: roots, PublicURL: publicURL, Email: notify.EmailSettings{
			Host: c.Email.Host, Port: c.Email.Port, TLS: c.Email.TLS, Username: c.Email.Username, Password: c.Email.Password.Reveal(),
			From: c.Email.From, To: c.Email.To,
		},
	}
}

// NotifyChannels returns the channels. The error is of kind Invalid when a file of
// authorities cannot be read any more.
func (c Config) NotifyChannels() ([]notify.Channel, error) {
	var channels []notify.Channel
	for _, settings := range c.Notify.Channels {
		file := settings.CAFile
		if file == "" {
			file = c.CAFile
		}
		roots, err := outbound.Roots(file)
		if err != nil {
			return nil, errs.Op("config: channel "+settings.Name, err)
		}
		channel, err := notify.NewChannel(settings.settings(c.PublicURL, roots))
		if err != nil {
			return nil, errs.Op("config: channel "+settings.Name, err)
		}
		channels = append(channels, channel)
	}
	return channels, nil
}

// NotifyRules returns the rules that are used.
func (c Config) NotifyRules() []notify.Rule {
	var rules []notify.Rule
	for _, r := range c.Notify.Rules {
		if !r.Enabled {
			continue
		}
		severity, _ := vuln.ParseSeverity(r.MinSeverity)
		rule := notify.Rule{
			NewsRule: report.NewsRule{
				Name: r.Name, Registries: r.Registries, Repositories: r.Repositories, Tags: r.Tags, SeverityRank: severity.Rank(),
				Fixable: r.Fixable, KnownExploited: r.KnownExploited, Kinds: r.Kinds, Causes: r.Causes,
			},
			Channels: r.Channels, Window: r.Window, Limit: r.Limit,
		}
		if len(rule.Kinds) == 0 {
			rule.Kinds = slices.DeleteFunc(notifyKinds(), func(kind string) bool { return kind == "closed" })
		}
		if len(rule.Causes) == 0 {
			rule.Causes = notifyCauses()
		}
		rules = append(rules, rule)
	}
	return rules
}
