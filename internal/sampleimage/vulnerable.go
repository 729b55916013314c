package sampleimage

import v1 "github.com/google/go-containerregistry/pkg/v1"

// Vulnerable returns the image of the quickstart: Debian 12 with packages of
// several ecosystems at versions with well-known vulnerabilities. Nothing in it
// can run.
func Vulnerable() (v1.Image, error) { return Build(VulnerableContent()) }

// VulnerableContent is the content of Vulnerable, to vary it in tests.
func VulnerableContent() Content {
	const lib = "/usr/lib/x86_64-linux-gnu/"
	return Content{
		Distro: Debian12(),
		Deb: []Deb{
			{Name: "base-files", Version: "12.4", Files: []string{"/etc/debian_version"}},
			{Name: "curl", Version: "7.88.1-10", Files: []string{"/usr/bin/curl"}},
			{Name: "libc6", Version: "2.36-9", Source: "glibc", Files: []string{lib + "libc.so.6"}},
			{Name: "libcurl4", Version: "7.88.1-10", Source: "curl", Files: []string{lib + "libcurl.so.4"}},
			{Name: "liblzma5", Version: "5.4.1-0.2", Source: "xz-utils", Files: []string{lib + "liblzma.so.5"}},
			{Name: "libssl3", Version: "3.0.9-1", Source: "openssl", Files: []string{lib + "libssl.so.3"}},
			{Name: "openssl", Version: "3.0.9-1", Files: []string{"/usr/bin/openssl"}},
			{Name: "perl-base", Version: "5.36.0-7", Source: "perl", Files: []string{"/usr/bin/perl"}},
			{Name: "xz-utils", Version: "5.4.1-0.2", Files: []string{"/usr/bin/xz"}},
			{Name: "zlib1g", Version: "1:1.2.13.dfsg-1", Source: "zlib", Files: []string{lib + "libz.so.1"}},
		},
		NPM: []Package{
			{"express", "4.17.1"},
			{"lodash", "4.17.15"},
			{"minimist", "1.2.0"},
			{"node-fetch", "2.6.0"},
		},
		Python: []Package{
			{"Django", "3.2.0"},
			{"Jinja2", "2.11.2"},
			{"PyYAML", "5.3"},
			{"requests", "2.25.0"},
			{"urllib3", "1.26.4"},
		},
		Go: []GoProgram{{
			Name: "shop", Main: "example.com/shop", Version: "v1.0.0", GoVersion: "go1.20.1",
			Deps: []Package{
				{"golang.org/x/crypto", "v0.14.0"},
				{"golang.org/x/net", "v0.7.0"},
				{"golang.org/x/text", "v0.3.7"},
			},
		}},
		Jars: []Jar{
			{"org.apache.logging.log4j", "log4j-core", "2.14.1"},
			{"org.yaml", "snakeyaml", "1.29"},
		},
	}
}
