package vulndb

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// packed opens a build of a library for handing on.
func packed(t *testing.T, lib *Library, checksum string) *Packed {
	t.Helper()
	p, err := lib.Pack(t.Context(), checksum, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// content hands on what is packed, and counts the bytes that were asked for.
func content(p *Packed, asked *atomic.Int64) Bytes {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		asked.Add(p.Size - offset)
		return io.NopCloser(io.NewSectionReader(p, offset, p.Size-offset)), nil
	}
}

func TestABuildIsHandedOnAsItWasDelivered(t *testing.T) {
	bare := save(t, "vulnerability.db", database(t))
	for _, tt := range []struct {
		name, path string
		again      bool // packed again: nobody kept an archive
	}{
		{"an archive", buildSample(t, "a.tar.zst").Archive, false},
		{"a gzipped archive", buildSample(t, "a.tar.gz").Archive, false},
		{"a bare database", bare, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := openLibrary(t, Config{})
			in, err := from.Import(t.Context(), tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // what was received can be handed on as well
				p := packed(t, from, in.Checksum)
				if (p.Database != in.Checksum) != tt.again {
					t.Errorf("%s packs database %s", in.Checksum, p.Database)
				}
				var asked atomic.Int64
				lib := openLibrary(t, Config{})
				got, err := lib.Receive(t.Context(), p.Parcel, content(p, &asked), nil)
				if err != nil {
					t.Fatal(err)
				}
				ignore := cmpopts.IgnoreFields(Installed{}, "Dir", "InstalledAt", "Archive", "Database", "Bytes")
				if diff := cmp.Diff(in, got, ignore); diff != "" {
					t.Error(diff)
				}
				wantUsable(t, lib, got)
				wantClean(t, lib)
				if _, err := lib.Receive(t.Context(), p.Parcel, content(p, &asked), nil); err != nil || asked.Load() != p.Size {
					t.Errorf("asked for %d bytes, want %d once (%v)", asked.Load(), p.Size, err)
				}
				from = lib
			}
		})
	}
}

func TestAReceivedBuildIsCurrentOnlyInPlaceOfOlderData(t *testing.T) {
	from, lib := openLibrary(t, Config{}), openLibrary(t, Config{})
	older, err := from.Import(t.Context(), buildDated(t, sampleDate.AddDate(0, 0, -1)).Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := lib.Import(t.Context(), buildDated(t, sampleDate).Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	p := packed(t, from, older.Checksum)
	if _, err := lib.Receive(t.Context(), p.Parcel, content(p, &asked), nil); err != nil {
		t.Fatal(err)
	}
	wantUsable(t, lib, newer)
	if _, err := lib.Get(older.Checksum); err != nil {
		t.Errorf("the older build did not get there: %v", err)
	}
}

func TestReceivingGoesOnWhereItWasCutOff(t *testing.T) {
	from := openLibrary(t, Config{})
	in, err := from.Import(t.Context(), buildSample(t, "a.tar.zst").Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := packed(t, from, in.Checksum)
	cut := errs.New(errs.Unavailable, "gone")
	dir := t.TempDir()
	lib := openLibrary(t, Config{Dir: dir})
	_, err = lib.Receive(t.Context(), p.Parcel, func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(io.NewSectionReader(p, 0, p.Size/2), failing{cut})), nil
	}, nil)
	if !errors.Is(err, cut) {
		t.Fatalf("got %v", err)
	}
	var asked atomic.Int64
	next := openLibrary(t, Config{Dir: dir}) // as after a restart
	got, err := next.Receive(t.Context(), p.Parcel, content(p, &asked), nil)
	if err != nil {
		t.Fatal(err)
	}
	if asked.Load() != p.Size-p.Size/2 {
		t.Errorf("asked for %d of %d bytes, want half of them", asked.Load(), p.Size)
	}
	wantUsable(t, next, got)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestWhatIsNotAsPromisedIsNotInstalled(t *testing.T) {
	from := openLibrary(t, Config{})
	in, err := from.Import(t.Context(), buildSample(t, "a.tar.zst").Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := packed(t, from, in.Checksum)
	other := in.Checksum[:len(in.Checksum)-4] + "beef"
	zeros := func(context.Context, int64) (io.ReadCloser, error) { return io.NopCloser(zero{}), nil }
	var asked atomic.Int64
	for _, tt := range []struct {
		name    string
		change  func(*Parcel)
		content Bytes
		kind    errs.Kind
	}{
		{"other bytes, without end", func(*Parcel) {}, zeros, errs.TooLarge},
		{"too few bytes", func(*Parcel) {}, func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(p, 0, 100)), nil
		}, errs.Malformed},
		{"another database", func(p *Parcel) { p.Database = other }, content(p, &asked), errs.Malformed},
		{"another digest", func(p *Parcel) { p.Digest = other }, content(p, &asked), errs.Malformed},
		{"a name that leaves the directory", func(p *Parcel) { p.Digest = "sha256:../../x" }, content(p, &asked), errs.Invalid},
		{"no size", func(p *Parcel) { p.Size = 0 }, content(p, &asked), errs.TooLarge},
		{"a size beyond the limit", func(p *Parcel) { p.Size = 1 << 40 }, content(p, &asked), errs.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lib := openLibrary(t, Config{MaxBytes: 1 << 30})
			parcel := p.Parcel
			tt.change(&parcel)
			if _, err := lib.Receive(t.Context(), parcel, tt.content, nil); !errs.Is(err, tt.kind) {
				t.Errorf("got %v, want kind %s", err, tt.kind)
			}
			if _, err := lib.Current(); !errs.Is(err, errs.NotFound) {
				t.Errorf("something was installed: %v", err)
			}
		})
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestOnlyOneReceives(t *testing.T) {
	from := openLibrary(t, Config{})
	in, err := from.Import(t.Context(), buildSample(t, "a.tar.zst").Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := packed(t, from, in.Checksum)
	dir := t.TempDir()
	var asked atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		lib := openLibrary(t, Config{Dir: dir})
		all.Go(func() {
			if _, err := lib.Receive(t.Context(), p.Parcel, content(p, &asked), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if asked.Load() != p.Size {
		t.Errorf("asked for %d bytes, want %d", asked.Load(), p.Size)
	}
}

func TestAnArchiveThatWasTamperedWithIsPackedAgain(t *testing.T) {
	lib := openLibrary(t, Config{})
	in, err := lib.Import(t.Context(), buildSample(t, "a.tar.zst").Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in.Dir, archiveFile), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := packed(t, lib, in.Checksum)
	if p.Digest == in.Archive || p.Database == in.Checksum {
		t.Errorf("%+v was not packed again", p.Parcel)
	}
}
