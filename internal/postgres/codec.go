package postgres

import (
	"encoding/json"

	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// maxDecoded bounds what one stored document may unpack to, in bytes.
const maxDecoded = 1 << 30

// codec compresses what is stored as bytes. It is made once: an encoder costs a
// hundred times what it takes to compress one package. It is safe for concurrent
// use.
type codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec() codec {
	// On SBOMs the fastest level takes a quarter of the time of the next one, and
	// the result is not larger.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // only bad options fail, and there are none
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDecoded))
	if err != nil {
		panic(err) // as above
	}
	return codec{encoder, decoder}
}

// pack compresses b with zstd.
func (c codec) pack(b []byte) []byte { return c.encoder.EncodeAll(b, nil) }

// unpack reverses pack.
func (c codec) unpack(b []byte) ([]byte, error) {
	out, err := c.decoder.DecodeAll(b, nil)
	return out, errs.Wrap(errs.Malformed, "postgres: decompress", err)
}

// packJSON compresses the JSON form of v.
func (c codec) packJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "postgres: encode", err)
	}
	return c.pack(b), nil
}

// unpackJSON reverses packJSON into v, a pointer.
func (c codec) unpackJSON(b []byte, v any) error {
	raw, err := c.unpack(b)
	if err != nil {
		return err
	}
	return errs.Wrap(errs.Malformed, "postgres: decode", json.Unmarshal(raw, v))
}
