package suppress

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"
)

// List is a suppression list. Make one with New. It may be used by many
// goroutines at once, and by many processes if its Store may.
type List struct {
	store Store
	rules Rules
}

// New makes a List. nil rules mean DefaultRules.
func New(store Store, rules *Rules) (*List, error) {
	if store == nil {
		return nil, errors.New("suppress: there is no Store")
	}
	l := &List{store: store, rules: DefaultRules()}
	if rules != nil {
		if err := rules.Validate(); err != nil {
			return nil, err
		}
		l.rules = *rules
		l.rules.Bounces = maps.Clone(rules.Bounces)
	}
	return l, nil
}

// Suppressed reports whether the recipient must not get mail of the stream now,
// and why, in words for people. The Sender asks this before each message. An
// address that cannot be one is not on the list.
func (l *List) Suppressed(ctx context.Context, recipient, stream string) (reason string, suppressed bool, err error) {
	e, found, err := l.Find(ctx, recipient, stream)
	if err != nil || !found {
		return "", false, err
	}
	return e.String(), true, nil
}

// Find returns the entry that keeps mail of the stream from the recipient now:
// the one with the strongest cause, if there are several.
func (l *List) Find(ctx context.Context, recipient, stream string) (Entry, bool, error) {
	address, err := Normalize(recipient)
	if err != nil {
		return Entry{}, false, nil
	}
	entries, err := l.store.Find(ctx, fold(address))
	if err != nil || len(entries) == 0 {
		return Entry{}, false, err
	}
	now := time.Now()
	var best Entry
	for _, e := range entries {
		if (e.Stream == "" || e.Stream == stream) && !e.expired(now) && e.Cause > best.Cause {
			best = e
		}
	}
	return best, best.Cause != 0, nil
}

// About returns all that the list has about an address, also for single
// streams and expired.
func (l *List) About(ctx context.Context, address string) ([]Entry, error) {
	normal, err := Normalize(address)
	if err != nil {
		return nil, nil
	}
	return l.store.Find(ctx, fold(normal))
}

// Add puts entries on the list, all or none. A zero Time is now.
func (l *List) Add(ctx context.Context, entries ...Entry) error {
	now := time.Now()
	normal := make([]Entry, len(entries))
	for i, e := range entries {
		if e.Time.IsZero() {
			e.Time = now
		}
		if err := e.normalize(); err != nil {
			return fmt.Errorf("suppress: %w", err)
		}
		normal[i] = e
	}
	return l.store.Put(ctx, normal)
}

// Remove takes an entry from the list, if it is there: the one for the stream,
// which is "" for the entry about all streams, and the cause. What the address
// is suppressed for otherwise stays.
func (l *List) Remove(ctx context.Context, address, stream string, cause Cause) error {
	normal, err := Normalize(address)
	if err != nil {
		return nil
	}
	return l.store.Delete(ctx, fold(normal), stream, cause)
}

// All yields every entry, expired ones too. After an error it ends.
func (l *List) All(ctx context.Context) iter.Seq2[Entry, error] { return l.store.All(ctx) }

// Prune drops what has no effect any more: expired entries, and failures that
// are too long ago to count. Call it about once a day; no answer depends on it.
func (l *List) Prune(ctx context.Context) error { return l.store.Prune(ctx, time.Now()) }
