package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// upgradesCmd is tidewaiter upgrades.
type upgradesCmd struct {
	serverFlags
	Image    string `arg:"" help:"Image: host/name:tag or host/name@digest."`
	Platform string `placeholder:"OS/ARCH" help:"Of a multi-platform image, only that platform."`
	Steps    bool   `help:"Show what lesser versions close, too."`
	JSON     bool   `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (upgradesCmd) Help() string {
	return `What to do about an image: asks a running service for its findings by the upgrade that closes them, the one with the greatest effect first. Each package is to be brought to the least known version that closes as many of its findings as any. Whether that version is to be had, and suits the image, is not known.

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter upgrades registry.example/team/app:1.4

Exit codes: 0 when the service knows the image, whatever it has; 1 when it does not or could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *upgradesCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	parameters := url.Values{"ref": {c.Image}}
	if c.Platform != "" {
		parameters.Set("platform", c.Platform)
	}
	var raw json.RawMessage
	if err := asked.get(ctx, "/upgrades", parameters, &raw); err != nil {
		return err
	}
	var plan report.UpgradePlan
	if err := json.Unmarshal(raw, &plan); err != nil || plan.Answer == "" {
		return errs.New(errs.Malformed, "the answer of %s is no list of upgrades", asked.base.Host).WithHint(otherServer)
	}
	if c.JSON {
		_, err = fmt.Fprintf(out.Stdout, "%s\n", strings.TrimSpace(string(raw)))
		return err
	}
	return writeUpgrades(out.Stdout, plan, c.Steps)
}

// writeUpgrades prints a plan, one upgrade a line.
func writeUpgrades(w io.Writer, plan report.UpgradePlan, steps bool) error {
	var b strings.Builder
	for _, u := range plan.Items {
		fmt.Fprintf(&b, "%s %s to %s: closes %s", line(u.Package.Name), line(u.Package.Version), line(u.To), sumOf(u.Closes))
		if u.Remaining > 0 {
			fmt.Fprintf(&b, ", %d remain", u.Remaining)
		}
		b.WriteString("\n")
		for _, s := range u.Steps {
			if steps {
				fmt.Fprintf(&b, "    %s closes %d\n", line(s.Version), s.Closes)
			}
		}
	}
	writeRest(&b, plan.UpgradesTotal, len(plan.Items))
	fmt.Fprintf(&b, "%d upgrades close %s; %s have no fix\n", plan.UpgradesTotal, sumOf(plan.Closes), sumOf(plan.WithoutFix))
	if !plan.Complete {
		fmt.Fprintf(&b, "The answer is %s: not everything in the image could be judged.\n", plan.Answer)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sumOf counts findings in words, those that are worst apart.
func sumOf(s report.FindingSum) string {
	var worst []string
	for _, part := range []struct {
		n    int
		word string
	}{{s.KnownExploited, "known to be exploited"}, {s.Critical, "critical"}, {s.High, "high"}} {
		if part.n > 0 {
			worst = append(worst, fmt.Sprintf("%d %s", part.n, part.word))
		}
	}
	if len(worst) == 0 {
		return fmt.Sprint(s.Total)
	}
	return fmt.Sprintf("%d (%s)", s.Total, strings.Join(worst, ", "))
}
