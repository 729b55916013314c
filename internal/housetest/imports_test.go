package housetest

import (
	"slices"
	"strings"
	"testing"
)

// levels is the house. A package imports packages of lower levels only; those
// of level 1 may use each other as sideways says, those of level 2 never do.
// A package that is not listed here fails the test: decide where it lives.
var levels = map[string]int{
	"migrations": 0,

	// Words.
	"internal/errs": 0, "internal/image": 0, "internal/vuln": 0, "internal/sbom": 0, "internal/text": 0,

	// The work, and the plumbing.
	"internal/scan": 1, "internal/inventory": 1, "internal/report": 1, "internal/reconcile": 1,
	"internal/httpserver": 1, "internal/outbound": 1, "internal/jwks": 1, "internal/telemetry": 1, "internal/telemetry/otlp": 1, "internal/filelock": 1, "internal/sandbox": 1, "internal/cgroup": 1,

	// Edges: each knows one thing of the outside world.
	"internal/webhook": 2, "internal/webhook/keys": 2, "internal/registry": 2, "internal/catalog": 2, "internal/catalog/layers": 2, "internal/catalog/overlay": 2, "internal/match": 2,
	"internal/match/vulndb": 2, "internal/postgres": 2, "internal/queue": 2, "internal/api": 2, "internal/oidc": 2, "internal/notify": 2,

	// Assembly.
	"internal/intake": 3, "internal/config": 3, "internal/app": 3, "internal/doctor": 3,

	// Programs.
	"cmd/tidewaiter": 4, "cmd/quickstart": 4, "cmd/quickstart/stage": 4,
	"cmd/quickstart/internal/console": 0, "cmd/bench": 4,
}

// props stand beside the house, for tests and for the quickstart. Each lists
// what it may import of our own.
var props = map[string][]string{
	"internal/localpostgres": {"internal/errs"},
	"internal/localregistry": {"internal/errs"},
	"internal/sampleimage":   {},
	"internal/hostileimage":  {},
	"internal/pgtest":        {"internal/errs", "internal/localpostgres", "internal/postgres", "migrations"},
	"internal/housetest":     {},
	"internal/oidc/oidctest": {},
	"internal/api/apitest":   {"internal/api", "internal/sbom"},
	"internal/postgres/postgrestest": {
		"internal/errs", "internal/image", "internal/inventory", "internal/vuln", "internal/sbom", "internal/scan",
		"internal/postgres", "internal/pgtest",
	},
}

// propUsers may import props; tests may as well, they are not looked at here.
var propUsers = []string{"cmd/quickstart/stage", "cmd/bench"}

// sideways are the imports allowed within a level, with the reason.
var sideways = map[[2]string]string{
	{"internal/image", "internal/errs"}:                     "every package names its failures by kind",
	{"internal/sbom", "internal/errs"}:                      "every package names its failures by kind",
	{"internal/vuln", "internal/errs"}:                      "every package names its failures by kind",
	{"internal/scan", "internal/inventory"}:                 "the story of a scan hands inventories on",
	{"internal/reconcile", "internal/scan"}:                 "what differs becomes a scan; rules are the same for both",
	{"internal/scan", "internal/telemetry"}:                 "the steps of a scan are spans of its trace",
	{"internal/telemetry/otlp", "internal/telemetry"}:       "a room and its back room: where traces go",
	{"internal/sandbox", "internal/filelock"}:               "plumbing on plumbing: a child's directories are locked",
	{"internal/catalog", "internal/catalog/layers"}:         "a room and its back room: the layers that were read",
	{"internal/catalog", "internal/catalog/overlay"}:        "a room and its back room: the layers over each other",
	{"internal/catalog/overlay", "internal/catalog/layers"}: "back rooms of one room: what lies over each other are layers that were read",
	{"internal/match", "internal/match/vulndb"}:             "a room and its back room: the database's life on disk",
	{"internal/webhook", "internal/webhook/keys"}:           "a room and its back room: the keys of senders that sign",
	{"internal/app", "internal/config"}:                     "assembly: app is built from the configuration",
	{"internal/app", "internal/intake"}:                     "assembly: app wires the receiver",
	{"internal/doctor", "internal/config"}:                  "what is looked at is what the configuration says",
	{"internal/doctor", "internal/app"}:                     "worker processes and the library are tried as app would start them",
	{"internal/postgres", "migrations"}:                     "the store brings the schema up",
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range sorted(sources(t)) {
		from, inHouse := levels[p.path]
		_, isProp := props[p.path]
		if !inHouse && !isProp {
			t.Errorf("%s is in neither table of imports_test.go: decide its level, or a new room grows without a place in the house", p.path)
			continue
		}
		for _, imported := range p.imports {
			if !ours(imported) {
				continue
			}
			if isProp {
				checkProp(t, p.path, imported)
				continue
			}
			checkLevel(t, p.path, from, imported)
		}
	}
}

func checkProp(t *testing.T, prop, imported string) {
	if !slices.Contains(props[prop], imported) {
		t.Errorf("%s imports %s: props stay small and apart from the house, so that tests of any package can use them", prop, imported)
	}
}

func checkLevel(t *testing.T, path string, from int, imported string) {
	if _, isProp := props[imported]; isProp {
		if !slices.Contains(propUsers, path) {
			t.Errorf("%s imports %s: props are for tests and the quickstart, not for the service", path, imported)
		}
		return
	}
	to, known := levels[imported]
	switch reason := sideways[[2]string{path, imported}]; {
	case !known, to < from, reason != "":
	case to == from && from == 2:
		t.Errorf("%s imports %s: edges never know each other; hand the value through level 1 or wire it in app", path, imported)
	case to == from:
		t.Errorf("%s imports %s on its own level: allow it in sideways with a reason, or move what they share down", path, imported)
	default:
		t.Errorf("%s (level %d) imports %s (level %d): imports go down only, or the parts cannot be understood one by one", path, from, imported, to)
	}
}

