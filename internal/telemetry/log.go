package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// NewLogger returns a logger that writes to w and adds what With put into the
// context. level is debug, info, warn or error; format is text, json, or auto
// for text when w is a terminal and json elsewhere; both may be empty for info
// and auto. The error is of kind Invalid.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var least slog.Level
	if level != "" {
		if err := least.UnmarshalText([]byte(level)); err != nil {
			return nil, errs.New(errs.Invalid, "telemetry: log level %.40q is none of debug, info, warn, error", level)
		}
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case "", "auto":
		if IsTerminal(w) {
			return slog.New(NewHandler(slog.NewTextHandler(w, options))), nil
		}
		return slog.New(NewHandler(slog.NewJSONHandler(w, options))), nil
	case "text":
		return slog.New(NewHandler(slog.NewTextHandler(w, options))), nil
	case "json":
		return slog.New(NewHandler(slog.NewJSONHandler(w, options))), nil
	}
	return nil, errs.New(errs.Invalid, "telemetry: log format %.40q is none of auto, text, json", format)
}

// IsTerminal reports whether w is a character device other than the null one,
// which is what a terminal looks like without asking it.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || f.Name() == os.DevNull {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

type attrsKey struct{}

// With returns a context whose log lines carry attrs besides those of ctx. An
// attribute with the key of an earlier one replaces it.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	all := slices.Clone(Attrs(ctx))
	for _, a := range attrs {
		same := func(b slog.Attr) bool { return b.Key == a.Key }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i] = a
			continue
		}
		all = append(all, a)
	}
	return context.WithValue(ctx, attrsKey{}, all)
}

// Attrs returns the attributes that With put into ctx; do not change them.
func Attrs(ctx context.Context) []slog.Attr {
	attrs, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	return attrs
}

// NewHandler returns a handler that adds the attributes of the context to each
// line, with trace_id where the context belongs to a trace that is kept, and hands
// it to next. An attribute that the line itself has by the same
// key is not added again. Inside a group the attributes fall into it.
func NewHandler(next slog.Handler) slog.Handler { return handler{next} }

type handler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	attrs := Attrs(ctx)
	if id := traceID(ctx); id != "" {
		attrs = append(slices.Clone(attrs), slog.String("trace_id", id))
	}
	if len(attrs) == 0 {
		return h.Handler.Handle(ctx, r)
	}
	own := map[string]bool{}
	r.Attrs(func(a slog.Attr) bool { own[a.Key] = true; return true })
	r = r.Clone()
	for _, a := range attrs {
		if !own[a.Key] {
			r.AddAttrs(a)
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
