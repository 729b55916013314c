package app

import (
	"cmp"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// compareJudges orders what judges a database: by the engine's version, then by
// the number that its configuration's name begins with, then by that name. Of two
// versions of this service that run beside each other, as in a rolling upgrade,
// one is always the greater, or they would take turns at putting their build in
// force.
func compareJudges(a, b vuln.Build) int {
	return cmp.Or(
		semver.Compare(a.EngineVersion, b.EngineVersion),
		cmp.Compare(configNumber(a.Config), configNumber(b.Config)),
		strings.Compare(a.Config, b.Config),
	)
}

// configNumber is zero for a name without a number, as versions before gave it.
func configNumber(name string) int {
	number, _, found := strings.Cut(name, "-")
	n, err := strconv.Atoi(number)
	if !found || err != nil {
		return 0
	}
	return n
}