// heavy are the libraries that take minutes to compile or bring a database
// driver, a queue or a registry client with them. Each has few doors.
var heavy = []struct {
	library string
	except  []string // parts of the library that others may use
	doors   []string
	why     string
}{
	{"github.com/anchore/stereoscope", nil, []string{"internal/catalog"},
		"images are unpacked in one room, where its limits are"},
	{"github.com/anchore/syft", syftData, []string{"internal/catalog"},
		"cataloguers belong to catalog; match may use syft's data packages only"},
	{"github.com/anchore/syft", nil, []string{"internal/catalog", "internal/match"},
		"whatever imports syft compiles for minutes"},
	{"github.com/anchore/grype", nil, []string{"internal/match"},
		"one room knows grype; everybody else speaks vuln and inventory"},
	{"github.com/riverqueue/river", nil, []string{"internal/queue", "internal/postgres"},
		"the queue is replaceable: only its room and the migration know River"},
	{"github.com/pressly/goose", nil, []string{"internal/postgres"},
		"the schema is brought up in one place"},
	{"github.com/jackc/pgx", nil, []string{"internal/postgres", "internal/queue", "internal/localpostgres", "internal/pgtest", "cmd/bench"},
		"SQL lives in postgres, one file per noun"},
	{"github.com/go-chi/chi", nil, []string{"internal/api", "internal/app", "internal/httpserver", "internal/webhook"},
		"routes belong to the edges that serve them"},
	{"go.opentelemetry.io/otel", nil, []string{"internal/telemetry"},
		"traces are begun in one room; others speak of spans"},
	{"go.opentelemetry.io/otel/sdk", nil, []string{"internal/telemetry/otlp"},
		"what sends traces is linked where it is configured, not where spans are made"},
	{"go.opentelemetry.io/otel/exporters", nil, []string{"internal/telemetry/otlp"},
		"what sends traces is linked where it is configured, not where spans are made"},
	{"github.com/go-jose/go-jose", nil, []string{"internal/jwks", "internal/oidc/oidctest"},
		"signatures of tokens are checked in one room"},
	{"github.com/wneessen/go-mail", nil, []string{"internal/notify"},
		"messages leave through one room"},
	{"github.com/nicholas-fedor/shoutrrr", nil, []string{"internal/notify"},
		"messages leave through one room"},
	{"github.com/google/go-containerregistry/pkg/v1/remote", nil, []string{"internal/registry", "cmd/quickstart/stage", "cmd/bench"},
		"credentials are sent from one room only"},
	{"github.com/distribution/distribution", nil, []string{"internal/localregistry"},
		"a registry server is for trying out and for tests"},
	{"github.com/alecthomas/kong", nil, []string{"cmd/tidewaiter", "cmd/quickstart/stage", "cmd/bench"},
		"flags end in cmd; packages take values"},
	{"testing", nil, []string{"internal/pgtest", "internal/postgres/postgrestest", "internal/api/apitest", "internal/oidc/oidctest"},
		"test support is not linked into the service"},
}

// syftData are syft's packages of plain data, which match reads an SBOM with.
var syftData = []string{
	"github.com/anchore/syft/syft/pkg", "github.com/anchore/syft/syft/cpe", "github.com/anchore/syft/syft/file",
	"github.com/anchore/syft/syft/artifact", "github.com/anchore/syft/syft/linux", "github.com/anchore/syft/syft/sbom",
	"github.com/anchore/syft/syft/source", "github.com/anchore/syft/syft/format/syftjson",
}

func TestHeavyLibrariesHaveFewDoors(t *testing.T) {
	packages := sorted(sources(t))
	for _, h := range heavy {
		for _, p := range packages {
			if slices.ContainsFunc(h.doors, func(door string) bool { return within(p.path, door) }) {
				continue
			}
			for _, imported := range p.imports {
				if within(imported, h.library) && !slices.Contains(h.except, imported) {
					t.Errorf("%s imports %s, which only %s may: %s", p.path, imported, strings.Join(h.doors, ", "), h.why)
				}
			}
		}
	}
}

// The quickstart has to say its first words within seconds on a machine where
// nothing was compiled before.
func TestQuickstartSpeaksAtOnce(t *testing.T) {
	packages := sources(t)
	slow := func(imported string) bool {
		return strings.Contains(imported, ".") && !ours(imported) || within(imported, "net") || within(imported, "crypto")
	}
	if chain := reaches(packages, "cmd/quickstart", slow); chain != nil {
		t.Errorf("cmd/quickstart reaches more than the basic standard library by %s: it would be silent while that compiles", strings.Join(chain, " -> "))
	}
}

// The stage has to check Postgres before anything compiles for minutes, and the
// receiver's rooms are to be tested without that wait.
func TestLightPackagesStayLight(t *testing.T) {
	packages := sources(t)
	anchore := func(imported string) bool { return within(imported, "github.com/anchore") }
	light := []string{
		"cmd/quickstart/stage", "internal/webhook", "internal/registry", "internal/postgres", "internal/queue",
		"internal/api", "internal/notify", "internal/intake", "internal/config", "internal/scan", "internal/pgtest",
	}
	for _, name := range light {
		if chain := reaches(packages, name, anchore); chain != nil {
			t.Errorf("%s reaches syft or grype by %s: a first build of it would take minutes", name, strings.Join(chain, " -> "))
		}
	}
	if reaches(packages, "internal/match", anchore) == nil {
		t.Error("internal/match does not seem to reach grype: this test sees nothing")
	}
}
