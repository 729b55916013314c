package catalog

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
)

// Evils are what a worker process may do that is in the hands of an image: each
// takes the orders of a job and answers as it likes.
func Evils() map[string]func(*EvilWorker) {
	return map[string]func(*EvilWorker){
		"announces gigabytes": func(w *EvilWorker) {
			header := append(binary.BigEndian.AppendUint32(nil, 0xfffffff0), kindDocument)
			_, _ = os.Stdout.Write(header)
			for {
				if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
					return
				}
			}
		},
		"speaks no language":      func(*EvilWorker) { _, _ = os.Stdout.Write(bytes.Repeat([]byte{0xff, 0, 7}, 1<<20)) },
		"sends what has no place": func(w *EvilWorker) { w.send(kindImage, nil) },
		"hands in a result of half": func(w *EvilWorker) {
			w.send(kindDone, outcome{})
			w.raw(kindDocument, "{}")
			w.send(kindFailed, failure{})
		},
		"counts backwards":            func(w *EvilWorker) { w.send(kindDone, outcome{Packages: -5}) },
		"counts beyond the limit":     func(w *EvilWorker) { w.send(kindDone, outcome{Packages: 1 << 40}) },
		"says nothing of the outcome": func(w *EvilWorker) { w.raw(kindDone, "\x00\xff") },
		"hands in no inventory": func(w *EvilWorker) {
			w.send(kindDone, outcome{})
			w.raw(kindDocument, "{}")
			w.raw(kindInventory, strings.Repeat("\xff", 1000))
		},
		"hands in an inventory that does not fit": func(w *EvilWorker) {
			w.send(kindDone, outcome{})
			w.raw(kindDocument, "{}")
			inv := inventory.Inventory{Packages: []inventory.Package{{Name: "a"}}, Members: []inventory.Member{{Package: 7}}}
			w.raw(kindInventory, string(inv.Encode()))
		},
		"wants what is not there":   func(w *EvilWorker) { w.send(kindWanted, variant{Layer: 99}) },
		"wants a negative":          func(w *EvilWorker) { w.send(kindWanted, variant{Layer: -1}) },
		"wants and wants":           func(w *EvilWorker) { w.wantForever() },
		"answers what nobody asked": func(w *EvilWorker) { w.send(kindUnpacked, unpacked{variant: variant{Layer: 3, Everything: true}}) },
		"reads another layer": func(w *EvilWorker) {
			w.unpack(func(u *unpacked, _ string) { u.DiffID = "sha256:" + strings.Repeat("0", 64) })
		},
		"leaves nothing": func(w *EvilWorker) { w.unpack(func(*unpacked, string) {}) },
		"leaves a link to our secrets": func(w *EvilWorker) {
			w.unpack(func(_ *unpacked, dir string) {
				_ = os.Symlink("/etc/passwd", filepath.Join(dir, "index"))
				_ = os.Symlink("/etc/passwd", filepath.Join(dir, "contents"))
			})
		},
		"leaves garbage": func(w *EvilWorker) {
			w.unpack(func(_ *unpacked, dir string) {
				_ = os.WriteFile(filepath.Join(dir, "index"), bytes.Repeat([]byte("garbage"), 1<<16), 0o600)
				_ = os.WriteFile(filepath.Join(dir, "contents"), nil, 0o600)
			})
		},
		"dies at once": func(*EvilWorker) { os.Exit(7) },
	}
}

// EvilWorker does the worst it can think of.
type EvilWorker struct{ peer *sandbox.Peer }

// BeEvil is what an evil worker process runs.
func BeEvil(how string) {
	peer, err := sandbox.Join()
	if err != nil {
		os.Exit(1)
	}
	w := &EvilWorker{peer}
	_ = peer.Ready()
	for f := range peer.Frames() {
		if f.Kind == kindImage {
			Evils()[how](w)
		}
	}
}

func (w *EvilWorker) send(kind byte, message any) { _ = w.peer.Send(frame(kind, message)) }

func (w *EvilWorker) raw(kind byte, body string) {
	_ = w.peer.Send(sandbox.Frame{Kind: kind, Body: []byte(body)})
}

func (w *EvilWorker) wantForever() {
	for range 100_000 {
		if w.peer.Send(frame(kindWanted, variant{Layer: 0})) != nil {
			return
		}
	}
}

// unpack answers orders to unpack after do, and takes the blobs as they come.
func (w *EvilWorker) unpack(do func(u *unpacked, dir string)) {
	diffIDs := map[int]string{}
	for f := range w.peer.Frames() {
		switch f.Kind {
		case kindConfig:
			var config struct {
				RootFS struct {
					DiffIDs []string `json:"diff_ids"`
				} `json:"rootfs"`
			}
			_ = json.Unmarshal(f.Body, &config)
			for i, d := range config.RootFS.DiffIDs {
				diffIDs[i] = d
			}
		case kindUnpack:
			var order unpackOrder
			_ = json.Unmarshal(f.Body, &order)
			go func() {
				_ = w.peer.Lane(order.Lane).Close()
				u := unpacked{variant: order.variant, DiffID: diffIDs[order.Layer]}
				do(&u, order.Dir)
				w.send(kindUnpacked, u)
			}()
		case kindAbandon:
			w.send(kindFailed, failure{Kind: gaveUp, Sound: true})
		case kindLayer: // it was believed
			w.send(kindFailed, failure{Kind: errs.Internal, Text: "believed"})
		}
	}
}

// FailureError is the error that a failure which a worker tells of becomes.
func FailureError(kind errs.Kind, words string) error {
	return failure{Kind: kind, Text: words, Hint: words}.err()
}
