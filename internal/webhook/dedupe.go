package webhook

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
)

// longestID is the longest sender's id that is kept readable in a key.
const longestID = 128

// idKey makes a key of the sender's event id, "" without one. An id that is
// long or not printable is hashed, so that keys stay short and text.
func idKey(id string) string {
	switch {
	case id == "":
		return ""
	case len(id) > longestID || clean(id, longestID) != id:
		return contentKey("id", id)
	}
	return "id:" + id
}

// contentKey makes a key of an event's content; kind sets apart what different
// formats hash. Lengths are hashed too, so that parts cannot run into another.
func contentKey(kind string, parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:", len(part))
		_, _ = io.WriteString(h, part) // a hash never fails
	}
	return kind + "-sha256:" + hex.EncodeToString(h.Sum(nil))
}

// setKeys gives a key of its own to every item without one, and makes keys
// unique inside the request: further items with the same key get "#2", "#3" in
// the order of the payload, which is the same when the sender tries again.
func setKeys(items []Item) {
	repeats, taken := make(map[string]int, len(items)), make(map[string]bool, len(items))
	for i := range items {
		if items[i].DedupeKey == "" {
			items[i].DedupeKey = "once:" + rand.Text()
		}
		base := items[i].DedupeKey
		key := base
		for taken[key] {
			repeats[base]++
			key = base + "#" + strconv.Itoa(repeats[base]+1)
		}
		items[i].DedupeKey, taken[key] = key, true
	}
}
