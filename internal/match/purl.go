package match

import (
	"strings"

	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
)

// addFromPURLs fills in what only a package's purl says: the source package and
// the distro. Documents of other formats that were converted have nothing else;
// grype reads these qualifiers from them, and not from syft's own documents,
// whose metadata says the same.
func (c *contents) addFromPURLs() {
	for i := range c.judged {
		p := &c.judged[i]
		noUpstream := len(p.Upstreams) == 0 && strings.Contains(p.PURL, "upstream=")
		noDistro := p.Distro == nil && strings.Contains(p.PURL, "distro=")
		if !noUpstream && !noDistro {
			continue
		}
		said := readPURL(p.PURL)
		if noUpstream {
			p.Upstreams = said.Upstreams
		}
		if noDistro {
			p.Distro = said.Distro
		}
	}
	c.settleDistro()
}

// readPURL has grype read a purl as if it were the input of a scan. A purl it
// cannot read says nothing.
func readPURL(purl string) pkg.Package {
	if !strings.HasPrefix(purl, "pkg:") || strings.ContainsAny(purl, "\r\n") {
		return pkg.Package{} // grype would take it for something else, a file even
	}
	packages, _, _, err := pkg.Provide(purl, providerConfig())
	if err != nil || len(packages) != 1 {
		return pkg.Package{}
	}
	return packages[0]
}

// settleDistro gives the document the distro of its packages when they have one
// and the same, as grype does.
func (c *contents) settleDistro() {
	if c.context.Distro != nil {
		return
	}
	var single *distro.Distro
	for _, p := range c.judged {
		switch d := p.Distro; {
		case d == nil:
		case single == nil:
			single = d
		case single.Type != d.Type || single.Version != d.Version || single.Codename != d.Codename:
			return
		}
	}
	c.context.Distro = single
	for i := range c.judged {
		if c.judged[i].Distro == nil {
			c.judged[i].Distro = single
		}
	}
}
