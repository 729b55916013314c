package webhook

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// format is how one sender speaks. Its functions are pure: no clock, and no I/O
// but what they are handed.
type format struct {
	name string
	// also are further names of it in the configuration, for senders that speak
	// the same.
	also []string
	// kinds are the ways of authentication the sender can be configured for.
	kinds []string
	// manager is true for repository managers, whose events name one of several
	// repositories of their own: Endpoint.Source and RepositoryPrefix apply.
	manager bool
	// methods are the HTTP methods it is called with; nil means POST.
	methods []string
	// verify checks the credential on the raw body. It returns an error of kind
	// Unauthorized unless the request carries the credential of the endpoint.
	verify func(context.Context, request) error
	// greet answers a request that only asks whether we are there or want the
	// events, before parse is called; nil when the sender does not ask. It returns
	// nil for any other request, and the errors of parse.
	greet func(request) (*Greeting, error)
	// parse reads the events of a verified request. It returns an error of kind
	// Invalid for a body that is not JSON, Malformed or Unsupported for one that
	// does not belong here. An item without a DedupeKey gets one of its own.
	parse func(request) ([]Item, error)
}

// request is all that is seen of a request.
type request struct {
	endpoint Endpoint
	method   string
	// rest is what the path has behind the endpoint's name, without slash; a
	// secret, when the endpoint has it there.
	rest     string
	query    url.Values
	header   http.Header
	body     []byte
	received time.Time
	keys     Keys
	// replayed is true for a request that was captured some time ago: how old it
	// is says nothing.
	replayed bool
}

// verify checks the credential as the endpoint's configuration says; signed is
// where this sender puts an HMAC.
func (r request) verify(ctx context.Context, signed signing) error {
	return r.endpoint.Auth.check(ctx, r, signed)
}

// Greeting is the answer to a request that carries no events.
type Greeting struct {
	// Reason says in a word what it was, as "ping" or "subscription_validation".
	Reason string
	// Status is 200 when zero.
	Status int
	Header http.Header
	// Body is sent as JSON; nil sends none.
	Body any
	// Confirm is an address to visit before answering; empty for none. The format
	// has checked that it is the sender's.
	Confirm string
}

// formats is the table of senders.
func formats() []format {
	return []format{
		{
			name: "distribution", also: []string{"gitlab"}, kinds: []string{AuthBearer, AuthHeader, AuthBasic, AuthNone},
			verify: verifyDistribution, parse: parseDistribution,
		},
		{
			name: "harbor", also: []string{"tencent-tcr"}, kinds: []string{AuthHeader, AuthBearer, AuthBasic, AuthNone},
			verify: verifyHarbor, parse: parseHarbor,
		},
		{
			name: "acr", kinds: []string{AuthHeader, AuthBearer, AuthBasic, AuthQuery, AuthPath, AuthNone},
			verify: verifyAcr, parse: parseAcr,
		},
		{
			name: "dockerhub", kinds: []string{AuthQuery, AuthPath, AuthNone},
			verify: verifyDockerhub, parse: parseDockerhub,
		},
		{
			name: "quay", kinds: []string{AuthQuery, AuthPath, AuthNone},
			verify: verifyQuay, parse: parseQuay,
		},
		{
			name: "ghcr", kinds: []string{AuthHMACSHA256, AuthNone},
			verify: verifyGhcr, parse: parseGhcr,
		},
		{
			name: "eventgrid", kinds: []string{AuthOIDC, AuthQuery, AuthHeader, AuthBearer, AuthBasic, AuthPath, AuthNone},
			methods: []string{http.MethodPost, http.MethodOptions},
			verify:  verifyEventgrid, greet: greetEventgrid, parse: parseEventgrid,
		},
		{
			name: "gitea", also: []string{"forgejo"}, kinds: []string{AuthHMACSHA256, AuthHeader, AuthBearer, AuthBasic, AuthNone},
			verify: verifyGitea, parse: parseGitea,
		},
		{
			name: "gar-pubsub", kinds: []string{AuthOIDC, AuthQuery, AuthPath, AuthNone},
			verify: verifyGARPubSub, parse: parseGARPubSub,
		},
		{
			name: "ecr-eventbridge", kinds: []string{AuthHeader, AuthBearer, AuthBasic, AuthNone},
			verify: verifyECREventBridge, parse: parseECREventBridge,
		},
		{
			name: "ecr-sns", kinds: []string{AuthSNS, AuthQuery, AuthPath, AuthBasic, AuthNone},
			verify: verifyECRSNS, greet: greetECRSNS, parse: parseECRSNS,
		},
		{
			name: "zot", kinds: []string{AuthBearer, AuthHeader, AuthBasic, AuthNone},
			verify: verifyZot, parse: parseZot,
		},
		{
			name: "nexus", kinds: []string{AuthHMACSHA1, AuthNone}, manager: true,
			verify: verifyNexus, parse: parseNexus,
		},
		{
			name: "artifactory", kinds: []string{AuthHMACSHA256, AuthHeader, AuthNone}, manager: true,
			verify: verifyArtifactory, parse: parseArtifactory,
		},
		{
			name: "alibaba-acr", kinds: []string{AuthQuery, AuthPath, AuthNone},
			verify: verifyAlibabaACR, parse: parseAlibabaACR,
		},
		{
			name: "mirantis-msr", kinds: []string{AuthQuery, AuthPath, AuthNone},
			verify: verifyMirantisMSR, parse: parseMirantisMSR,
		},
		{
			name: "cdevents", kinds: []string{AuthBearer, AuthHMACSHA256, AuthHeader, AuthBasic, AuthQuery, AuthPath, AuthNone},
			verify: verifyCdevents, parse: parseCdevents,
		},
		{
			name: "cloudevents", kinds: []string{AuthBearer, AuthHMACSHA256, AuthHeader, AuthBasic, AuthQuery, AuthPath, AuthNone},
			methods: []string{http.MethodPost, http.MethodOptions},
			verify:  verifyCloudevents, greet: greetCloudevents, parse: parseCloudevents,
		},
		{
			name: "generic", kinds: []string{AuthBearer, AuthHMACSHA256, AuthHeader, AuthBasic, AuthQuery, AuthPath, AuthNone},
			verify: verifyGeneric, parse: parseGeneric,
		},
	}
}

// Formats lists the names an endpoint's format can have.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(append(names, f.name), f.also...)
	}
	return names
}

func findFormat(name string) (format, bool) {
	for _, f := range formats() {
		if f.name == name || slices.Contains(f.also, name) {
			return f, true
		}
	}
	return format{}, false
}

// takes reports whether the sender calls with a method.
func (f format) takes(method string) bool {
	return slices.Contains(f.accepted(), method)
}

func (f format) accepted() []string {
	if f.methods == nil {
		return []string{http.MethodPost}
	}
	return f.methods
}
