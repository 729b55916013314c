package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Bounds of an export. Each holds a connection of the database and a moment of it
// that cannot be cleaned up.
const (
	maxExporting = 2
	exportTime   = 4 * time.Hour
	exportStall  = time.Minute // how long a caller may take for a piece
	exportPiece  = 64 << 10    // bytes
	exportPause  = 5 * time.Second
)

// export answers GET /export/findings with a stream. What goes wrong once it has
// begun cuts the connection, so that nobody takes a part for the whole.
func (h *handler) export(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.ExportFilter{FindingFilter: q.exportedFindings(), Registry: q.text("registry"), Prefix: q.text("prefix"), Repository: h.optionalRepository(q)}
	format := q.text("format")
	if format != "" && format != "ndjson" && format != "csv" {
		q.fail("format", "parameter format is %.40q, not ndjson or csv", format)
	}
	if err := q.done(); err != nil {
		return err
	}
	leave, err := h.place(h.exporting, "two exports are running")
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), exportTime)
	defer cancel()
	out := newExportStream(w, format)
	end, err := h.Reader.Export(ctx, who.Access, filter, out.start, out.row)
	if err == nil {
		err = out.end(end)
	}
	if err != nil && out.begun {
		h.Logger.WarnContext(ctx, "export was cut off", slog.String("token", who.Token), slog.String("error", err.Error()))
		panic(http.ErrAbortHandler)
	}
	return err
}

// exportedFindings reads the filters of findings; an export has an order of its
// own.
func (q *query) exportedFindings() report.FindingFilter {
	filter := findingFilter(q)
	if filter.Sort != report.SortRisk || q.values.Has("sort") {
		q.fail("sort", "an export has an order of its own: by repository, image and package")
	}
	return filter
}

// exportStream writes the rows of an export.
type exportStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buffer  *bufio.Writer
	table   *csv.Writer // nil for NDJSON
	begun   bool
	sent    time.Time // the last piece
}

func newExportStream(w http.ResponseWriter, format string) *exportStream {
	s := &exportStream{w: w, control: http.NewResponseController(w)}
	s.buffer = bufio.NewWriterSize(patient{s}, exportPiece)
	if format == "csv" {
		s.table = csv.NewWriter(s.buffer)
	}
	return s
}

// patient gives the caller time for each piece, however long the whole takes.
type patient struct{ s *exportStream }

// Write is called with whole pieces.
func (p patient) Write(b []byte) (int, error) {
	p.s.begun, p.s.sent = true, time.Now()
	_ = p.s.control.SetWriteDeadline(time.Now().Add(exportStall)) // a writer without deadlines has none to extend
	n, err := p.s.w.Write(b)
	if err != nil {
		return n, errs.Wrap(errs.Canceled, "api: send export", err)
	}
	_ = p.s.control.Flush() // a writer that cannot flush sends when it is full
	return n, nil
}

// exportHead is the first line of NDJSON.
type exportHead struct {
	Row   report.RowKind `json:"row"`
	At    time.Time      `json:"at"`
	Build *report.Build  `json:"build"`
}

// exportFoot is the last line of NDJSON.
type exportFoot struct {
	Row      report.RowKind `json:"row"`
	Images   int            `json:"images"`
	Findings int            `json:"findings"`
	Unjudged int            `json:"unjudged"`
}

func (s *exportStream) start(head report.ExportStart) error {
	if s.table != nil {
		s.w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
		s.w.Header().Set("Content-Disposition", `attachment; filename="findings.csv"`)
		if err := s.table.Write(report.ExportColumns()); err != nil {
			return err
		}
		return s.flush()
	}
	s.w.Header().Set("Content-Type", "application/x-ndjson")
	if err := s.line(exportHead{report.RowExport, head.At, head.Build}); err != nil {
		return err
	}
	return s.flush()
}

// row writes a row, which is sent when there is enough of them or some time has
// passed.
func (s *exportStream) row(r report.ExportRow) error {
	var err error
	if s.table != nil {
		err = s.table.Write(r.Record())
	} else {
		err = s.line(r)
	}
	if err == nil && time.Since(s.sent) > exportPause {
		err = s.flush()
	}
	return err
}

// flush sends what there is.
func (s *exportStream) flush() error {
	if s.table != nil {
		if s.table.Flush(); s.table.Error() != nil {
			return s.table.Error()
		}
	}
	return s.buffer.Flush()
}

// end says that all has been said. CSV has no place for it: the end of the stream
// has to do.
func (s *exportStream) end(e report.ExportEnd) error {
	if s.table == nil {
		if err := s.line(exportFoot{report.RowEnd, e.Images, e.Findings, e.Unjudged}); err != nil {
			return err
		}
	}
	return s.flush()
}

func (s *exportStream) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return errs.Wrap(errs.Internal, "api: encode row", err)
	}
	_, err = s.buffer.Write(append(b, '\n'))
	return err
}
