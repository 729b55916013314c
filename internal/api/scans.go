package api

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// scans answers GET /scans.
func (h *handler) scans(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	var filter report.ScanFilter
	if given := q.text("repository"); given != "" {
		ref := h.located(q, "repository", given, h.repository).ref()
		filter.Repository = &ref
	}
	var err error
	filter.State, err = report.ParseRunState(q.text("state"))
	q.keep("state", err)
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Scans(r.Context(), who.Access, filter, page)
	return reply(w, found, err)
}

// scan answers GET /scans/{id}.
func (h *handler) scan(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	id, err := numberInPath(r, "scan")
	if err != nil {
		return err
	}
	found, err := h.Reader.Scan(r.Context(), who.Access, id)
	return reply(w, found, err)
}

func scanPath(id int64) string { return Prefix + "/scans/" + strconv.FormatInt(id, 10) }

// scanRequest is the body of POST /scans.
type scanRequest struct {
	Image string `json:"image"`
}

// maxScanRequest bounds that body, in bytes.
const maxScanRequest = 64 << 10

// requestScan answers POST /scans.
func (h *handler) requestScan(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	var asked scanRequest
	if err := readJSON(http.MaxBytesReader(w, r.Body, maxScanRequest), &asked, `{"image": "HOST/NAME:TAG"}`); err != nil {
		return err
	}
	c := changeOf(r)
	c.about(asked.Image)
	ref, err := h.wanted(r, asked.Image)
	if err != nil {
		return err
	}
	c.about(ref.String())
	if !who.Access.Sees(ref.Name()) {
		return hidden(ref)
	}
	id, err := h.Requests.RequestScan(r.Context(), ref)
	if err != nil {
		return errs.Op("api: request scan", err)
	}
	c.made("scan", id)
	h.Logger.InfoContext(r.Context(), "scan requested", slog.String("token", who.Token), slog.String("image", ref.String()), slog.Int64("scan", id))
	queued, err := h.Reader.Scan(r.Context(), report.Access{}, id)
	if err != nil {
		return err
	}
	w.Header().Set("Location", scanPath(id))
	return writeJSON(w, http.StatusAccepted, queued)
}

// wanted reads the image of a request, under its registry's own host.
func (h *handler) wanted(r *http.Request, given string) (image.Reference, error) {
	if given == "" {
		return image.Reference{}, errs.New(errs.Invalid, "field image is missing: write it as HOST/NAME:TAG or HOST/NAME@DIGEST").WithField("image")
	}
	l, err := h.reference(given)
	if err != nil {
		return image.Reference{}, withField(err, "image")
	}
	if l.registry == report.UploadRegistry {
		return image.Reference{}, errs.New(errs.Invalid, "an uploaded SBOM is judged when it comes and kept current after").
			WithField("image").WithHint("upload it again with POST %s/sboms", Prefix)
	}
	return h.canonical(r.Context(), l)
}

// hidden is what a limited caller is told of a repository outside its prefixes:
// the same as of one that does not exist.
func hidden(ref image.Reference) error {
	return errs.New(errs.NotFound, "no repository %.300q is known", ref.Name()).
		WithHint("the token may be limited to other repositories")
}

// readJSON reads a body that is one JSON value with known fields only, such as
// the example.
func readJSON(body io.Reader, into any, example string) error {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			return errs.New(errs.Invalid, "the body holds more than one JSON value").WithField("body")
		}
		return nil
	}
	if err = bodyError(err); errs.KindOf(err) != errs.Invalid {
		return errs.Op("api: read body", err)
	}
	return errs.New(errs.Invalid, "the body cannot be read: %v", err).WithField("body").
		WithHint("send %s", example)
}
