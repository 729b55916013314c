package layers

import (
	"archive/tar"
	"path"
	"strings"
)

// keep decides from the name and the first bytes of an entry whether its content
// is kept: whether a cataloger may ask for it. Content that was not kept and is
// asked for costs another pass over the layer, so in doubt it is kept. What is
// left out are the many files that no cataloger reads: the sources, pages,
// pictures and translations that most layers mainly consist of.
func keep(e Entry) bool {
	if e.Type != tar.TypeReg || isProgram(e.MIME) {
		return true
	}
	name := strings.ToLower(path.Base(e.Path))
	if isAsked(e.Path, name) {
		return true
	}
	class, _, _ := strings.Cut(e.MIME, "/")
	return !unread[path.Ext(name)] && class != "image" && class != "font" && class != "audio" && class != "video"
}

// isProgram reports whether first bytes are those of a program or a library,
// which catalogers look into whatever their name.
func isProgram(mime string) bool {
	switch mime {
	case "application/x-elf", "application/x-object", "application/x-executable", "application/x-sharedlib", "application/x-coredump",
		"application/x-mach-binary", "application/vnd.microsoft.portable-executable":
		return true
	}
	return false
}

// isAsked reports whether catalogers ask for a file by its name although its
// extension, or what it is, is one of those they leave alone.
func isAsked(full, name string) bool {
	switch name {
	case "setup.py", "perllocal.pod", "pack.pl", "liberts_internal.a", "changelog.debian.gz":
		return true
	}
	for _, begin := range []string{"composer", "php", "python"} {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	for _, part := range []string{".tar.", ".ko."} {
		if strings.Contains(name, part) {
			return true
		}
	}
	for _, directory := range []string{"wp-content", "Cellar", "Formula"} {
		if strings.Contains(full, "/"+directory+"/") {
			return true
		}
	}
	return false
}

// unread are extensions of files that no cataloger reads.
var unread = extensions(`
	.py .pyc .pyo .pyi .pyx .pxd .h .hpp .hh .hxx .c .cc .cpp .cxx .m4 .in .am .inc .def
	.js .cjs .mjs .ts .mts .cts .tsx .jsx .map .css .scss .sass .less .html .htm .xhtml .vue
	.rb .rbs .erb .pl .pm .pod .t .tcl .tk .el .elc .vim .lua .php .phpt .phtml .twig .java .scala .groovy .kt .go .rs .swift .ex .erl .hs .ml
	.mo .po .pot .qm .gmo .1 .2 .3 .4 .5 .6 .7 .8 .gz .bz2 .xz .lz4 .svg .png .jpg .jpeg .gif .ico .bmp .webp .woff .woff2 .ttf .otf .eot .afm .pfb
	.md .markdown .rst .adoc .texi .tex .pdf .ps .csv .tsv .pak .tz .a .o .lo .la .obj .snap .golden .patch .diff .mk .cmake .pc .sh .bash .zsh .fish
`)

func extensions(list string) map[string]bool {
	set := map[string]bool{}
	for _, ext := range strings.Fields(list) {
		set[ext] = true
	}
	return set
}
