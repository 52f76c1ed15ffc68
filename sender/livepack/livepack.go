// Package livepack replaces throttle profiles and bounce rules while mail is
// being sent.
//
// A pack is a TOML file with a signature on its first line ([Sign]). An [Updater]
// gets packs of one kind from a file, an fs.FS or a URL. It takes a pack only as
// a whole: signed by one of the given keys, newer than any before, loaded
// and checked without a finding, and within the clamps that its [Target] sets.
// Then the target is swapped at once; mail under way is not held up and results
// do not change. Any other pack is refused with an [Event], and the running one
// stays. [Updater.Rollback] goes back.
//
// Nothing is fetched unless [Updater.Fetch] or [Updater.Run] is called. What
// protects a pack is its signature: an attacker on the way can keep a new one
// back, and [Status].Fetched shows for how long, but not change one or bring
// back an older one.
package livepack

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Config is what New needs. Source, Target and Keys are required.
type Config struct {
	Source Source              // where packs come from
	Target Target              // what they replace
	Keys   []ed25519.PublicKey // who may sign them; to change a key give the old and the new for a while

	// Every is the time between fetches of Run, spread by up to a tenth so that
	// many senders do not ask together. 0 = 6 h; at least 1 min.
	Every time.Duration

	// Timeout is for one fetch. 0 = 30 s; at most 10 min.
	Timeout time.Duration

	// MaxSize bounds a signed pack, in bytes. 0 = 4 MB; at most 64 MB.
	MaxSize int64

	// Cache names a file that keeps the adopted pack for the next start, where it
	// is verified anew, and the version to which nothing older may go back. "" =
	// none: after a restart the built-in pack holds until the first fetch. The file
	// is written with mode 0600; two Updaters must not share it.
	Cache string

	// Observe is told what happened, by the goroutine that did it. It may be called
	// by several goroutines at once, and may call Status and Rollback, but not
	// Fetch. nil = nobody is told.
	Observe func(Event)
}

const (
	defaultEvery   = 6 * time.Hour
	leastEvery     = time.Minute
	defaultTimeout = 30 * time.Second
	mostTimeout    = 10 * time.Minute
	defaultMaxSize = 4 << 20
	mostMaxSize    = 64 << 20
)

func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("livepack: "+format, args...)) }
	if c.Source == nil {
		bad("no Source")
	}
	if c.Target.Prepare == nil || c.Target.Reset == nil {
		bad("no Target")
	} else if _, err := parseVersion(c.Target.Base); err != nil {
		bad("Target.Base: %w", err)
	}
	if len(c.Keys) == 0 {
		bad("no Keys: packs must be signed")
	}
	for i, key := range c.Keys {
		if len(key) != ed25519.PublicKeySize {
			bad("Keys[%d] has %d bytes, want %d", i, len(key), ed25519.PublicKeySize)
		}
	}
	between(&c.Every, defaultEvery, leastEvery, 366*24*time.Hour, "Every", bad)
	between(&c.Timeout, defaultTimeout, time.Millisecond, mostTimeout, "Timeout", bad)
	between(&c.MaxSize, defaultMaxSize, 1, mostMaxSize, "MaxSize", bad)
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	return errors.Join(errs...)
}

func between[T ~int64](v *T, byDefault, least, most T, name string, bad func(string, ...any)) {
	switch {
	case *v == 0:
		*v = byDefault
	case *v < least || *v > most:
		bad("%s is %v, want %v to %v", name, *v, least, most)
	}
}

// Updater keeps one Target up to date. Its methods may be called by several
// goroutines.
type Updater struct {
	cfg Config

	fetching sync.Mutex // held during a fetch: one at a time

	mu      sync.Mutex // guards what follows; held while the target is swapped
	running *adopted   // nil = the built-in pack
	before  []*adopted // what Rollback goes back to, the last first; before them the built-in
	newest  version    // nothing older than this is adopted
	digest  [32]byte   // of the newest pack, signature and all; zero if it is the built-in one
	tag     string     // the source's name for what was fetched last and needs no second look
	fetched time.Time  // when the source was last asked with success
}

// adopted is a pack that is or was in place.
type adopted struct {
	version version
	signed  []byte
	apply   func()
}

// maxBefore bounds what is kept for Rollback.
const maxBefore = 3

// New returns an Updater, after it has put the pack of the cache in place if
// there is one and it is as good as a fetched one. The error has all mistakes of
// cfg; a bad cache is an Event.
func New(cfg Config) (*Updater, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	u := &Updater{cfg: cfg}
	u.newest, _ = parseVersion(cfg.Target.Base)
	if cfg.Cache != "" {
		u.restore()
	}
	return u, nil
}

// Run fetches at once and then as often as Config.Every says, until ctx ends; it
// returns the cause of that. What goes wrong in between is an Event.
func (u *Updater) Run(ctx context.Context) error {
	for {
		u.Fetch(ctx)
		spread := u.cfg.Every / 10
		timer := time.NewTimer(u.cfg.Every - spread + rand.N(2*spread))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// Status is the state of an Updater.
type Status struct {
	Version string    // running
	Newest  string    // the highest that was ever in place; more than Version after a Rollback
	BuiltIn bool      // the running pack is the embedded one
	CanGo   int       // how many steps Rollback can go back
	Fetched time.Time // when the source was last asked with success; zero = never
}

// Status returns the state now.
func (u *Updater) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Status{
		Version: u.version(),
		Newest:  u.newest.text,
		BuiltIn: u.running == nil,
		CanGo:   u.steps(),
		Fetched: u.fetched,
	}
}

// version returns the running one. mu is held.
func (u *Updater) version() string {
	if u.running == nil {
		return u.cfg.Target.Base
	}
	return u.running.version.text
}

// steps is how far Rollback can go. mu is held.
func (u *Updater) steps() int {
	if u.running == nil {
		return 0
	}
	return len(u.before) + 1
}
