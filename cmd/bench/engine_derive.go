package main

import (
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// Packages that services are made of, many with known vulnerabilities.
var (
	npmNames = []string{
		"lodash", "minimist", "express", "axios", "ws", "semver", "qs", "node-fetch", "moment", "ansi-regex", "tar", "glob-parent",
		"path-parse", "follow-redirects", "json5", "async", "debug", "ejs", "handlebars", "marked", "jsonwebtoken", "ini", "y18n", "got",
	}
	pythonNames = []string{
		"Django", "requests", "urllib3", "Jinja2", "PyYAML", "cryptography", "Pillow", "aiohttp", "certifi", "setuptools", "numpy",
		"paramiko", "SQLAlchemy", "tornado", "lxml", "Flask", "Werkzeug", "idna", "gunicorn", "celery", "httpx", "Mako", "wheel", "pip",
	}
)

// thin returns base with one more layer that holds so many npm and Python
// packages. Each number makes another image: packages and versions differ.
func thin(base v1.Image, number, npm, python int) (v1.Image, error) {
	var c sampleimage.Content
	for i := range npm {
		c.NPM = append(c.NPM, pick(npmNames, number, i))
	}
	for i := range python {
		c.Python = append(c.Python, pick(pythonNames, number, i))
	}
	c.Files = map[string]string{"/srv/service.json": fmt.Sprintf(`{"service":%d}`, number)}
	sample, err := sampleimage.Build(c)
	if err != nil {
		return nil, err
	}
	// All in one layer, as a build that copies an application in makes it.
	content := mutate.Extract(sample)
	defer func() { _ = content.Close() }()
	flat, err := io.ReadAll(content)
	if err != nil {
		return nil, err
	}
	mediaType, err := layerType(base)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(flat)), nil },
		tarball.WithMediaType(mediaType))
	if err != nil {
		return nil, err
	}
	return mutate.Append(base, mutate.Addendum{Layer: layer, MediaType: mediaType, History: v1.History{CreatedBy: "COPY . /srv # buildkit"}})
}

// pick chooses a package and a version of it by the number of the image.
func pick(names []string, number, nth int) sampleimage.Package {
	return sampleimage.Package{
		Name:    names[(number*5+nth*7)%len(names)],
		Version: fmt.Sprintf("%d.%d.%d", 1+(number+nth)%4, (number/4+nth)%10, number%10),
	}
}

// layerType is the type of gzipped layers in images such as base.
func layerType(base v1.Image) (types.MediaType, error) {
	t, err := base.MediaType()
	if err != nil {
		return "", err
	}
	if t == types.DockerManifestSchema2 {
		return types.DockerLayer, nil
	}
	return types.OCILayer, nil
}
