package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
	"github.com/spdx/tools-golang/convert"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/anchore/syft/syft/format/common/cyclonedxhelpers"
	"github.com/anchore/syft/syft/format/common/spdxhelpers"
	syftsbom "github.com/anchore/syft/syft/sbom"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// Encode writes a stored syft JSON document in another format: CycloneDX 1.6 or
// SPDX 2.3. The ids these formats demand are derived from the document, so the
// same document always has the same; only SPDX's creation time is the present
// one. The error is of kind Invalid when the document cannot be read.
func (c *Cataloger) Encode(ctx context.Context, syftJSON []byte, f sbom.Format) (out []byte, err error) {
	defer recoverInto(&err)
	if err := ctx.Err(); err != nil {
		return nil, errs.Op("catalog: encode", err)
	}
	write, ok := map[sbom.Format]func(io.Writer, syftsbom.SBOM, uuid.UUID) error{
		sbom.CycloneDXJSON: writeCycloneDX,
		sbom.SPDXJSON:      writeSPDX,
	}[f]
	if f == sbom.SyftJSON {
		return syftJSON, nil
	}
	if !ok {
		return nil, errs.New(errs.Invalid, "catalog: encode: unknown format %.40q", f)
	}
	bill, _, err := decode(syftJSON)
	if err != nil {
		return nil, errs.Op("catalog: encode", err)
	}
	var b bytes.Buffer
	if err := write(&b, *bill, idOf(syftJSON)); err != nil {
		return nil, errs.Op("catalog: encode "+string(f), err)
	}
	return b.Bytes(), nil
}

// idOf names a document by its content.
func idOf(document []byte) uuid.UUID {
	return uuid.NewHash(sha256.New(), uuid.NameSpaceURL, document, 8)
}

func writeCycloneDX(w io.Writer, bill syftsbom.SBOM, id uuid.UUID) error {
	bom := cyclonedxhelpers.ToFormatModel(bill)
	bom.SerialNumber = id.URN()
	if bom.Metadata != nil {
		// Optional, and the present time says nothing about the document.
		bom.Metadata.Timestamp = ""
	}
	e := cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON)
	e.SetEscapeHTML(false)
	return e.EncodeVersion(bom, cyclonedx.SpecVersion1_6)
}

func writeSPDX(w io.Writer, bill syftsbom.SBOM, id uuid.UUID) error {
	model := spdxhelpers.ToFormatModel(bill)
	// The namespace ends with a random id that makes it unique.
	if n := len(model.DocumentNamespace) - len(id.String()); n > 0 {
		model.DocumentNamespace = model.DocumentNamespace[:n] + id.String()
	}
	var doc v2_3.Document
	if err := convert.Document(model, &doc); err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}
