package postgres

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Exclusively runs work while no other process does the same. It returns nil
// without running it when one does. The lock belongs to a connection: when that
// breaks, the context of work is canceled.
func (s *Store) Exclusively(ctx context.Context, name string, work func(ctx context.Context) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return wrap("lock "+name, err)
	}
	defer conn.Release()
	var got bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(`+lockKey("only/"+name)+`)`).Scan(&got); err != nil || !got {
		return wrap("lock "+name, err)
	}
	defer func() {
		const deadline = 5 * time.Second
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
		defer cancel()
		if _, err := conn.Exec(ctx, `SELECT pg_advisory_unlock(`+lockKey("only/"+name)+`)`); err != nil {
			_ = conn.Conn().Close(ctx) // the lock goes with the connection
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch(ctx, cancel, func(ctx context.Context) error { _, err := conn.Exec(ctx, "SELECT 1"); return err })
	}()
	err = work(ctx)
	cancel(nil)
	<-done
	return err
}

// watch cancels when the check fails, until ctx ends.
func watch(ctx context.Context, cancel context.CancelCauseFunc, check func(context.Context) error) {
	const every = 5 * time.Second
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := within(context.WithoutCancel(ctx), every, check); err != nil {
				cancel(errs.Wrap(errs.Unavailable, "postgres: the lock is lost", err))
				return
			}
		}
	}
}

// within runs a check under a deadline of its own.
func within(ctx context.Context, limit time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return check(ctx)
}
