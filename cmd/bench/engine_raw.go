package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// rawCmd reads an image as anybody who verifies it must at least: one pass per
// layer over download, digest, gunzip, diffID and tar headers. It is a command
// of its own so that what it takes can be told from the registry's part.
type rawCmd struct {
	Ref string `arg:"" help:"Image in a registry without TLS."`
}

// Run is called by kong. It prints nanoseconds.
func (c *rawCmd) Run(ctx context.Context) error {
	ref, err := name.ParseReference(c.Ref, name.Insecure)
	if err != nil {
		return err
	}
	start := time.Now()
	img, err := remote.Image(ref, remote.WithContext(ctx))
	if err != nil {
		return err
	}
	all, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range all {
		if err := readRaw(l); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(time.Since(start))
}

func readRaw(l v1.Layer) (err error) {
	mediaType, err := l.MediaType()
	if err != nil {
		return err
	}
	if mediaType == types.DockerForeignLayer || mediaType == types.OCIRestrictedLayer {
		return nil // not in the registry
	}
	// The blob as it is: the library checks its digest while it is read.
	blob, err := l.Compressed()
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	unzip, err := gzip.NewReader(blob)
	if err != nil {
		return err
	}
	diffID := sha256.New()
	content := io.TeeReader(unzip, diffID)
	headers := tar.NewReader(content)
	for err == nil {
		_, err = headers.Next()
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	return checkDiffID(l, diffID)
}

func checkDiffID(l v1.Layer, sum hash.Hash) error {
	want, err := l.DiffID()
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("sha256:%x", sum.Sum(nil)); got != want.String() {
		return errs.New(errs.Malformed, "diffID is %s and should be %s", got, want)
	}
	return nil
}

// program is how a program of its own process went.
type program struct {
	took     time.Duration
	cpu      time.Duration
	resident int64
}

// runProgram runs a command to its end.
func runProgram(cmd *exec.Cmd) (program, error) {
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return program{}, err
	}
	state := cmd.ProcessState
	return program{took: time.Since(start), cpu: state.UserTime() + state.SystemTime(), resident: mostResident(state)}, nil
}

// raw measures the raw limit of an image in the registry.
func (y *yard) raw(ctx context.Context, repository, tag string) (program, error) {
	self, err := os.Executable()
	if err != nil {
		return program{}, err
	}
	cmd := exec.CommandContext(ctx, self, "raw", y.registry.Host()+"/"+repository+":"+tag)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return program{}, err
	}
	read := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(out, 1<<10))
		read <- text
	}()
	p, err := runProgram(cmd)
	if err != nil {
		return program{}, err
	}
	return p, json.Unmarshal(<-read, &p.took) // without the start of the process
}

// grypeCLI runs the grype program on an image in the registry with the same
// database.
func (y *yard) grypeCLI(ctx context.Context, grype, repository, tag string) (program, error) {
	cache, err := grypeCache(y.library)
	if err != nil {
		return program{}, err
	}
	cmd := exec.CommandContext(ctx, grype, "registry:"+y.registry.Host()+"/"+repository+":"+tag, "-o", "json", "-q")
	cmd.Env = append(os.Environ(), grypeSettings(cache)...)
	return runProgram(cmd)
}
