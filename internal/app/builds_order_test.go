package app

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func TestOneOfTwoJudgesIsAlwaysTheGreater(t *testing.T) {
	ascending := []vuln.Build{ // engine version, name of the configuration
		{EngineVersion: "v0.9.0", Config: "9-ffffffffffff"},
		{EngineVersion: "v0.121.0", Config: "000000000000"}, // without a number
		{EngineVersion: "v0.121.0", Config: "ffffffffffff"},
		{EngineVersion: "v0.121.0", Config: "1-aaaaaaaaaaaa"},
		{EngineVersion: "v0.121.0", Config: "2-000000000000"},
		{EngineVersion: "v0.121.0", Config: "10-000000000000"},
		{EngineVersion: "v0.121.0", Config: "10-111111111111"},
		{EngineVersion: "v0.122.0", Config: "1-000000000000"},
	}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := compareJudges(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s %s and %s %s: %d", a.EngineVersion, a.Config, b.EngineVersion, b.Config, got)
			}
		}
	}
}
