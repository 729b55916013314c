package main

import (
	"fmt"
	"time"
)

// largeImage is from which size on the bar for cold scans holds; smaller images
// are mostly fixed costs.
const largeImage = 50 << 20

func (c *engineCmd) printSingle(results map[string]*single) {
	fmt.Printf("Seconds, median of %d, all in one run. The raw limit is one pass of download, two sha256, gunzip and tar headers.\n", c.Runs)
	fmt.Println("Cold and warm are from the accepted event to the stored answer; warm is a layer with one npm and one Python package")
	fmt.Println("on layers that were read before.")
	fmt.Println()
	fmt.Println("| image | MB gz | packages | raw limit | cold | warm base | grype CLI | cold / raw | bar | grype / cold |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, n := range c.Name {
		m := results[n]
		raw, cold, grype := median(m.raw.wall), median(m.cold.wall), median(m.grype.wall)
		bar := "-"
		if m.size >= largeImage {
			bar = fmt.Sprintf("%.2f", (raw + raw/2 + 300*time.Millisecond).Seconds())
		}
		fmt.Printf("| %s | %.1f | %d | %.3f | %.3f | %.3f | %.2f | %s | %s | %s |\n", n, float64(m.size)/1e6, m.packages,
			raw.Seconds(), cold.Seconds(), median(m.warm.wall).Seconds(), grype.Seconds(), ratio(cold, raw), bar, ratio(grype, cold))
	}
	c.printTaken(results)
	c.printPhases("cold", results, func(m *single) map[string][]time.Duration { return m.phases })
	c.printPhases("warm base", results, func(m *single) map[string][]time.Duration { return m.warmPhases })
}

func (c *engineCmd) printTaken(results map[string]*single) {
	fmt.Println("\nProcessor seconds, most resident memory (MB) and bytes written (MB; of a cold scan, by the service and to the log of Postgres).")
	fmt.Println()
	fmt.Println("| image | raw CPU | cold CPU | + Postgres | warm CPU | grype CPU | cold memory | grype memory | written | Postgres log |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, n := range c.Name {
		m := results[n]
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.0f | %.0f | %.1f | %.1f |\n", n, median(m.raw.cpu).Seconds(), median(m.cold.cpu).Seconds(),
			median(m.postgres).Seconds(), median(m.warm.cpu).Seconds(), median(m.grype.cpu).Seconds(), megabytes(median(m.cold.resident)),
			megabytes(median(m.grype.resident)), megabytes(median(m.written)), megabytes(median(m.wal)))
	}
}

func (c *engineCmd) printPhases(kind string, results map[string]*single, of func(*single) map[string][]time.Duration) {
	fmt.Printf("\nMilliseconds of the phases, %s.\n\n", kind)
	fmt.Println("| image | resolve | pull + catalogue | inventory | match | store |")
	fmt.Println("|---|---:|---:|---:|---:|---:|")
	for _, n := range c.Name {
		fmt.Printf("| %s |", n)
		for _, p := range phases {
			fmt.Printf(" %.0f |", ms(median(of(results[n])[p])))
		}
		fmt.Println()
	}
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

func ratio(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", a.Seconds()/b.Seconds())
}
