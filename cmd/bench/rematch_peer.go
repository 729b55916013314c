package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// peer runs the grype program over the SBOMs, one after the other, with the
// newer database: what judging again takes where SBOMs are kept and nothing is
// known of packages. The time of one is then counted for every inventory.
func (c *rematchCmd) peer(ctx context.Context, g *ground, after vulndb.Installed) error {
	cache := filepath.Join(g.dir, "grype-cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(after.Dir, filepath.Join(cache, "6")); err != nil {
		return err
	}
	var packages int
	var walls, cpus []time.Duration
	for _, path := range c.SBOM {
		n, err := packagesIn(ctx, path)
		if err != nil {
			return err
		}
		packages += n
		for range c.PeerRuns {
			cmd := exec.CommandContext(ctx, c.Grype, "sbom:"+path, "-o", "json", "-q")
			cmd.Env = append(os.Environ(), grypeSettings(cache)...)
			p, err := runProgram(cmd)
			if err != nil {
				return fmt.Errorf("grype sbom:%s: %w", path, err)
			}
			walls, cpus = append(walls, p.took), append(cpus, p.cpu)
		}
	}
	wall, cpu := mean(walls), mean(cpus)
	fmt.Println("\n| grype sbom: | SBOMs | packages each | s each | CPU s each | for all inventories h | for all manifests h |\n|---|---:|---:|---:|---:|---:|---:|")
	fmt.Printf("| one after the other | %d | %d | %.2f | %.2f | %.1f | %.1f |\n", len(c.SBOM), packages/len(c.SBOM), wall.Seconds(), cpu.Seconds(),
		wall.Hours()*float64(c.Inventories), wall.Hours()*float64(c.Manifests))
	return nil
}

func packagesIn(ctx context.Context, path string) (int, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	inv, err := match.TakeInventory(ctx, sbom.Document{JSON: raw})
	if err != nil {
		return 0, err
	}
	return len(inv.Packages), nil
}

func mean(values []time.Duration) (sum time.Duration) {
	for _, v := range values {
		sum += v
	}
	return sum / time.Duration(max(1, len(values)))
}
