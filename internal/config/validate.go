package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Validate checks everything that can be told from the values alone, and the keys
// of webhook senders that are in files. The error
// is of kind Invalid; errors.As finds the Problems, all of them. Load calls it.
func (c Config) Validate() error {
	if problems := c.problems(); len(problems) > 0 {
		return errs.Wrap(errs.Invalid, "config", problems)
	}
	return nil
}

func (c Config) problems() Problems {
	var ps Problems
	c.checkDatabase(&ps)
	c.checkListeners(&ps)
	c.checkProxies(&ps)
	c.checkTokens(&ps)
	c.checkOIDC(&ps)
	c.checkLog(&ps)
	c.checkTelemetry(&ps)
	c.checkWork(&ps)
	c.checkVulnDB(&ps)
	c.checkEvents(&ps)
	c.checkRetention(&ps)
	c.checkNotify(&ps)
	c.checkCache(&ps)
	c.checkLimits(&ps)
	c.checkPlatforms(&ps)
	c.checkRegistries(&ps)
	return ps
}

func (c Config) checkDatabase(ps *Problems) {
	dsn := c.Database.URL.Reveal()
	switch {
	case dsn == "":
		ps.add("database.url", "empty; set it in the configuration file or in TIDEWAITER_DATABASE_URL, as postgres://user:password@host:5432/tidewaiter")
	case !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") && !strings.Contains(dsn, "="):
		ps.add("database.url", "neither a postgres:// URL nor keywords as host=…")
	}
	// The queue alone holds a connection to listen on and one to elect a leader.
	ps.between("database.max_conns", c.Database.MaxConns, 4, 10_000)
}

func (c Config) checkListeners(ps *Problems) {
	checkAddress(ps, "listen", c.Listen)
	if c.AdminListen != "" {
		checkAddress(ps, "admin_listen", c.AdminListen)
		if c.AdminListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
			ps.add("admin_listen", "the same address as listen; profiles must not be served there")
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		ps.add("tls", "cert_file and key_file belong together")
	}
}

func checkAddress(ps *Problems, path, address string) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		ps.add(path, "%.80q is not host:port; write :8080 to listen on every address", address)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		ps.add(path, "port %.20q is not a number from 0 to 65535", port)
	}
}

func (c Config) checkLog(ps *Problems) {
	ps.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	ps.oneOf("log.format", c.Log.Format, "auto", "text", "json")
}

func (c Config) checkWork(ps *Problems) {
	if !c.Receiver.Enabled && !c.Workers.Enabled && !c.API.Enabled {
		ps.add("", "receiver.enabled, workers.enabled and api.enabled are all false: there is nothing to do")
	}
	ps.within("receiver.untagged_hold", c.Receiver.UntaggedHold, 0, time.Hour)
	ps.within("receiver.coalesce", c.Receiver.Coalesce, 0, time.Hour)
	c.checkWorkers(ps)
	ps.between("receiver.rate_per_second", c.Receiver.RatePerSecond, 0, 1_000_000)
	ps.between("api.rate_per_second", c.API.RatePerSecond, 1, 1_000_000)
}

func (c Config) checkPlatforms(ps *Problems) {
	for i, p := range c.Platforms {
		if slices.Contains(c.Platforms[:i], p) {
			ps.add(at("platforms", i), "%s is given twice", p)
		}
	}
}

func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func (ps *Problems) between(path string, n, least, most int) {
	if n < least || n > most {
		ps.add(path, "%d is not between %d and %d", n, least, most)
	}
}

func (ps *Problems) sizes(path string, n, least, most Size) {
	if n < least || n > most {
		ps.add(path, "%s is not between %s and %s", n, least, most)
	}
}

func (ps *Problems) atLeast(path string, d, least time.Duration) {
	if d < least {
		ps.add(path, "%s is less than %s", d, least)
	}
}

func (ps *Problems) within(path string, d, least, most time.Duration) {
	if d < least || d > most {
		ps.add(path, "%s is not between %s and %s", d, least, most)
	}
}

func (ps *Problems) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		ps.add(path, "%.40q is none of %s", value, strings.Join(allowed, ", "))
	}
}
