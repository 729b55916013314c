package housetest

import (
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

//go:generate go test . -run ^TestPictureShowsTheOutput$ -update

var update = flag.Bool("update", false, "draw docs/images/quickstart.svg again")

// What `go run ./cmd/quickstart` printed, with lines left out, and the picture of
// it in README.md.
const (
	outputFile  = "docs/images/quickstart.txt"
	pictureFile = "docs/images/quickstart.svg"
)

func TestPictureShowsTheOutput(t *testing.T) {
	want := picture(read(t, outputFile))
	if *update {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(pictureFile)), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if read(t, pictureFile) != want {
		t.Errorf("%s does not show %s; run go generate ./internal/housetest", pictureFile, outputFile)
	}
	if n := len(want); n > 32<<10 {
		t.Errorf("%s has %d bytes, which is much for a page to load", pictureFile, n)
	}
}

// coloured are the words that a terminal would show in a colour, by class.
var coloured = []struct {
	pattern *regexp.Regexp
	class   string
}{
	{regexp.MustCompile(`^  (ok) `), "good"},
	{regexp.MustCompile(`^\$ (.*)$`), "typed"},
	{regexp.MustCompile(`^(SEVERITY .*)$`), "head"},
	{regexp.MustCompile(`^(critical) `), "critical"},
	{regexp.MustCompile(`^(high) `), "high"},
	{regexp.MustCompile(`  (yes)$`), "critical"},
}

const style = `text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#c9d1d9;white-space:pre}` +
	`.good{fill:#3fb950}.typed{fill:#fff}.head{fill:#8b949e}.critical{fill:#ff7b72}.high{fill:#f0883e}`

// picture draws what a terminal showed as SVG.
func picture(output string) string {
	const across, down, margin, bar = 7.83, 19, 18, 30
	lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
	most := 0
	for _, line := range lines {
		most = max(most, utf8.RuneCountInString(line))
	}
	width, height := int(float64(most)*across)+2*margin, bar+len(lines)*down+margin
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Terminal">`+"\n", width, height, width, height)
	fmt.Fprintf(&svg, "<style>%s</style>\n", style)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" rx="8" fill="#0d1117"/>`+"\n", width, height)
	for i, colour := range []string{"#ff5f56", "#ffbd2e", "#27c93f"} {
		fmt.Fprintf(&svg, `<circle cx="%d" cy="15" r="5" fill="%s"/>`+"\n", margin+4+i*17, colour)
	}
	for i, line := range lines {
		if line != "" {
			fmt.Fprintf(&svg, `<text x="%d" y="%d" xml:space="preserve">%s</text>`+"\n", margin, bar+(i+1)*down-4, colour(line))
		}
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

// colour writes a line with its coloured words.
func colour(line string) string {
	var out strings.Builder
	at := 0
	for _, c := range coloured {
		m := c.pattern.FindStringSubmatchIndex(line)
		if m == nil || m[2] < at {
			continue
		}
		fmt.Fprintf(&out, `%s<tspan class="%s">%s</tspan>`, html.EscapeString(line[at:m[2]]), c.class, html.EscapeString(line[m[2]:m[3]]))
		at = m[3]
	}
	return out.String() + html.EscapeString(line[at:])
}
