package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

// layersEach is how many layers an image has.
const layersEach = 6

// seededImage is a manifest of a repository.
type seededImage struct {
	repository, inventory int
}

// copyManifests writes manifests with their layers, their places in
// repositories, SBOMs without the document, tags with their history, and scans.
func (s *seeder) copyManifests(ctx context.Context) error {
	manifests := s.manifests()
	occurrences, err := s.occurrences()
	if err != nil {
		return err
	}
	now := time.Now()
	digest := func(kind string, n int) string {
		return fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, n)))
	}
	layer := func(i int) string { // most layers are shared
		m, n := i/layersEach, i%layersEach
		if n < 4 {
			return digest("base layer", manifests[m].repository%40*4+n)
		}
		return digest("layer", i)
	}
	empty := s.pack.EncodeAll([]byte("{}"), nil)
	tags := s.scale.Tags / len(manifests)
	for _, t := range []struct {
		table   string
		columns []string
		n       int
		row     func(i int) []any
	}{
		{"manifest", []string{"id", "digest", "kind", "media_type", "os", "architecture", "size", "content_size", "config_digest", "state", "inventory_id", "catalog_version", "scanned_at", "answered_at"}, len(manifests),
			func(i int) []any {
				return []any{int64(i + 1), digest("manifest", i), "image", "application/vnd.oci.image.manifest.v1+json", "linux", "amd64", int64(1500), int64(9e7), digest("config", i), "done", int64(manifests[i].inventory + 1), "bench", now, now}
			}},
		{"manifest_layer", []string{"manifest_id", "position", "digest", "diff_id", "media_type", "size", "created_by"}, len(manifests) * layersEach,
			func(i int) []any {
				return []any{int64(i/layersEach + 1), i % layersEach, layer(i), layer(i), "application/vnd.oci.image.layer.v1.tar+gzip", int64(1e7), "RUN /bin/sh -c make install # buildkit"}
			}},
		{"repository_manifest", []string{"repository_id", "manifest_id"}, len(manifests),
			func(i int) []any { return []any{int64(manifests[i].repository + 1), int64(i + 1)} }},
		{"sbom", []string{"manifest_id", "tool", "tool_version", "packages", "distro", "document", "size", "occurrences"}, len(manifests),
			func(i int) []any {
				h := manifests[i].inventory
				return []any{int64(i + 1), "syft", "bench", len(s.world.inventories[h].packages), s.world.inventories[h].distro.String(), empty, int64(2), occurrences[h]}
			}},
		{"tag", []string{"id", "repository_id", "name", "manifest_id", "answered_id", "moved_at", "checked_at"}, len(manifests) * tags,
			func(i int) []any {
				m := i / tags
				return []any{int64(i + 1), int64(manifests[m].repository + 1), tagName(i, tags), int64(m + 1), int64(m + 1), now, now}
			}},
		{"tag_event", []string{"id", "repository_id", "tag", "action", "manifest_id", "occurred_at"}, len(manifests) * tags,
			func(i int) []any {
				m := i / tags
				return []any{int64(i + 1), int64(manifests[m].repository + 1), tagName(i, tags), "set", int64(m + 1), now}
			}},
		{"scan", []string{"id", "repository_id", "tag", "digest", "cause", "state", "attempt", "manifest_id", "created_at", "started_at", "finished_at", "registry_id"}, len(manifests),
			func(i int) []any {
				return []any{int64(i + 1), int64(manifests[i].repository + 1), tagName(i*tags, tags), digest("manifest", i), "push", "done", 1, int64(i + 1), now, now, now, int64(1)}
			}},
	} {
		if err := s.quickly(ctx, t.table, t.columns, t.n, func(i int) ([]any, error) { return t.row(i), nil }); err != nil {
			return fmt.Errorf("%s: %w", t.table, err)
		}
	}
	return nil
}

func tagName(i, each int) string { return fmt.Sprintf("1.%d.%d", i/each, i%each) }

// manifests are those of each repository: several builds have equal packages.
func (s *seeder) manifests() []seededImage {
	var out []seededImage
	for r, b := range s.world.repositories {
		n := s.scale.Manifests/s.scale.Repositories + btoi(r < s.scale.Manifests%s.scale.Repositories)
		n = max(n, len(b.inventories))
		for i := range n {
			out = append(out, seededImage{r, b.inventories[i*len(b.inventories)/n]})
		}
	}
	return out
}

// occurrences say where packages lie, by inventory, as the column holds it.
func (s *seeder) occurrences() ([][]byte, error) {
	out := make([][]byte, len(s.world.inventories))
	for i, h := range s.world.inventories {
		list := make([]inventory.Occurrence, len(h.packages))
		for m, n := range h.packages {
			p := s.world.packages[n]
			path := "/srv/app/vendor/" + p.Name + "/package.json"
			switch p.Type {
			case "deb":
				path = "/var/lib/dpkg/status"
			case "apk":
				path = "/lib/apk/db/installed"
			}
			list[m] = inventory.Occurrence{Member: m, ID: fmt.Sprintf("%016x", n), Locations: []inventory.Location{{Path: path, Layer: fmt.Sprintf("sha256:%064d", m%layersEach)}}, Licenses: []string{"MIT"}}
		}
		encoded, err := json.Marshal(map[string]any{"occurrences": list})
		if err != nil {
			return nil, err
		}
		out[i] = s.pack.EncodeAll(encoded, nil)
	}
	return out, nil
}
