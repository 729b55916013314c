package inventory

import (
	"encoding/binary"
	"time"
)

// An inventory goes from one process to another as numbers and texts one after the
// other, in the order of the fields. Fingerprints are not among them: who reads it
// works them out, because others rely on them. The form is between two processes
// of one program and is stored nowhere.

// Encode writes the inventory for Decode.
func (inv *Inventory) Encode() []byte {
	w := &wireWriter{b: make([]byte, 0, 256*len(inv.Packages)+128*len(inv.Occurrences)+64)}
	w.distro(inv.Distro)
	writeList(w, inv.Packages, w.pkg)
	writeList(w, inv.Members, w.member)
	writeList(w, inv.Occurrences, w.occurrence)
	return w.b
}

type wireWriter struct{ b []byte }

func (w *wireWriter) number(n int) { w.b = binary.AppendVarint(w.b, int64(n)) }

func (w *wireWriter) text(s string) {
	w.number(len(s))
	w.b = append(w.b, s...)
}

func (w *wireWriter) texts(all ...string) {
	for _, s := range all {
		w.text(s)
	}
}

// present writes whether something is there.
func (w *wireWriter) present(is bool) bool {
	if is {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
	return is
}

// writeList writes a list; one that is nil is told from an empty one.
func writeList[T any](w *wireWriter, list []T, each func(T)) {
	if !w.present(list != nil) {
		return
	}
	w.number(len(list))
	for _, e := range list {
		each(e)
	}
}

func (w *wireWriter) distro(d *Distro) {
	if !w.present(d != nil) {
		return
	}
	w.texts(d.Type, d.Version, d.Codename)
	writeList(w, d.Channels, w.text)
	writeList(w, d.IDLike, w.text)
	if w.present(d.SupportEnd != nil) {
		w.text(d.SupportEnd.Format(time.RFC3339Nano))
	}
}

func (w *wireWriter) pkg(p Package) {
	w.texts(p.Type, p.Name, p.Version, p.Language, p.PURL)
	w.distro(p.Distro)
	writeList(w, p.Upstreams, func(u Upstream) { w.texts(u.Name, u.Version) })
	writeList(w, p.CPEs, w.text)
	if w.present(p.RPM != nil) {
		if w.present(p.RPM.Epoch != nil) {
			w.number(*p.RPM.Epoch)
		}
		if w.present(p.RPM.Modularity != nil) {
			w.text(*p.RPM.Modularity)
		}
		w.text(p.RPM.Arch)
	}
	if w.present(p.APK != nil) {
		w.text(p.APK.Arch)
	}
	if w.present(p.Java != nil) {
		w.texts(p.Java.GroupID, p.Java.ArtifactID, p.Java.ManifestName)
	}
	if w.present(p.JVM != nil) {
		w.texts(p.JVM.JavaRuntimeVersion, p.JVM.JavaVersion, p.JVM.FullVersion, p.JVM.SemanticVersion)
	}
	if w.present(p.Go != nil) {
		w.goProgram(*p.Go)
	}
}

func (w *wireWriter) goProgram(g Go) {
	w.text(g.MainModule)
	if !w.present(g.Symbols != nil) {
		return
	}
	w.number(len(g.Symbols))
	for path, names := range g.Symbols {
		w.text(path)
		writeList(w, names, w.text)
	}
}

func (w *wireWriter) member(m Member) {
	w.number(m.Package)
	writeList(w, m.Owners, w.number)
	w.text(m.Excluded)
}

func (w *wireWriter) occurrence(o Occurrence) {
	w.number(o.Member)
	w.text(o.ID)
	writeList(w, o.Locations, func(l Location) { w.texts(l.Path, l.Layer) })
	writeList(w, o.Licenses, w.text)
}
