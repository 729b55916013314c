package sampleimage

import (
	"crypto/md5"  // the format of dpkg's md5sums files
	"crypto/sha1" // the format of apk's database
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
)

// Deb is a package of dpkg.
type Deb struct {
	Name, Version string
	// Arch is amd64 when empty.
	Arch string
	// Source is the source package, with its version in parentheses when that
	// differs, as the Source field of dpkg has it; empty when the same.
	Source string
	// Files are absolute paths the package owns besides its copyright file.
	Files []string
}

// writeDeb writes dpkg's database and the files it knows of.
func writeDeb(t tree, packages []Deb) {
	var status strings.Builder
	for _, p := range packages {
		if p.Arch == "" {
			p.Arch = "amd64"
		}
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nPriority: optional\nSection: libs\n", p.Name)
		fmt.Fprintf(&status, "Installed-Size: 100\nMaintainer: Sample <sample@example.com>\nArchitecture: %s\n", p.Arch)
		if p.Source != "" {
			fmt.Fprintf(&status, "Source: %s\n", p.Source)
		}
		fmt.Fprintf(&status, "Version: %s\nDescription: sample package %s\n\n", p.Version, p.Name)
		p.writeInfo(t)
	}
	if len(packages) > 0 {
		t.add("/var/lib/dpkg/status", status.String())
	}
}

// writeInfo writes the lists of the package's files and the files.
func (p Deb) writeInfo(t tree) {
	copyright := "/usr/share/doc/" + p.Name + "/copyright"
	t.add(copyright, "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n")
	for _, f := range p.Files {
		t.addMode(f, "content of "+f+" from "+p.Name+" "+p.Version+"\n", 0o755)
	}
	var list, sums strings.Builder
	list.WriteString("/.\n")
	for _, f := range append([]string{copyright}, p.Files...) {
		name := strings.TrimPrefix(f, "/")
		sum := md5.Sum([]byte(t[name].content))
		fmt.Fprintf(&list, "%s\n%s\n", path.Dir(f), f)
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	t.add("/var/lib/dpkg/info/"+p.Name+".list", list.String())
	t.add("/var/lib/dpkg/info/"+p.Name+".md5sums", sums.String())
}

// APK is a package of Alpine's apk.
type APK struct {
	Name, Version string
	// Origin is the source package; the name when empty.
	Origin string
	// Files are absolute paths the package owns.
	Files []string
}

// writeAPK writes apk's database and the files it knows of.
func writeAPK(t tree, packages []APK) {
	var db strings.Builder
	for _, p := range packages {
		if p.Origin == "" {
			p.Origin = p.Name
		}
		fmt.Fprintf(&db, "C:Q1%s\nP:%s\nV:%s\nA:x86_64\nS:1000\nI:4096\nT:sample package %s\nU:https://example.com\nL:MIT\no:%s\nm:Sample <sample@example.com>\n",
			sha1Of(p.Name+p.Version), p.Name, p.Version, p.Name, p.Origin)
		for _, f := range p.Files {
			content := "content of " + f + " from " + p.Name + " " + p.Version + "\n"
			t.addMode(f, content, 0o755)
			fmt.Fprintf(&db, "F:%s\nR:%s\na:0:0:755\nZ:Q1%s\n", strings.TrimPrefix(path.Dir(f), "/"), path.Base(f), sha1Of(content))
		}
		db.WriteString("\n")
	}
	if len(packages) > 0 {
		t.add("/lib/apk/db/installed", db.String())
	}
}

func sha1Of(s string) string {
	sum := sha1.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
