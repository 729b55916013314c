package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// places are where the packages of images lie, by manifest id and member.
type places map[int64]map[int][]report.Location

// readPlaces decodes the locations of the images that have a finding of the
// page, and names the layer of each. Only members of the page are kept.
func readPlaces(ctx context.Context, at snapshot, images []scopeImage, found []findingRow) (places, error) {
	const query = `SELECT manifest_id, occurrences FROM sbom WHERE manifest_id = ANY (@ids)`
	type row struct {
		ManifestID  int64
		Occurrences []byte
	}
	wanted := wantedMembers(images, found)
	ids := make([]int64, 0, len(wanted))
	for id := range wanted {
		ids = append(ids, id)
	}
	stored, err := rows[row](ctx, at, query, pgx.NamedArgs{"ids": ids})
	if err != nil {
		return nil, err
	}
	layers, err := readLayers(ctx, at, ids)
	if err != nil {
		return nil, err
	}
	out := make(places, len(stored))
	for _, s := range stored {
		var packed occurrenceRow
		if err := at.unpackJSON(s.Occurrences, &packed); err != nil {
			return nil, err
		}
		out[s.ManifestID] = map[int][]report.Location{}
		for _, o := range packed.Occurrences {
			if wanted[s.ManifestID][o.Member] {
				out[s.ManifestID][o.Member] = append(out[s.ManifestID][o.Member], locate(o, layers[s.ManifestID])...)
			}
		}
	}
	return out, nil
}

// wantedMembers lists the members that have a finding, by manifest id.
func wantedMembers(images []scopeImage, found []findingRow) map[int64]map[int]bool {
	of := map[int64]map[int]bool{} // by inventory
	for _, r := range found {
		for i, id := range r.Inventories {
			if of[id] == nil {
				of[id] = map[int]bool{}
			}
			of[id][int(r.Members[i])] = true
		}
	}
	out := map[int64]map[int]bool{}
	for _, i := range images {
		if of[i.InventoryID] != nil && !i.unplaced {
			out[i.ManifestID] = of[i.InventoryID]
		}
	}
	return out
}

type layerRow struct {
	ManifestID int64
	Position   int
	Digest     string
	DiffID     string
	CreatedBy  string
}

func readLayers(ctx context.Context, at snapshot, manifests []int64) (map[int64][]layerRow, error) {
	const query = `
		SELECT l.manifest_id, l.position, l.digest, l.diff_id, l.created_by
		  FROM manifest_layer l
		 WHERE l.manifest_id = ANY (@ids)
		 ORDER BY l.manifest_id, l.position`
	stored, err := rows[layerRow](ctx, at, query, pgx.NamedArgs{"ids": manifests})
	out := map[int64][]layerRow{}
	for _, l := range stored {
		out[l.ManifestID] = append(out[l.ManifestID], l)
	}
	return out, err
}

// locate names the layer of each place by its diffID; the topmost when a diffID
// stands twice, for that is the one whose content counts.
func locate(o inventory.Occurrence, layers []layerRow) []report.Location {
	out := make([]report.Location, 0, len(o.Locations))
	for _, l := range o.Locations {
		at := report.Location{Path: l.Path, DiffID: l.Layer}
		for _, layer := range slices.Backward(layers) {
			if l.Layer != "" && layer.DiffID == l.Layer {
				index := layer.Position
				at.LayerIndex, at.LayerDigest, at.CreatedBy = &index, image.Digest(layer.Digest), layer.CreatedBy
				break
			}
		}
		out = append(out, at)
	}
	return out
}

// add lists the places of a finding in the given images.
func (p places) add(f *report.Finding, r findingRow, images []scopeImage) {
	for _, i := range images {
		seen := map[int32]bool{}
		for n, id := range r.Inventories {
			member := r.Members[n]
			if id != i.InventoryID || seen[member] || r.Ignored[n] != "" && !f.Ignored {
				continue
			}
			seen[member] = true
			for _, l := range p[i.ManifestID][int(member)] {
				if f.LocationsTotal++; len(f.Locations) < report.MaxLocations {
					l.Image = image.Digest(i.Digest)
					f.Locations = append(f.Locations, l)
				}
			}
		}
	}
}
