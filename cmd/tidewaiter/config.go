package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

// configFile names the configuration file.
type configFile struct {
	Config string `name:"config" short:"c" placeholder:"FILE" default:"/etc/tidewaiter/tidewaiter.yaml" env:"TIDEWAITER_CONFIG" help:"Configuration file; only at its default place may it be missing."`
}

// load reads the configuration. overrides are values of flags by environment
// variable; empty ones do not count.
func (f configFile) load(overrides map[string]string, options ...config.Option) (config.Config, error) {
	return config.Load(f.path(), func(name string) (string, bool) {
		if value := overrides[name]; value != "" {
			return value, true
		}
		return os.LookupEnv(name)
	}, append(options, config.WithFlags(flagNames(overrides)))...)
}

// flagNames tells the flags behind overrides, by environment variable.
func flagNames(overrides map[string]string) map[string]string {
	names := map[string]string{}
	for _, key := range config.Keys() {
		if key.Flag != "" && overrides[key.Env] != "" {
			names[key.Env] = key.Flag
		}
	}
	return names
}

// path is the file to read. An environment variable that is set to nothing
// counts as not set.
func (f configFile) path() string {
	if f.Config == "" {
		return config.DefaultPath
	}
	return f.Config
}

// configCmd groups what concerns configuration files.
type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Read a configuration and tell every problem in it."`
	Show    configShowCmd    `cmd:"" help:"Print the configuration as it holds in the end."`
	Example configExampleCmd `cmd:"" help:"Print a configuration file with comments to start from."`
}

// configCheckCmd is tidewaiter config check.
type configCheckCmd struct {
	configFile
}

// Help is shown by --help.
func (configCheckCmd) Help() string {
	return `Everything that can be checked without connecting anywhere is: keys, values, references to secrets, files that are named, hosts that two registries claim. Each problem is told with its line. The exit code is 1 when there is one.

    tidewaiter config check --config tidewaiter.yaml`
}

// Run is called by kong.
func (c *configCheckCmd) Run(out *output) error {
	loaded, err := c.load(nil)
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.path()); err != nil {
		_, _ = fmt.Fprintf(out.Stderr, "there is no %s: these are defaults and environment; name a file with --config\n", c.path())
	}
	return summarise(out.Stdout, loaded)
}

// summarise says in a few lines what a configuration does.
func summarise(w io.Writer, c config.Config) error {
	var roles []string
	for _, r := range []struct {
		name string
		on   bool
	}{{"receiver", c.Receiver.Enabled}, {fmt.Sprintf("%d workers", c.Workers.Count), c.Workers.Enabled}, {"api", c.API.Enabled}} {
		if r.on {
			roles = append(roles, r.name)
		}
	}
	lines := []string{"configuration is good", "runs:       " + strings.Join(roles, ", "), "listens on: " + c.Listen}
	for _, r := range c.Registries {
		lines = append(lines, "registry:   "+tellsOf(r))
	}
	if len(c.Registries) == 0 {
		lines = append(lines, "registry:   none; no image can be pulled")
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// tellsOf says how a registry's pushes become known.
func tellsOf(r config.Registry) string {
	line := r.Name + " at " + r.Host
	if r.Webhook.Format == "" {
		line += ", no webhook"
	} else {
		line += fmt.Sprintf(", webhook /webhooks/%s (%s, %s)", r.Name, r.Webhook.Format, r.Webhook.Auth.Kind)
	}
	if r.Reconcile.Interval == 0 {
		return line + ", compared on demand"
	}
	every := r.Reconcile.Interval.String()
	if strings.HasSuffix(every, "m0s") {
		every = strings.TrimSuffix(every, "0s")
	}
	if strings.HasSuffix(every, "h0m") {
		every = strings.TrimSuffix(every, "0m")
	}
	return line + ", compared every " + every
}

// configShowCmd is tidewaiter config show.
type configShowCmd struct {
	configFile
}

// Help is shown by --help.
func (configShowCmd) Help() string {
	return `Prints file, environment and defaults put together, as YAML. Secrets are left out.

    tidewaiter config show --config tidewaiter.yaml`
}

// Run is called by kong.
func (c *configShowCmd) Run(out *output) error {
	loaded, err := c.load(nil)
	if err != nil {
		return err
	}
	text, err := loaded.YAML()
	if err != nil {
		return err
	}
	_, err = out.Stdout.Write(text)
	return err
}

// configExampleCmd is tidewaiter config example.
type configExampleCmd struct{}

// Help is shown by --help.
func (configExampleCmd) Help() string {
	return `    tidewaiter config example > tidewaiter.yaml`
}

// Run is called by kong.
func (configExampleCmd) Run(out *output) error {
	_, err := io.WriteString(out.Stdout, config.Example())
	return err
}
