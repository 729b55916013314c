package registry

import (
	"os/exec"
	"sync"
	"time"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// straggler is a look-up that was left behind because it took too long. Until it
// comes back no other one is begun: whatever hangs, one of it is enough.
type straggler struct {
	mu   sync.Mutex
	back <-chan struct{} // nil when there was none
}

func (s *straggler) isOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.back: // never of a nil channel
		return false
	default:
		return s.back != nil
	}
}

func (s *straggler) leave(back <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back = back
}

// within runs something that knows no deadline. What takes longer is left
// behind, and late returned; at once while the one before is still out.
func within[T any](before *straggler, limit time.Duration, late error, run func() (T, error)) (T, error) {
	var none T
	if before.isOut() {
		return none, late
	}
	var answer struct { // read by nobody before back is closed
		value T
		err   error
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		answer.value, answer.err = run()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-back:
		return answer.value, answer.err
	case <-timer.C:
		before.leave(back)
		return none, late
	}
}

// ask looks up one key. The library runs credential helpers without a deadline.
func (s Settings) ask(config *configfile.ConfigFile, key string) (types.AuthConfig, error) {
	late := errs.New(errs.Timeout, "the credential helper for %s did not answer within %s", key, s.RequestTimeout).
		WithHint("run the credential helper of the docker config by hand")
	found, err := within(s.straggler, s.RequestTimeout, late, func() (types.AuthConfig, error) {
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
