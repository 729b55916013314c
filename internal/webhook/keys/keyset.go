package keys

import "github.com/tidewaiter/tidewaiter/internal/jwks"

// Algorithms lists the names of the algorithms a token may be signed with (RFC
// 7518, section 3.1).
func Algorithms() []string { return jwks.Usual().Names() }

// ParseSet reads a JSON Web Key Set (RFC 7517, section 5), as jwks.Parse does. The
// error is of kind Invalid.
func ParseSet(text []byte) (jwks.Set, error) { return jwks.Parse(text, jwks.Usual()) }
