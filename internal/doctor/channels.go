package doctor

import (
	"context"
	"strconv"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/notify"
)

// channelChecks are one for each notification channel.
func (e *examination) channelChecks() (checks []check) {
	if !e.config.Notify.Enabled {
		return nil
	}
	for i, c := range e.config.Notify.Channels {
		name, path := "channel "+c.Name, "notify.channels["+strconv.Itoa(i)+"]"
		checks = append(checks, check{name, func(ctx context.Context) []Finding {
			if e.isWrong(path) {
				return left(name)
			}
			return e.lookAtChannel(ctx, name, c)
		}})
	}
	return checks
}

// lookAtChannel connects to a receiver and says nothing.
func (e *examination) lookAtChannel(ctx context.Context, name string, c config.NotifyChannel) []Finding {
	alone := e.config
	alone.Notify.Channels = []config.NotifyChannel{c}
	channels, err := alone.NotifyChannels()
	if err != nil {
		return []Finding{failed(name, err, "correct the channel in the configuration")}
	}
	known, err := notify.Reach(ctx, channels[0])
	switch {
	case err != nil:
		return []Finding{failed(name, err, "check the address, port and login of the channel, ca_file, and that this machine may connect there (HTTPS_PROXY, firewall)")}
	case !known:
		return []Finding{{name, Skipped, "not tried: a receiver of type " + c.Type + " can only be tried with a message", "send one with `tidewaiter notify test " + c.Name + "`"}}
	}
	return []Finding{{name, OK, "can be reached; `tidewaiter notify test " + c.Name + "` sends a message", ""}}
}
