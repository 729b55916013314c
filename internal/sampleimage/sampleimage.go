// Package sampleimage builds small container images in memory, byte for byte
// the same every time, for the quickstart and for tests.
//
// It is responsible for content that looks to a cataloguer like what package
// managers leave behind. It must not need a network, root or a disk, and must
// not import anything of the project.
package sampleimage

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of every file and history entry.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Content says what an image holds. Every kind of package that is present
// becomes a layer of its own, in the order of the fields, so that images which
// differ in one kind share the layers of the others.
type Content struct {
	// Platform of the image; empty means linux/amd64.
	Platform v1.Platform
	// Distro writes /etc/os-release; nil leaves it out.
	Distro *Distro
	// Deb and APK are the packages of the distribution's own manager.
	Deb []Deb
	APK []APK
	// NPM are installed under /usr/lib/node_modules.
	NPM []Package
	// Python are installed under /usr/local/lib/python3.11/site-packages.
	Python []Package
	// Go are programs with embedded build information.
	Go []GoProgram
	// Jars are written to /opt/app/lib.
	Jars []Jar
	// Files are written as they are, in a last layer, by absolute path.
	Files map[string]string
}

// Package is a package that has nothing but a name and a version.
type Package struct {
	Name, Version string
}

// Distro is what os-release says.
type Distro struct {
	ID, VersionID, PrettyName string
}

// Debian12 is Debian's "bookworm".
func Debian12() *Distro {
	return &Distro{ID: "debian", VersionID: "12", PrettyName: "Debian GNU/Linux 12 (bookworm)"}
}

// Alpine returns an Alpine release, such as 3.18.4.
func Alpine(version string) *Distro {
	return &Distro{ID: "alpine", VersionID: version, PrettyName: "Alpine Linux v" + version}
}

// Build returns the image with the given content. Its history has an entry for
// every layer and two that made no layer.
func Build(c Content) (v1.Image, error) {
	layers, err := c.layers()
	if err != nil {
		return nil, err
	}
	img, err := base(c.Platform)
	if err != nil {
		return nil, err
	}
	addenda := []mutate.Addendum{emptyStep(`/bin/sh -c #(nop)  ENV LANG=C.UTF-8`)}
	for _, l := range layers {
		if l.files.empty() {
			continue
		}
		layer, err := l.files.layer()
		if err != nil {
			return nil, fmt.Errorf("sampleimage: layer %q: %w", l.instruction, err)
		}
		addenda = append(addenda, mutate.Addendum{
			Layer:     layer,
			MediaType: types.OCILayer,
			History:   v1.History{Created: v1.Time{Time: epoch}, CreatedBy: l.instruction},
		})
	}
	addenda = append(addenda, emptyStep(`/bin/sh -c #(nop)  CMD ["/bin/sh"]`))
	if img, err = mutate.Append(img, addenda...); err != nil {
		return nil, fmt.Errorf("sampleimage: append layers: %w", err)
	}
	return img, nil
}

// base is an OCI image without layers.
func base(p v1.Platform) (v1.Image, error) {
	if p.OS == "" {
		p = v1.Platform{OS: "linux", Architecture: "amd64"}
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion,
		Created: v1.Time{Time: epoch},
		RootFS:  v1.RootFS{Type: "layers"},
		Config:  v1.Config{Env: []string{"LANG=C.UTF-8"}, Cmd: []string{"/bin/sh"}},
	})
	if err != nil {
		return nil, fmt.Errorf("sampleimage: config: %w", err)
	}
	return img, nil
}

func emptyStep(instruction string) mutate.Addendum {
	return mutate.Addendum{History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: instruction, EmptyLayer: true}}
}

// step is a layer to be, with the instruction that made it.
type step struct {
	instruction string
	files       tree
}

func (c Content) layers() ([]step, error) {
	system := tree{}
	c.Distro.write(system)
	writeDeb(system, c.Deb)
	writeAPK(system, c.APK)
	npm, python, programs, jars, files := tree{}, tree{}, tree{}, tree{}, tree{}
	writeNPM(npm, c.NPM)
	writePython(python, c.Python)
	for _, p := range c.Go {
		if err := p.write(programs); err != nil {
			return nil, err
		}
	}
	for _, j := range c.Jars {
		if err := j.write(jars); err != nil {
			return nil, err
		}
	}
	for path, content := range c.Files {
		files.add(path, content)
	}
	return []step{
		{"ADD rootfs.tar.xz / # buildkit", system},
		{"RUN npm install --global " + names(c.NPM) + " # buildkit", npm},
		{"RUN pip install " + names(c.Python) + " # buildkit", python},
		{"COPY /out/ /usr/local/bin/ # buildkit", programs},
		{"COPY target/lib/*.jar /opt/app/lib/ # buildkit", jars},
		{"COPY . / # buildkit", files},
	}, nil
}

func names(packages []Package) string {
	out := make([]string, len(packages))
	for i, p := range packages {
		out[i] = p.Name + "@" + p.Version
	}
	return strings.Join(out, " ")
}

func (d *Distro) write(t tree) {
	if d == nil {
		return
	}
	t.add("/etc/os-release", fmt.Sprintf("PRETTY_NAME=%q\nNAME=%q\nID=%s\nVERSION_ID=%q\n", d.PrettyName, d.PrettyName, d.ID, d.VersionID))
	if d.ID == "alpine" {
		t.add("/etc/alpine-release", d.VersionID+"\n")
	}
}

// layer packs the files as a gzipped tar.
func (t tree) layer() (v1.Layer, error) {
	content, err := t.tar()
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(content.open, tarball.WithMediaType(types.OCILayer))
}
