package vulndb

import (
	"context"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestUpdate(t *testing.T) {
	m := newMirror(t)
	lib := m.library(t)
	steps := []struct {
		name    string
		built   time.Time // published before the step; zero for nothing new
		changed bool
		want    time.Time
		asks    int // requests
	}{
		{"first", sampleDate, true, sampleDate, 2},
		{"no change", time.Time{}, false, sampleDate, 1},
		{"newer", sampleDate.Add(time.Hour), true, sampleDate.Add(time.Hour), 2},
		{"older", sampleDate.Add(-time.Hour), false, sampleDate.Add(time.Hour), 1},
		{"newer again", sampleDate.Add(2 * time.Hour), true, sampleDate.Add(2 * time.Hour), 2},
	}
	for _, s := range steps {
		if !s.built.IsZero() {
			m.publish(t, s.built)
		}
		in, changed, err := lib.Update(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if changed != s.changed || !in.Built.Equal(s.want) {
			t.Errorf("%s: changed %v to %v, want %v to %v", s.name, changed, in.Built, s.changed, s.want)
		}
		if got := m.asked(); len(got) != s.asks {
			t.Errorf("%s: asked for %v, want %d requests", s.name, got, s.asks)
		}
		if current, err := lib.Current(); err != nil || current.Checksum != in.Checksum {
			t.Errorf("%s: current is %+v (%v)", s.name, current, err)
		}
		unmark(t, lib)
		wantClean(t, lib)
	}
}

func TestUpdateReplacesASample(t *testing.T) {
	m := newMirror(t)
	lib := m.library(t)
	if _, err := lib.InstallSample(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	older := m.publish(t, sampleDate.AddDate(-1, 0, 0))
	in, changed, err := lib.Update(t.Context(), nil)
	if err != nil || !changed || in.Checksum != older.Checksum {
		t.Fatalf("update gave %+v, %v, %v", in, changed, err)
	}
	if in.Source != m.URL+"/databases/v6/"+path.Base(older.Archive) {
		t.Errorf("source %q", in.Source)
	}
	// The mirror itself serves a sample: it is not fetched again and again.
	m.asked()
	if _, changed, err := lib.Update(t.Context(), nil); err != nil || changed || len(m.asked()) != 1 {
		t.Errorf("a second update: changed %v, %v", changed, err)
	}
}

// TestUpdateReusesABuild: what was imported by hand is not fetched again.
func TestUpdateReusesABuild(t *testing.T) {
	m := newMirror(t)
	lib := m.library(t)
	newer := m.publish(t, sampleDate.Add(time.Hour))
	if _, err := lib.Import(t.Context(), newer.Archive, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := lib.InstallSample(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	in, changed, err := lib.Update(t.Context(), nil)
	if err != nil || !changed || in.Checksum != newer.Checksum {
		t.Fatalf("update gave %+v, %v, %v", in, changed, err)
	}
	if got := m.asked(); len(got) != 1 {
		t.Errorf("asked for %v", got)
	}
}

// TestConcurrentUpdates: of several processes one downloads.
func TestConcurrentUpdates(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	changes := 0
	for range 4 {
		lib := openLibrary(t, Config{Dir: dir, URL: m.URL + "/databases"})
		wg.Go(func() {
			_, changed, err := lib.Update(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			if changed {
				mu.Lock()
				changes++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	archives := 0
	for _, r := range m.asked() {
		if strings.Contains(r, ".tar.zst") {
			archives++
		}
	}
	if changes != 1 || archives != 1 {
		t.Errorf("%d processes changed the library with %d downloads, want one with one", changes, archives)
	}
}

func TestWaitingForALockEnds(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	lib := m.library(t)
	release, err := lib.lock(t.Context(), updateLockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err = lib.Update(ctx, nil)
	wantKind(t, err, errs.Timeout, "another process")
}

func TestUpdateReportsProgress(t *testing.T) {
	m := newMirror(t)
	report := m.publish(t, sampleDate)
	info, err := os.Stat(report.Archive)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string][2]int64{}
	var order []string
	_, _, err = m.library(t).Update(t.Context(), func(stage string, done, total int64) {
		if _, seen := last[stage]; !seen {
			order = append(order, stage)
		}
		last[stage] = [2]int64{done, total}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "checking downloading unpacking indexing" {
		t.Errorf("stages %q", got)
	}
	if want := [2]int64{info.Size(), info.Size()}; last["downloading"] != want || last["unpacking"] != want {
		t.Errorf("ended at %v, want %v", last, want)
	}
}
