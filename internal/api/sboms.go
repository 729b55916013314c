package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// How many documents are held at once: uploads of up to UploadBytes, and stored
// ones that are converted, which takes several times their size.
const (
	maxUploading  = 8
	maxConverting = 2
)

// place takes one of the places for work on whole documents.
func (h *handler) place(places chan struct{}, full string) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		h.metrics.reject("rate_limited")
		return nil, httpserver.TooMany(2*time.Second, "%s", full)
	}
}

// sbom answers GET /sbom with the document itself.
func (h *handler) sbom(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	target := h.referenceParameter(q).target()
	platform := q.platform()
	format, err := sbom.ParseFormat(q.text("format"))
	q.keep("format", err)
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.SBOM(r.Context(), who.Access, target, platform)
	if err != nil {
		return err
	}
	body := found.JSON
	if format != sbom.SyftJSON {
		leave, err := h.place(h.converting, "too many SBOMs are being converted")
		if err != nil {
			return err
		}
		defer leave()
		if body, err = h.SBOMs.Encode(r.Context(), body, format); err != nil {
			return errs.Op("api: encode SBOM as "+string(format), err)
		}
	}
	w.Header().Set("Content-Type", format.MediaType())
	w.WriteHeader(http.StatusOK)
	// The caller may be gone; there is nobody left to tell.
	_, _ = w.Write(body)
	return nil
}

// Upload is the answer to an uploaded SBOM.
type Upload struct {
	// Image is what the answer is asked for with, as "sboms/team/app:1.2".
	Image  string       `json:"image"`
	Digest image.Digest `json:"digest"`
	Scan   report.Scan  `json:"scan"`
}

// upload answers POST /sboms.
func (h *handler) upload(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	repository, tag := uploadName(q)
	if err := q.done(); err != nil {
		return err
	}
	ref := image.Reference{Registry: report.UploadRegistry, Repository: repository, Tag: tag}
	if !who.Access.Sees(ref.Name()) {
		return hidden(ref)
	}
	c := changeOf(r)
	c.about(ref.String())
	leave, err := h.place(h.uploading, "too many SBOMs are being uploaded")
	if err != nil {
		return err
	}
	defer leave()
	document, err := readDocument(http.MaxBytesReader(w, r.Body, h.UploadBytes), r.Header.Get("Content-Encoding"))
	if err != nil {
		return err
	}
	r, cancel := h.timed(r)
	defer cancel()
	id, digest, err := h.Requests.Upload(r.Context(), repository, tag, document)
	if err != nil {
		return errs.Op("api: take SBOM", err)
	}
	c.made("digest", string(digest), "scan", id)
	h.Logger.InfoContext(r.Context(), "sbom uploaded", slog.String("token", who.Token), slog.String("image", ref.String()), slog.Int64("scan", id))
	queued, err := h.Reader.Scan(r.Context(), report.Access{}, id)
	if err != nil {
		return err
	}
	w.Header().Set("Location", scanPath(id))
	return writeJSON(w, http.StatusAccepted, Upload{Image: ref.String(), Digest: digest, Scan: queued})
}

// uploadName reads repository and tag of an upload; without a host, for there is
// only one place. The name as answers show it, with that place before it, is
// taken for the same.
func uploadName(q *query) (repository, tag string) {
	repository, tag = strings.TrimPrefix(q.text("repository"), report.UploadRegistry+"/"), q.text("tag")
	if tag == "" {
		tag = "latest"
	}
	parsed, err := image.ParseRepository(bareHost + "/" + repository)
	switch {
	case repository == "":
		q.fail("repository", "parameter repository is missing: write it as team/app, without a host")
	case err != nil || parsed.Repository != repository:
		q.fail("repository", "parameter repository is %.200q, not a name such as team/app", repository)
	case !image.IsTag(tag):
		q.fail("tag", "parameter tag is %.150q, not a tag", tag)
	}
	return repository, tag
}

// readDocument reads a body that has to be a JSON object with the mark of a
// format that is read. Whether it keeps to the format is found out when it is
// judged.
func readDocument(body io.Reader, encoding string) ([]byte, error) {
	if encoding != "" && encoding != "identity" {
		return nil, errs.New(errs.Invalid, "the body's encoding %.40q is not read here", encoding).WithField("body").
			WithHint("send the document uncompressed")
	}
	document, err := io.ReadAll(body)
	if err != nil {
		return nil, errs.Op("api: read body", bodyError(err))
	}
	if first := bytes.TrimLeft(document, " \t\r\n"); len(first) == 0 || first[0] != '{' || !json.Valid(document) {
		return nil, errs.New(errs.Invalid, "the body is not a JSON object").WithField("body").
			WithHint(sendSBOM)
	}
	var marks sbomMarks
	if err := json.Unmarshal(document, &marks); err != nil {
		return nil, errs.Wrap(errs.Invalid, "body", err)
	}
	if !marks.Artifacts && !marks.BOMFormat && !marks.SPDXVersion {
		return nil, errs.New(errs.Invalid, "the body is no SBOM: it has none of the keys artifacts (syft), bomFormat (CycloneDX) and spdxVersion (SPDX)").
			WithField("body").WithHint(sendSBOM)
	}
	return document, nil
}

const sendSBOM = "send an SBOM as syft JSON, CycloneDX JSON or SPDX JSON"

// sbomMarks are the keys that tell the formats of SBOMs apart.
type sbomMarks struct {
	Artifacts   present `json:"artifacts"`
	BOMFormat   present `json:"bomFormat"`
	SPDXVersion present `json:"spdxVersion"`
}

// present is whether a key is there, whatever it holds.
type present bool

// UnmarshalJSON is called for a key that is there.
func (p *present) UnmarshalJSON([]byte) error {
	*p = true
	return nil
}
