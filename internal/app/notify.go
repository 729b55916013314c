package app

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/notify"
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
