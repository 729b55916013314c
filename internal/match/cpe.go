package match

import (
	"sync"

	"github.com/anchore/syft/syft/cpe"

	"github.com/tidewaiter/tidewaiter/internal/text"
)

// Bounds of what is remembered. The memory starts anew when it is full; no CPE of
// an honest package is longer.
const (
	maxNames      = 20_000
	maxRemembered = 300 // bytes of one
)

// cpeNames writes CPEs and remembers how: images share most of their packages,
// and to write and check one takes longer than everything else of a package. The
// zero value is ready; it is safe for concurrent use.
type cpeNames struct {
	mu    sync.Mutex
	known map[cpe.Attributes]string
}

// list writes CPEs in their order, as they are when they were written and read
// once. One that does not survive that is left out: a matcher would refuse it
// later.
func (n *cpeNames) list(cpes []cpe.CPE) []string {
	var out []string
	for _, c := range cpes {
		if s := n.of(c.Attributes); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// of returns the name of one CPE; empty when it has none.
func (n *cpeNames) of(a cpe.Attributes) string {
	n.mu.Lock()
	name, ok := n.known[a]
	n.mu.Unlock()
	if ok {
		return name
	}
	if read, err := cpe.New(text.Clean(a.String(), text.CPE), ""); err == nil {
		name = read.Attributes.String()
	}
	if len(name) > maxRemembered {
		return name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil || len(n.known) >= maxNames {
		n.known = map[cpe.Attributes]string{}
	}
	n.known[a] = name
	return name
}
