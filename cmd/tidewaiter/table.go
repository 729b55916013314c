package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// table is a listing for people. Cells hold names that images, registries and feeds
// choose: nothing but what prints gets through. On a terminal the columns that may
// give way are cut until a row fits into a line; anywhere else everything is
// written as it is.
type table struct {
	head []string
	// gives names the columns that may be cut, by their number; the widest gives
	// first. Names that are typed again, as of repositories and images, never do.
	gives []int
	rows  [][]string
}

// narrowest is how far a column gives way, in characters.
const narrowest = 16

const columnGap = "  "

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = line(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// write writes the table, nothing when it has no rows.
func (t *table) write(w io.Writer) error {
	if len(t.rows) == 0 {
		return nil
	}
	all := append([][]string{t.head}, t.rows...)
	widths := t.widths(all, terminalWidth(w))
	var b strings.Builder
	for _, row := range all {
		var out strings.Builder
		for i, text := range row {
			text = cut(text, widths[i])
			out.WriteString(text)
			if i < len(row)-1 {
				out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)) + columnGap)
			}
		}
		b.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// widths are those of the columns, in a line of that many characters; zero for as
// many as it takes.
func (t *table) widths(all [][]string, most int) []int {
	widths := make([]int, len(t.head))
	sum := len(columnGap) * (len(t.head) - 1)
	for i := range t.head {
		for _, row := range all {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		sum += widths[i]
	}
	for ; most > 0 && sum > most; sum-- {
		widest := -1
		for _, i := range t.gives {
			if widths[i] > narrowest && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// cut shortens a text to a number of characters.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	runes := []rune(text)
	return string(runes[:most-1]) + "…"
}

// terminalWidth is how wide the terminal is that w writes to, as $COLUMNS or the
// terminal itself says; zero for what is no terminal.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
