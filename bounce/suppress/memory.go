package suppress

import (
	"context"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Memory is a Store in memory, gone with the process: fill it from a file with
// List.Import, and keep it with List.Export. A million entries take about
// 230 MB (BenchmarkMemory measures it); failures that are counted take memory
// until they are forgotten or pruned, at most some kilobytes for an address.
type Memory struct {
	mu      sync.RWMutex
	entries map[string][]record  // by key; guarded by mu; a slice in it never changes
	hits    map[string][]counter // by key; guarded by mu
}

// record is an Entry, smaller.
type record struct {
	address, stream, source string
	time, expires           int64 // nanoseconds since 1970
	cause                   Cause
	category                bounce.Category
}

const never = math.MaxInt64 // record.expires, if it does not

func newRecord(e *Entry) record {
	r := record{address: e.Address, stream: e.Stream, source: e.Source, time: e.Time.UnixNano(), expires: never,
		cause: e.Cause, category: e.Category}
	if !e.Expires.IsZero() {
		r.expires = e.Expires.UnixNano()
	}
	return r
}

func (r *record) entry() Entry {
	e := Entry{Address: r.address, Stream: r.stream, Cause: r.cause, Category: r.category, Source: r.source, Time: fromNano(r.time)}
	if r.expires != never {
		e.Expires = fromNano(r.expires)
	}
	return e
}

func fromNano(n int64) time.Time { return time.Unix(0, n).UTC() }

// counter counts failures of one kind.
type counter struct {
	kind   string
	times  []int64 // when they happened, in order
	within int64
}

// NewMemory makes an empty Store in memory.
func NewMemory() *Memory {
	return &Memory{entries: map[string][]record{}, hits: map[string][]counter{}}
}

// Find implements Store.
func (m *Memory) Find(_ context.Context, key string) ([]Entry, error) {
	m.mu.RLock()
	records := m.entries[key]
	m.mu.RUnlock()
	if len(records) == 0 {
		return nil, nil
	}
	entries := make([]Entry, len(records))
	for i := range records {
		entries[i] = records[i].entry()
	}
	return entries, nil
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, entries []Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range entries {
		key, r := entries[i].Key(), newRecord(&entries[i])
		m.entries[key] = append(without(m.entries[key], r.stream, r.cause), r)
	}
	return nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, key, stream string, cause Cause) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := without(m.entries[key], stream, cause)
	if len(rest) == 0 {
		delete(m.entries, key)
		return nil
	}
	m.entries[key] = rest
	return nil
}

// without copies records but for one, with no room to spare: most addresses
// have one record.
func without(records []record, stream string, cause Cause) []record {
	var rest []record
	for _, r := range records {
		if r.stream != stream || r.cause != cause {
			rest = append(rest, r)
		}
	}
	return slices.Clip(rest)
}

// All implements Store. It holds a list of the keys meanwhile, but no lock.
func (m *Memory) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m.mu.RLock()
		keys := make([]string, 0, len(m.entries))
		for key := range m.entries {
			keys = append(keys, key)
		}
		m.mu.RUnlock()
		slices.Sort(keys)
		for _, key := range keys {
			if err := ctx.Err(); err != nil {
				yield(Entry{}, err)
				return
			}
			entries, _ := m.Find(ctx, key)
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Len returns the number of addresses that have entries.
func (m *Memory) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.entries)
}

// Hit implements Store.
func (m *Memory) Hit(_ context.Context, h Hit, within time.Duration) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counters := m.hits[h.Key]
	i := slices.IndexFunc(counters, func(c counter) bool { return c.kind == h.Kind })
	if i < 0 {
		i = len(counters)
		counters = append(counters, counter{kind: h.Kind})
		m.hits[h.Key] = counters
	}
	return counters[i].add(h.Time.UnixNano(), int64(within)), nil
}

// add notes a failure and drops those that no longer count.
func (c *counter) add(at, within int64) int {
	c.within = within
	if i, found := slices.BinarySearch(c.times, at); !found {
		c.times = slices.Insert(c.times, i, at)
	}
	oldest := c.times[len(c.times)-1] - within
	c.times = slices.DeleteFunc(c.times, func(t int64) bool { return t <= oldest })
	return len(c.times)
}

// Forget implements Store.
func (m *Memory) Forget(_ context.Context, key string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.hits[key]; ok {
		m.dropHits(key, func(_ *counter, at int64) bool { return at <= until.UnixNano() })
	}
	return nil
}

// dropHits drops failures, and what is empty then. m.mu is held.
func (m *Memory) dropHits(key string, drop func(c *counter, at int64) bool) {
	counters := m.hits[key]
	for i := range counters {
		c := &counters[i]
		c.times = slices.DeleteFunc(c.times, func(at int64) bool { return drop(c, at) })
	}
	counters = slices.DeleteFunc(counters, func(c counter) bool { return len(c.times) == 0 })
	if len(counters) == 0 {
		delete(m.hits, key)
		return
	}
	m.hits[key] = counters
}

// Prune implements Store.
func (m *Memory) Prune(_ context.Context, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := now.UnixNano()
	for key, records := range m.entries {
		if !slices.ContainsFunc(records, func(r record) bool { return r.expires <= n }) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(records), func(r record) bool { return r.expires <= n })
		if len(rest) == 0 {
			delete(m.entries, key)
			continue
		}
		m.entries[key] = rest
	}
	for key := range m.hits {
		m.dropHits(key, func(c *counter, at int64) bool { return at <= n-c.within })
	}
	return nil
}
