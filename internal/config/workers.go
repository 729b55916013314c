package config

import "time"

// Isolation of images from the service.
const (
	IsolationProcess = "process"
	IsolationNone    = "none"
)

// Workers are what scans images.
type Workers struct {
	// Whether this process scans.
	Enabled bool `yaml:"enabled" default:"true" env:"TIDEWAITER_WORKERS_ENABLED" flag:"workers"`
	// Scans at a time in this process.
	Count int `yaml:"count" default:"2" env:"TIDEWAITER_WORKERS_COUNT" flag:"worker-count"`
	// Time one scan may take.
	JobTimeout time.Duration `yaml:"job_timeout" default:"30m"`
	// Time running scans may go on after the stop signal; what is not finished then is queued again.
	ShutdownGrace time.Duration `yaml:"shutdown_grace" default:"30s"`
	// Attempts at a scan before it counts as failed.
	MaxAttempts int `yaml:"max_attempts" default:"6"`
	// Where images are read: `process` for processes beside the service, which have no credential, no database and no network, and are killed when they take more than an image may; `none` for the service itself, which then has no such bounds.
	Isolation string `yaml:"isolation" default:"process" env:"TIDEWAITER_WORKERS_ISOLATION"`
	// Images after which such a process is replaced by a fresh one; 0 for never. One that crashed, or had to be killed, is replaced at once.
	ImagesPerProcess int `yaml:"images_per_process" default:"200"`
}

func (c Config) checkWorkers(ps *Problems) {
	w := c.Workers
	ps.between("workers.count", w.Count, 1, 1000)
	ps.between("workers.max_attempts", w.MaxAttempts, 1, 100)
	ps.atLeast("workers.job_timeout", w.JobTimeout, time.Second)
	ps.atLeast("workers.shutdown_grace", w.ShutdownGrace, 0)
	ps.oneOf("workers.isolation", w.Isolation, IsolationProcess, IsolationNone)
	ps.between("workers.images_per_process", w.ImagesPerProcess, 0, 1_000_000)
}
