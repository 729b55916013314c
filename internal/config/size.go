package config

import (
	"math"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Size is a number of bytes, written as "20GiB".
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a whole number with one of the units B, KiB, MiB, GiB, TiB; no
// unit means bytes. Decimal units are refused, because people differ on what
// they mean. The error is of kind Invalid.
func ParseSize(s string) (Size, error) {
	number, unit := s, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, unit = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil || n < 0 || number[0] == '+':
		return 0, errs.New(errs.Invalid, "%.40q is not a size: write a whole number with B, KiB, MiB, GiB or TiB, as 20GiB", s)
	case n > math.MaxInt64/unit:
		return 0, errs.New(errs.Invalid, "%.40q is too large a size", s)
	}
	return Size(n * unit), nil
}

// String returns the size in the largest unit that leaves a whole number.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}
