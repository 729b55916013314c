package doctor

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// registryChecks are one for each registry and mirror.
func (e *examination) registryChecks() (checks []check) {
	for i, r := range e.config.Registries {
		name, path := "registry "+r.Name, "registries["+strconv.Itoa(i)+"]"
		checks = append(checks, check{name, func(ctx context.Context) []Finding {
			if e.isWrong(path) {
				return left(name)
			}
			return e.lookAtRegistry(ctx, name, r)
		}})
		for _, m := range r.Mirrors {
			name := name + ", mirror " + m.Host
			checks = append(checks, check{name, func(ctx context.Context) []Finding {
				if e.isWrong(path) {
					return left(name)
				}
				return e.lookAtMirror(ctx, name, r, m)
			}})
		}
	}
	return checks
}

// client makes one for a registry alone: another that is wrong must not be in the
// way.
func (e *examination) client(name string) (*registry.Client, error) {
	for _, s := range e.config.RegistrySettings() {
		if s.Name == name {
			// Small: what hangs is to be told as a registry that hangs.
			s.RequestTimeout = min(s.RequestTimeout, e.Timeout-e.Timeout/10)
			return registry.New([]registry.Settings{s})
		}
	}
	return nil, errs.New(errs.NotFound, "registry %s is not configured", name)
}

func (e *examination) lookAtRegistry(ctx context.Context, name string, r config.Registry) []Finding {
	client, err := e.client(r.Name)
	if err != nil {
		return []Finding{failed(name, err, "correct registry "+r.Name+" in the configuration")}
	}
	saw, err := client.Examine(ctx, r.Host, "")
	return judgeRegistry(name, saw, err, r.PlainHTTP, r.Auth)
}

func (e *examination) lookAtMirror(ctx context.Context, name string, r config.Registry, m config.Mirror) []Finding {
	client, err := e.client(r.Name)
	if err != nil {
		return []Finding{failed(name, err, "correct registry "+r.Name+" in the configuration")}
	}
	saw, err := client.Examine(ctx, r.Host, m.Host)
	found := judgeRegistry(name, saw, err, m.PlainHTTP, m.Auth)
	for i := range found {
		// The registry itself is asked when a mirror fails.
		if found[i].Status == Fail {
			found[i].Status = Warn
		}
	}
	return found
}

// judgeRegistry says what a look at a registry comes down to.
func judgeRegistry(name string, saw registry.Examination, err error, plain bool, auth config.RegistryAuth) []Finding {
	var found []Finding
	switch {
	case err != nil && errs.Is(err, errs.Unauthorized) && !saw.Credential:
		found = append(found, Finding{name, Warn, fmt.Sprintf("%s lets nobody in without a login, and none is configured", saw.Endpoint),
			"set auth of the registry; docs/registries.md has an example for each kind"})
	case err != nil:
		found = append(found, failed(name, err, fixOfRegistry(err)))
	default:
		found = append(found, Finding{name, OK, describe(saw, plain), ""})
	}
	if plain && saw.Credential && !isLoopback(saw.Endpoint) {
		found = append(found, Finding{name, Warn, "the credential travels in the clear: plain_http is true",
			"give the registry a certificate and remove plain_http"})
	}
	if plain && auth.Keychain != "" {
		found = append(found, Finding{name, Warn, "a cloud credential travels in the clear", "remove plain_http"})
	}
	if saw.Clock {
		// Dates have whole seconds, and proxies may answer from memory.
		if f := judgeClock("clock", name, saw.Offset, 2*time.Second); f.Status != OK {
			found = append(found, f)
		}
	}
	return found
}

// describe says how a registry was found.
func describe(saw registry.Examination, plain bool) string {
	words := []string{saw.Endpoint + " answers"}
	if plain {
		words = append(words, "without TLS")
	}
	switch {
	case saw.Login == "" && saw.Credential:
		words = append(words, "asks for no login, though one is configured")
	case saw.Login == "":
		words = append(words, "asks for no login")
	case saw.Credential:
		words = append(words, "takes the credential ("+saw.Login+")")
	default:
		words = append(words, "lets in without a login: public images only")
	}
	return strings.Join(words, ", ")
}

// fixOfRegistry is for errors that have no hint of their own.
func fixOfRegistry(err error) string {
	switch errs.KindOf(err) {
	case errs.Timeout:
		return "check that the registry works and that a firewall or proxy lets this machine through; where it is only slow, raise request_timeout"
	case errs.RateLimited:
		return "log in, which often raises the limit, or set limits.requests_per_second of the registry"
	case errs.Unauthorized, errs.Forbidden:
		return "check auth of the registry"
	}
	return "check host, endpoint and port of the registry, its name in the DNS, and that this machine may connect there (HTTPS_PROXY, firewall)"
}

func isLoopback(endpoint string) bool {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		host = endpoint
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
