package postgres

import (
	"encoding/json"

	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// maxDecoded bounds what one stored document may unpack to, in bytes.
const maxDecoded = 1 << 30

// pack compresses b with zstd.
func pack(b []byte) ([]byte, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "postgres: compress", err)
	}
	defer func() { _ = encoder.Close() }()
	return encoder.EncodeAll(b, nil), nil
}

// unpack reverses pack.
func unpack(b []byte) ([]byte, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoded))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "postgres: decompress", err)
	}
	defer decoder.Close()
	out, err := decoder.DecodeAll(b, nil)
	return out, errs.Wrap(errs.Malformed, "postgres: decompress", err)
}

// packJSON compresses the JSON form of v.
func packJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "postgres: encode", err)
	}
	return pack(b)
}

// unpackJSON reverses packJSON into v, a pointer.
func unpackJSON(b []byte, v any) error {
	raw, err := unpack(b)
	if err != nil {
		return err
	}
	return errs.Wrap(errs.Malformed, "postgres: decode", json.Unmarshal(raw, v))
}
