package registry_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const ecrHost = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

// asAWS gives this process an identity of AWS's and keeps the SDK from looking
// for another.
func asAWS(t *testing.T) {
	t.Helper()
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-example", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(key, value)
	}
}

func ecrSettings(v *vendor) registry.Settings {
	s := v.settings("ecr")
	s.Host = ecrHost
	s.Auth = registry.Auth{}
	return s
}

func TestECR(t *testing.T) {
	asAWS(t)
	v := newVendor(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if r.Header.Get("X-Amz-Target") != "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		send(w, map[string]any{"repositories": entries("repositoryName", "team/app", "x"), "nextToken": "token 1/="})
	})
	c := client(t, ecrSettings(v))
	names, next, err := c.Repositories(t.Context(), "test", "")
	if err != nil || next == "" {
		t.Fatalf("next %q, %v", next, err)
	}
	same(t, "names", []string{"team/app", "x"}, names)
	if _, _, err := c.Repositories(t.Context(), "test", next); !errs.Is(err, errs.Malformed) {
		t.Errorf("the same page again: %v", err)
	}
	for i, want := range []map[string]any{
		{"registryId": "123456789012", "maxResults": 1000.0},
		{"registryId": "123456789012", "maxResults": 1000.0, "nextToken": "token 1/="},
	} {
		var got map[string]any
		if err := json.Unmarshal([]byte(v.bodies[i]), &got); err != nil {
			t.Fatal(err)
		}
		for key := range want {
			if got[key] != want[key] {
				t.Errorf("request %d: %s is %v, want %v", i, key, got[key], want[key])
			}
		}
		if a := v.heads[i].Get("Authorization"); !strings.Contains(a, "Credential=AKIAEXAMPLE/") || !strings.Contains(a, "/eu-central-1/ecr/") {
			t.Errorf("request %d is signed with %q", i, a)
		}
	}
}

func TestECRSaysWhatIsWrong(t *testing.T) {
	asAWS(t)
	tests := []struct {
		code string
		kind errs.Kind
		hint string
	}{
		{"AccessDeniedException", errs.Forbidden, "ecr:DescribeRepositories"},
		{"UnrecognizedClientException", errs.Unauthorized, "AWS identity"},
		{"ThrottlingException", errs.RateLimited, ""},
		{"InvalidParameterException", errs.Invalid, "check the host"},
		{"ServerException", errs.Unavailable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			v := newVendor(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(http.StatusBadRequest)
				send(w, map[string]string{"__type": tt.code, "message": "secret-example"})
			})
			_, _, err := client(t, ecrSettings(v)).Repositories(t.Context(), "test", "")
			if !errs.Is(err, tt.kind) || !strings.Contains(errs.Hint(err), tt.hint) || strings.Contains(err.Error(), "secret-example") {
				t.Errorf("%v: kind %s, hint %q", err, errs.KindOf(err), errs.Hint(err))
			}
		})
	}
}

func TestECRWithoutAnIdentity(t *testing.T) {
	asAWS(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	v := newVendor(t, refuse(500, ""))
	_, _, err := client(t, ecrSettings(v)).Repositories(t.Context(), "test", "")
	if !errs.Is(err, errs.Unauthorized) || len(v.seen()) != 0 {
		t.Errorf("%v, %d requests", err, len(v.seen()))
	}
}
