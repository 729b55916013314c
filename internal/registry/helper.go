package registry

import (
	"time"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// ask looks up one key. The library runs credential helpers without a deadline,
// so one that hangs is left behind.
func (s Settings) ask(config *configfile.ConfigFile, key string) (types.AuthConfig, error) {
	type answer struct {
		found types.AuthConfig
		err   error
	}
	ch := make(chan answer, 1)
	go func() {
		found, err := config.GetAuthConfig(key)
		ch <- answer{found, err}
	}()
	timer := time.NewTimer(s.RequestTimeout)
	defer timer.Stop()
	select {
	case a := <-ch:
		if a.err != nil {
			// What a helper prints may hold anything.
			return types.AuthConfig{}, errs.New(errs.Unauthorized, "the credential helper for %s failed", key).
				WithHint("run the credential helper of the docker config by hand")
		}
		return a.found, nil
	case <-timer.C:
		return types.AuthConfig{}, errs.New(errs.Timeout, "the credential helper for %s did not answer within %s", key, s.RequestTimeout)
	}
}
