package match

import (
	"sync"

	v6 "github.com/anchore/grype/grype/db/v6"
	"gorm.io/gorm"
)

// maxDecorated bounds how many CVEs a reader remembers; the memory starts anew
// when it is full. An entry takes about half a KiB.
const maxDecorated = 50_000

// reader is grype's reader with a memory for what it looks up of each CVE, for
// every record of every package: KEV, EPSS and CWE. That is near half the time
// of matching otherwise.
type reader struct {
	v6.Reader
	kev  memory[v6.KnownExploitedVulnerabilityHandle]
	epss memory[v6.EpssHandle]
	cwe  memory[v6.CWEHandle]

	exploited  exploited
	unaffected scopes
	affected   affected
}

// GetDB hands out grype's connection. Grype asks its reader for it behind the
// interface.
func (r *reader) GetDB() *gorm.DB {
	return r.Reader.(interface{ GetDB() *gorm.DB }).GetDB()
}

// GetKnownExploitedVulnerabilities returns the entries of KEV about a CVE.
func (r *reader) GetKnownExploitedVulnerabilities(cve string) ([]v6.KnownExploitedVulnerabilityHandle, error) {
	if !r.exploited.mayHave(r.GetDB(), cve) {
		return nil, nil
	}
	return r.kev.get(cve, r.Reader.GetKnownExploitedVulnerabilities)
}

// GetEpss returns the estimates of EPSS for a CVE.
func (r *reader) GetEpss(cve string) ([]v6.EpssHandle, error) {
	return r.epss.get(cve, r.Reader.GetEpss)
}

// GetCWEs returns the weaknesses behind a CVE.
func (r *reader) GetCWEs(cve string) ([]v6.CWEHandle, error) {
	return r.cwe.get(cve, r.Reader.GetCWEs)
}

// memory keeps answers of a look-up. Errors are not kept.
type memory[T any] struct {
	mu    sync.Mutex
	known map[string][]T
}

func (m *memory[T]) get(cve string, find func(string) ([]T, error)) ([]T, error) {
	m.mu.Lock()
	found, ok := m.known[cve]
	m.mu.Unlock()
	if ok {
		return found, nil
	}
	found, err := find(cve)
	if err != nil {
		return found, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxDecorated {
		m.known = map[string][]T{}
	}
	m.known[cve] = found
	return found, nil
}
