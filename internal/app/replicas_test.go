package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
)

// TestAReplicaWithoutTheDatabaseInForceLeavesScansToTheOthers runs two replicas
// on one Postgres: one has the vulnerability database, the other has none and
// cannot fetch it.
func TestAReplicaWithoutTheDatabaseInForceLeavesScansToTheOthers(t *testing.T) {
	var shared config.Config
	s := start(t, func(c *config.Config) { shared = *c })
	s.until(`EXISTS (SELECT 1 FROM vuln_build WHERE state = 'active')`)
	other := shared
	other.Listen, other.VulnDB.Dir, other.Workers.Count = "127.0.0.1:0", t.TempDir(), 8
	replica, err := app.New(t.Context(), app.Options{Config: other, Logger: testLogger(t), Catalogues: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- replica.Run(ctx) }()
	for n, tag := range []string{"1", "2", "3", "4"} {
		s.pushed(withNPM(t, "lodash", "4.17."+string(rune('0'+n))), "demo/shop", tag)
	}
	if n := s.count("scan WHERE state <> 'done' OR attempt > 1"); n != 0 {
		t.Errorf("%d scans did not go through at the first attempt: %s", n, s.scans())
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the replica stopped with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the replica does not stop")
	}
}
