package main

import "github.com/tidewaiter/tidewaiter/internal/app"

// catalogWorkerCmd is tidewaiter catalog-worker. Nobody types it: the service
// starts it to read images in, and it speaks with the service only.
type catalogWorkerCmd struct{}

// Run is called by kong.
func (catalogWorkerCmd) Run() error { return app.Catalogue() }
