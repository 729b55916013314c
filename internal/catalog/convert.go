package catalog

import (
	"bytes"
	"context"

	"github.com/anchore/syft/syft/format"
	"github.com/anchore/syft/syft/format/cyclonedxjson"
	"github.com/anchore/syft/syft/format/spdxjson"
	"github.com/anchore/syft/syft/format/syftjson"
	syftsbom "github.com/anchore/syft/syft/sbom"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// Convert reads a syft JSON, CycloneDX JSON or SPDX JSON document and returns it
// as the syft JSON that an image's own catalogue would be, keeping the name and
// version of the tool that made it as far as the document tells. The error is of kind Invalid when the
// document cannot be read, TooLarge when a limit of Options is exceeded.
func (c *Cataloger) Convert(ctx context.Context, document []byte) (doc sbom.Document, err error) {
	defer recoverInto(&err)
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return sbom.Document{}, errs.Op("catalog: convert", err)
	}
	if c.options.Workers != nil {
		doc, err = c.convertOutside(ctx, document)
		return doc, errs.Op("catalog: convert", err)
	}
	bill, id, err := decode(document)
	if err != nil {
		return sbom.Document{}, errs.Op("catalog: convert", err)
	}
	if id != syftjson.ID {
		settleQualifiers(bill)
	}
	doc, err = c.document(bill)
	return doc, errs.Op("catalog: convert", err)
}

// decode reads a document of one of the three formats. Syft's own list has
// formats that take any text for a document.
func decode(document []byte) (*syftsbom.SBOM, syftsbom.FormatID, error) {
	decoders := format.NewDecoderCollection(syftjson.NewFormatDecoder(), cyclonedxjson.NewFormatDecoder(), spdxjson.NewFormatDecoder())
	bill, id, _, err := decoders.Decode(bytes.NewReader(document))
	if err == nil && bill == nil {
		err = errs.New(errs.Invalid, "the document is empty")
	}
	if err != nil {
		return nil, "", &errs.Error{Kind: errs.Invalid, Op: "read document", Err: err, Hint: "send syft JSON, CycloneDX JSON or SPDX JSON"}
	}
	return bill, id, nil
}
