package livepack

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is that of a seed of zeros and n.
func key(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func public(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }

// shelf is a Source that has what is put there.
type shelf struct {
	mu      sync.Mutex
	pack    []byte // guarded by mu
	err     error  // guarded by mu
	asked   int    // guarded by mu
	onFetch func()
}

func (s *shelf) put(pack []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pack, s.err = pack, nil
}

func (s *shelf) Fetch(ctx context.Context, _ string, _ int64) ([]byte, string, error) {
	if s.onFetch != nil {
		s.onFetch()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.pack, "", s.err
}

// slot is a Target that holds text: "version = \"N\"\n..." or whatever begins so.
type slot struct {
	mu sync.Mutex
	in string // guarded by mu; "" = the built-in pack
}

func (s *slot) set(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = text
}

func (s *slot) get() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in
}

func (s *slot) target(base string) Target {
	return Target{
		Name: "slot",
		Base: base,
		Prepare: func(data []byte) (Pack, error) {
			var version string
			if _, err := fmt.Sscanf(string(data), "version = %q", &version); err != nil {
				return Pack{}, err
			}
			return Pack{version, func() { s.set(string(data)) }}, nil
		},
		Reset: func() { s.set("") },
	}
}

func pack(version string) []byte { return fmt.Appendf(nil, "version = %q\n", version) }

func signed(version string) []byte { return Sign(pack(version), key(1)) }

// journal collects events.
type journal struct {
	mu   sync.Mutex
	list []Event // guarded by mu
}

func (j *journal) observe(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, e)
}

func (j *journal) events() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Event(nil), j.list...)
}

// newUpdater returns one with a shelf, a slot and version 1 built in.
func newUpdater(t *testing.T, change func(*Config)) (*Updater, *shelf, *slot, *journal) {
	t.Helper()
	src, slot, j := &shelf{}, &slot{}, &journal{}
	cfg := Config{Source: src, Target: slot.target("1"), Keys: []ed25519.PublicKey{public(1)}, Observe: j.observe}
	if change != nil {
		change(&cfg)
	}
	u, err := New(cfg)
	require.NoError(t, err)
	return u, src, slot, j
}

func requireRefused(t *testing.T, e Event, reason Reason) {
	t.Helper()
	require.Equal(t, Refused, e.Kind, "%v", e)
	var err *Error
	require.ErrorAs(t, e.Err, &err)
	require.Equal(t, reason, err.Reason, "%v", e)
	require.Equal(t, err.Version, e.Version)
}
