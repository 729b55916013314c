package hostileimage

import (
	"fmt"
	"strings"
)

// ManyLayers is an image of n layers, all of them one and the same.
func ManyLayers(n int) Image {
	var i Image
	one := Honest()
	for range n {
		i.Layers = append(i.Layers, one)
	}
	return i
}

// Padded gives the manifest of an image an annotation of size characters.
func Padded(i Image, size int) Image {
	i.Manifest = merged(object{}, i.Manifest)
	i.Manifest["annotations"] = object{"padding": strings.Repeat("p", size)}
	return i
}

// Padding is an index of n images with manifests of size characters.
func Padding(n, size int) Artifact {
	var entries []Entry
	for i := range n {
		img := Padded(Over(Layer(Files("n", fmt.Sprint(i)), Gzip)), size)
		entries = append(entries, On(img.Artifact(), "linux", fmt.Sprintf("cpu%d", i)))
	}
	return Index(false, entries...)
}

// LargeConfig gives the config of an image a label of size characters.
func LargeConfig(i Image, size int) Image {
	i.Config = merged(object{}, i.Config)
	i.Config["config"] = object{"Labels": object{"padding": strings.Repeat("p", size)}}
	return i
}

// LongHistory gives the config of an image n entries of history that say nothing.
func LongHistory(i Image, n int) Image {
	history := make([]struct{}, n)
	i.Config = merged(object{}, i.Config)
	i.Config["history"] = history
	return i
}

// Labelled gives manifest and config of an image texts that no database takes as
// they are, n characters long where length matters.
func Labelled(i Image, n int) Image {
	bad := "a\x00b\u202e\ufeff\x1b[31m<script>';--"
	long := strings.Repeat("l", n)
	i.Config = merged(object{}, i.Config)
	i.Config["os"] = "linux\x00" + long
	i.Config["architecture"], i.Config["variant"] = bad, long
	i.Config["os.version"], i.Config["author"] = bad+long, bad
	i.Config["config"] = object{"Labels": object{bad: bad, long: long, "": ""}, "Env": []string{bad, "=", long}, "User": bad}
	history := []object{}
	for range i.Layers {
		history = append(history, object{"created_by": bad + long, "author": bad, "comment": long})
	}
	i.Config["history"] = history
	i.Manifest = merged(object{}, i.Manifest)
	i.Manifest["annotations"] = object{bad: bad, long: long}
	i.Manifest["artifactType"] = "application/vnd.bad\x00+json" + long
	return i
}

// NotUTF8 is an artifact with bytes in its manifest that are no text.
func NotUTF8(a Artifact) Artifact {
	a.Manifest = []byte(strings.Replace(string(a.Manifest), `"schemaVersion"`, "\"\xff\xfe\":\"\xc0\xaf\",\"schemaVersion\"", 1))
	return a
}

// WideIndex is an index of n images that nobody has.
func WideIndex(n int) Artifact {
	var entries []Entry
	for i := range n {
		e := On(Artifact{MediaType: ociManifest, Manifest: fmt.Appendf(nil, "nothing %d", i)}, "linux", fmt.Sprintf("cpu%d", i))
		e.Absent = true
		entries = append(entries, e)
	}
	return Index(false, entries...)
}

// Deep is JSON nested so many levels, as an OCI manifest.
func Deep(levels int) Artifact {
	return Artifact{MediaType: ociManifest, Manifest: []byte(`{"schemaVersion":2,"annotations":` + strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels) + "}")}
}

// Raw is a manifest of any content under any media type.
func Raw(mediaType, content string) Artifact {
	return Artifact{MediaType: mediaType, Manifest: []byte(content)}
}

// Hollow is an image manifest whose lists hold n objects of nothing.
func Hollow(n int) Artifact {
	return Raw(ociManifest, `{"schemaVersion":2,"mediaType":"`+ociManifest+`","config":{},"layers":[`+strings.TrimSuffix(strings.Repeat("{},", n), ",")+`]}`)
}
