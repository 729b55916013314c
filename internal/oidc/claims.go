package oidc

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// skew is how far the clock of an issuer may be off ours.
const skew = time.Minute

// claims are those of RFC 7519, section 4.1, and those that name the application:
// azp of OpenID Connect, client_id of RFC 9068, appid of Microsoft Entra.
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   moment   `json:"exp"`
	NotBefore moment   `json:"nbf"`
	Issued    moment   `json:"iat"`
	Party     string   `json:"azp"`
	ClientID  string   `json:"client_id"`
	AppID     string   `json:"appid"`
}

// check refuses a token, whose signature is good, that is not for us, not in force,
// or not of an application that may.
func (i issuer) check(c claims, now time.Time) error {
	switch {
	case c.Issuer != i.URL:
		return refused("it is of another issuer")
	case !slices.Contains(c.Audience, i.Audience):
		return refused("it is for another audience, not for %q", i.Audience)
	case c.Expires.IsZero():
		return refused("it does not say when it expires")
	case !now.Before(c.Expires.Add(skew)):
		return refused("it expired at %s", c.Expires.UTC().Format(time.RFC3339))
	case c.NotBefore.After(now.Add(skew)):
		return refused("it is not in force before %s", c.NotBefore.UTC().Format(time.RFC3339))
	case c.Issued.After(now.Add(skew)):
		return refused("it was issued in the future")
	case c.Subject == "":
		return refused("it does not say whom it is of")
	}
	return i.checkClient(c)
}

// checkClient wants the application that a token was made for to be among those
// that may, where the configuration names any. A token that names several in
// different claims is of none.
func (i issuer) checkClient(c claims) error {
	if len(i.Clients) == 0 {
		return nil
	}
	named := 0
	for _, client := range []string{c.Party, c.ClientID, c.AppID} {
		if client == "" {
			continue
		}
		if named++; !slices.Contains(i.Clients, client) {
			return refused("it is of another application")
		}
	}
	if named == 0 {
		return refused("it does not say which application it is of")
	}
	return nil
}

// principal is who a good token is of, and what they may.
func (i issuer) principal(c claims, content []byte) (report.Principal, error) {
	var all map[string]any
	if err := json.Unmarshal(content, &all); err != nil {
		return report.Principal{}, refused("its claims are not those of a token")
	}
	name := c.Subject
	if i.UsernameClaim != "" {
		if given, ok := claim(all, i.UsernameClaim).(string); ok && given != "" {
			name = given
		}
	}
	who := report.Principal{Token: i.Name + "/" + plain(name), Subject: plain(c.Subject)}
	groups := groupsOf(claim(all, orGroups(i.GroupsClaim)))
	for _, rule := range i.Rules {
		if rule.matches(groups) {
			who.Scope, who.Access = rule.Scope, report.Access{Prefixes: rule.Prefixes}
			return who, nil
		}
	}
	return report.Principal{}, errs.New(errs.Forbidden, "no rule of api.oidc for issuer %s has a group of %q", i.Name, who.Token).
		WithHint("the groups are taken from the claim %s; name one of them in rules", orGroups(i.GroupsClaim))
}

// groupsOf reads a claim that holds one group or a list of them.
func groupsOf(given any) (groups []string) {
	switch given := given.(type) {
	case string:
		groups = append(groups, given)
	case []any:
		for _, g := range given {
			if name, ok := g.(string); ok {
				groups = append(groups, name)
			}
		}
	}
	return groups
}

func orGroups(claim string) string {
	if claim == "" {
		return "groups"
	}
	return claim
}

func (r Rule) matches(groups []string) bool {
	return slices.ContainsFunc(r.Groups, func(g string) bool { return g == "*" || slices.Contains(groups, g) })
}

// claim finds a claim by its name or, where there is none of that name, by the way
// that its dots lead.
func claim(all map[string]any, name string) any {
	if v, ok := all[name]; ok {
		return v
	}
	first, rest, more := strings.Cut(name, ".")
	inner, ok := all[first].(map[string]any)
	if !more || !ok {
		return nil
	}
	return claim(inner, rest)
}

// plain makes a name fit for logs and lists.
func plain(name string) string {
	const longest = 200
	return text.Clean(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, name), longest)
}

// audience is one or several (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSON reads a string or a list of them.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// moment is a time in seconds since 1970, with or without a fraction (RFC 7519,
// section 2); the zero time for none.
type moment struct{ time.Time }

// latest is as far as a token may reach: what is beyond overflows somewhere.
const latest = 1 << 40

// UnmarshalJSON reads a number.
func (m *moment) UnmarshalJSON(b []byte) error {
	var seconds *float64
	if err := json.Unmarshal(b, &seconds); err != nil || seconds == nil {
		return err
	}
	if *seconds < 0 || *seconds > latest {
		return errs.New(errs.Unauthorized, "a time of the token is out of range")
	}
	m.Time = time.Unix(int64(*seconds), 0)
	return nil
}
