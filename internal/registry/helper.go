package registry

import (
	"os/exec"
	"time"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// within runs something that knows no deadline. What takes longer is left
// behind, and late returned.
func within[T any](limit time.Duration, late error, run func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	ch := make(chan answer, 1)
	go func() {
		value, err := run()
		ch <- answer{value, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case a := <-ch:
		return a.value, a.err
	case <-timer.C:
		var none T
		return none, late
	}
}

// ask looks up one key. The library runs credential helpers without a deadline.
func (s Settings) ask(config *configfile.ConfigFile, key string) (types.AuthConfig, error) {
	late := errs.New(errs.Timeout, "the credential helper for %s did not answer within %s", key, s.RequestTimeout).
		WithHint("run the credential helper of the docker config by hand")
	found, err := within(s.RequestTimeout, late, func() (types.AuthConfig, error) {
		found, err := config.GetAuthConfig(key)
		if err != nil {
			return found, helperFailed(config, key)
		}
		return found, nil
	})
	return found, err
}

// helperFailed says what to look at. What the helper printed may hold anything.
func helperFailed(config *configfile.ConfigFile, key string) error {
	name := config.CredentialHelpers[key]
	if name == "" {
		name = config.CredentialsStore
	}
	err := errs.New(errs.Unauthorized, "the credential helper for %s failed", key)
	if name == "" {
		return err.WithHint("run the credential helper of the docker config by hand")
	}
	program := "docker-credential-" + name
	if _, missing := exec.LookPath(program); missing != nil {
		return errs.New(errs.Unauthorized, "the credential helper for %s is not installed", key).
			WithHint("the docker config names %s; install it where this process finds it", program)
	}
	return err.WithHint("run it by hand: echo %s | %s get", key, program)
}
