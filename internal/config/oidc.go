package config

import (
	"net/url"
	"regexp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/oidc"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// OIDC is an issuer whose tokens are taken.
type OIDC struct {
	// Name in the audit log and in messages. Required.
	Name string `yaml:"name"`
	// Address of the issuer, exactly as its tokens name it (claim iss), with https. Its keys are found below it at /.well-known/openid-configuration. Required.
	Issuer string `yaml:"issuer"`
	// Audience that tokens must be for (claim aud). Required.
	Audience string `yaml:"audience"`
	// Applications that tokens must be of (claims azp, client_id, appid); empty for any.
	Clients []string `yaml:"clients"`
	// Claim with the name for people; whom a token is of is the claim sub in any case.
	UsernameClaim string `yaml:"username_claim" default:"sub"`
	// Claim with the groups, a list or one; a dot leads into an object, as realm_access.roles.
	GroupsClaim string `yaml:"groups_claim" default:"groups"`
	// PEM file of certificate authorities to trust for the issuer besides the system's, in place of `ca_file`.
	CAFile string `yaml:"ca_file" path:"true"`
	// What groups may do. The first rule with a group of the token counts; without one the answer is 403. At least one.
	Rules []OIDCRule `yaml:"rules"`
}

// OIDCRule gives groups a scope.
type OIDCRule struct {
	// Groups that the rule is for; "*" is everybody whom the issuer vouches for. Required.
	Groups []string `yaml:"groups"`
	// What they may do: read, triage or admin. Required.
	Scope string `yaml:"scope"`
	// Repositories they see, as registry.example/team/; empty for all.
	Prefixes []string `yaml:"prefixes"`
}

var issuerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (c Config) checkOIDC(ps *Problems) {
	names, issuers := map[string]bool{}, map[string]bool{}
	for i, o := range c.API.OIDC {
		path := at("api.oidc", i)
		switch {
		case !issuerName.MatchString(o.Name):
			ps.add(path+".name", "%.80q is not a name: write 1 to 64 letters, digits, dots, dashes or underscores", o.Name)
		case names[o.Name]:
			ps.add(path+".name", "%q is used twice", o.Name)
		}
		u, err := url.Parse(o.Issuer)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			ps.add(path+".issuer", "%.200q is not an https address", o.Issuer)
		case issuers[o.Issuer]:
			ps.add(path+".issuer", "is given twice; put all rules under one")
		}
		names[o.Name], issuers[o.Issuer] = true, true
		if o.Audience == "" {
			ps.add(path+".audience", "empty; tokens that the issuer made for others would pass")
		}
		if len(o.Rules) == 0 {
			ps.add(path+".rules", "empty; nobody could do anything")
		}
		for n, rule := range o.Rules {
			rule.check(ps, at(path+".rules", n))
		}
	}
}

func (r OIDCRule) check(ps *Problems, path string) {
	if len(r.Groups) == 0 {
		ps.add(path+".groups", `empty; write ["*"] for everybody`)
	}
	for i, g := range r.Groups {
		if g == "" {
			ps.add(at(path+".groups", i), "empty")
		}
	}
	ps.oneOf(path+".scope", r.Scope, string(report.ScopeRead), string(report.ScopeTriage), string(report.ScopeAdmin))
	if _, err := report.CleanPrefixes(r.Prefixes); err != nil {
		ps.add(path+".prefixes", "%s; %s", err, errs.Hint(err))
	}
}

// OIDCIssuers translates the issuers.
func (c Config) OIDCIssuers() []oidc.Issuer {
	var all []oidc.Issuer
	for _, o := range c.API.OIDC {
		i := oidc.Issuer{
			Name: o.Name, URL: o.Issuer, Audience: o.Audience, Clients: o.Clients, UsernameClaim: o.UsernameClaim, GroupsClaim: o.GroupsClaim,
			CAFile: ownOrGlobal(o.CAFile, false, c.CAFile),
		}
		for _, rule := range o.Rules {
			prefixes, err := report.CleanPrefixes(rule.Prefixes)
			if err != nil {
				continue // checked before; a rule that cannot be read lets nobody in
			}
			i.Rules = append(i.Rules, oidc.Rule{Groups: rule.Groups, Scope: report.Scope(rule.Scope), Prefixes: prefixes})
		}
		all = append(all, i)
	}
	return all
}
