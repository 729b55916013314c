package app

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// newNotifier makes the one of this process from the configuration.
func (a *App) newNotifier() (*notify.Notifier, error) {
	channels, err := a.config.NotifyChannels()
	if err != nil {
		return nil, err
	}
	return notify.New(notify.Options{
		Store: a.store, Channels: channels, Rules: a.config.NotifyRules(), PublicURL: a.config.PublicURL,
		Logger: a.logger, Registerer: a.metrics, Keep: a.config.Notify.Keep,
	})
}

// runNotifier tells what is new until ctx ends, where this process does.
func (a *App) runNotifier(ctx context.Context) error {
	if a.config.Notify.Enabled && len(a.config.Notify.Channels) > 0 {
		a.notifier.Run(ctx)
	}
	return nil
}

// beginNotifier has events kept for the rules from before the first of them.
func (a *App) beginNotifier(ctx context.Context) error {
	if !a.config.Notify.Enabled {
		return nil
	}
	return a.notifier.Begin(ctx)
}

// notifications lends the API the log and a way to try channels.
type notifications struct {
	*postgres.Store
	channels *notify.Notifier
}

// Test is Notifier.Test.
func (n notifications) Test(ctx context.Context, channel string) (report.NotificationTest, error) {
	return n.channels.Test(ctx, channel)
}
