package hostileimage

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Registry serves artifacts as they are, however they contradict themselves: what
// a real registry refuses to take can be had from it. It takes nothing. The zero
// value is empty and ready.
type Registry struct {
	mu        sync.Mutex
	manifests map[string]Artifact // by repository, slash, tag or digest
	blobs     map[string]Blob     // by digest
}

// Put adds an artifact under a tag and its digest.
func (r *Registry) Put(repository, tag string, a Artifact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.manifests == nil {
		r.manifests, r.blobs = map[string]Artifact{}, map[string]Blob{}
	}
	r.put(repository, a)
	r.manifests[repository+"/"+tag] = a
}

func (r *Registry) put(repository string, a Artifact) {
	r.manifests[repository+"/"+a.Digest()] = a
	for _, b := range a.Blobs {
		if !b.Absent {
			r.blobs[b.Digest] = b
		}
	}
	for _, c := range a.Children {
		r.put(repository, c)
	}
}

// ServeHTTP answers pings and requests for manifests and blobs.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	repository, reference, isManifest := strings.Cut(path, "/manifests/")
	_, digest, isBlob := strings.Cut(path, "/blobs/")
	r.mu.Lock()
	a, hasManifest := r.manifests[repository+"/"+reference]
	b, hasBlob := r.blobs[digest]
	r.mu.Unlock()
	switch {
	case path == "":
	case isManifest && hasManifest:
		w.Header().Set("Content-Type", a.MediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Manifest)))
		w.Header().Set("Docker-Content-Digest", a.Digest())
		if req.Method != http.MethodHead {
			_, _ = w.Write(a.Manifest)
		}
	case isBlob && hasBlob:
		w.Header().Set("Content-Type", "application/octet-stream")
		if req.Method == http.MethodHead || b.Breaks {
			w.Header().Set("Content-Length", strconv.FormatInt(b.Size, 10))
		}
		if req.Method != http.MethodHead {
			content := b.Open()
			_, _ = io.Copy(w, content)
			_ = content.Close()
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
