package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// ref is the sample image as users write it.
func (q *quickstart) ref() string { return q.host + "/" + sampleTag }

// push builds the vulnerable image and pushes it, as any client would.
func (q *quickstart) push(ctx context.Context, report func(string)) (string, error) {
	report("building an image with known vulnerabilities")
	img, err := sampleimage.Vulnerable()
	if err != nil {
		return "", errs.Op("build the sample image", err)
	}
	tag, err := name.NewTag(q.ref(), name.Insecure)
	if err != nil {
		return "", errs.Op("push", err)
	}
	report("pushing " + q.ref())
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return "", errs.Op("push "+q.ref(), err)
	}
	return q.ref() + ": Debian 12 with npm, Python, Go and Java packages", nil
}

// waitForScan asks until the image has its answer. The push itself told
// Tidewaiter, through the registry's notification.
func (q *quickstart) waitForScan(ctx context.Context, say func(string)) (string, error) {
	deadline := time.Now().Add(q.Wait)
	for {
		image, err := q.api().image(ctx, q.ref())
		switch {
		case err == nil && image.Settled():
			return outcome(image)
		case err != nil && !errs.Is(err, errs.NotFound):
			return "", err
		case time.Now().After(deadline):
			return "", errs.New(errs.Timeout, "no answer for %s within %s", q.ref(), q.Wait).WithHint("see %s", q.logFile())
		}
		if err == nil {
			say(string(image.State))
		}
		if err := q.pause(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// outcome says in a line what became of the scan.
func outcome(image report.Image) (string, error) {
	if image.State != report.StateDone || image.Counts == nil {
		return "", errs.New(errs.Internal, "the scan of %s ended %s (%s): %s", image.Reference, image.State, image.Reason, image.Detail)
	}
	packages := 0
	for _, p := range image.Platforms {
		packages += p.Packages
	}
	text := fmt.Sprintf("%d packages, %d findings", packages, image.Counts.Total)
	if !image.Complete {
		text += " (" + string(image.Answer) + ")"
	}
	return text, nil
}

// pause waits a little, but not when the service has gone.
func (q *quickstart) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errs.Op("wait", ctx.Err())
	case <-q.service.done:
		return errs.New(errs.Unavailable, "tidewaiter ended: %v\n%s", q.service.err, logEnd(q.logFile())).WithHint("see %s", q.logFile())
	case <-time.After(d):
		return nil
	}
}
