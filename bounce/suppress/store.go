package suppress

import (
	"context"
	"iter"
	"time"
)

// Store keeps entries, and counts failures that do not suppress yet. Entries
// that it is given are normal and valid. It is used by many goroutines at once.
type Store interface {
	// Find returns all entries with the key (see Entry.Key), of any stream and
	// cause, also expired ones; none is no error.
	Find(ctx context.Context, key string) ([]Entry, error)

	// Put adds entries, all or none. One that has the key, stream and cause of
	// another replaces it.
	Put(ctx context.Context, entries []Entry) error

	// Delete removes an entry, if it is there.
	Delete(ctx context.Context, key, stream string, cause Cause) error

	// All yields every entry. After an error it ends. Entries that are put or
	// deleted meanwhile may be missing.
	All(ctx context.Context) iter.Seq2[Entry, error]

	// Hit notes a failure and returns how many there are with its key and kind,
	// not counting any that is older than the newest by within or more. One
	// with the same key, kind and time as another counts once.
	Hit(ctx context.Context, h Hit, within time.Duration) (int, error)

	// Forget drops the failures with the key, of all kinds, up to and including a time.
	Forget(ctx context.Context, key string, until time.Time) error

	// Prune drops entries that have expired by now, and failures that no longer count.
	Prune(ctx context.Context, now time.Time) error
}

// Hit is a failure to be counted.
type Hit struct {
	Key  string // an Entry.Key, or more: only to be compared
	Kind string // failures of different kinds are counted apart
	Time time.Time
}
