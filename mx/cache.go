package mx

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// fillFunc finds the answer for a key and when it expires. A nil *Error is a
// good answer, a Temporary one a failure, any other a negative answer. Quick
// asks for a single try: there is a stale answer to fall back on.
type fillFunc[V any] func(ctx context.Context, key string, quick bool) (V, time.Time, *Error)

// cache remembers answers, and lets one caller find an answer that many wait for.
//
// No goroutine works for a cache: the first caller to miss an answer, the
// leader, fills it under its own ctx. If that ctx ends, the leader leaves with
// an error and one of the callers that wait becomes the leader.
type cache[V any] struct {
	fill     fillFunc[V]
	size     int           // entries held at most
	staleFor time.Duration // a good answer outlives its expiry by this while filling fails
	retry    time.Duration // how long a failure is remembered

	mu      sync.RWMutex
	entries map[string]*entry[V]  // guarded by mu
	flights map[string]*flight[V] // being filled; guarded by mu
}

// entry is an answer. Only used changes.
type entry[V any] struct {
	val     V            // good if err is nil
	err     *Error       // negative answer or failure
	expires time.Time    // to be asked for anew
	stale   time.Time    // val may be served until then if asking fails
	used    atomic.Int64 // second of the last use
}

// flight is an answer being found.
type flight[V any] struct {
	done  chan struct{} // closed by the leader
	entry *entry[V]     // written before done is closed; nil: the leader's ctx ended
}

func newCache[V any](cfg *Config, staleFor time.Duration, fill fillFunc[V]) *cache[V] {
	return &cache[V]{
		fill:     fill,
		size:     cfg.CacheSize,
		staleFor: staleFor,
		retry:    cfg.FailureTTL,
		entries:  make(map[string]*entry[V]),
		flights:  make(map[string]*flight[V]),
	}
}

// fresh returns the entry of key if it has not expired, else nil.
func (c *cache[V]) fresh(key string, now time.Time) *entry[V] {
	c.mu.RLock()
	e := c.entries[key]
	c.mu.RUnlock()
	if e == nil || !now.Before(e.expires) {
		return nil
	}
	e.touch(now)
	return e
}

// touch writes once in a second at most, lest readers fight for the cache line.
func (e *entry[V]) touch(now time.Time) {
	if s := now.Unix(); e.used.Load() != s {
		e.used.Store(s)
	}
}

// get returns the answer for key, filling it if it has expired. The entry is
// never nil; the failure of a caller whose ctx ended is its own.
func (c *cache[V]) get(ctx context.Context, key string) *entry[V] {
	for {
		e, f, leader := c.join(key)
		switch {
		case e != nil:
			return e
		case leader:
			return c.lead(ctx, key, f)
		}
		select {
		case <-f.done:
			if f.entry != nil {
				return f.entry
			}
		case <-ctx.Done():
			return &entry[V]{err: &Error{Domain: key, Err: ctx.Err()}}
		}
	}
}

// join returns the fresh entry of key or else its flight, and whether the
// caller has to lead it.
func (c *cache[V]) join(key string) (e *entry[V], f *flight[V], leader bool) {
	now := time.Now()
	if e = c.fresh(key, now); e != nil {
		return e, nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e = c.entries[key]; e != nil && now.Before(e.expires) {
		return e, nil, false // a flight has just ended
	}
	if f = c.flights[key]; f != nil {
		return nil, f, false
	}
	f = &flight[V]{done: make(chan struct{})}
	c.flights[key] = f
	return nil, f, true
}

// lead fills the entry of key and ends the flight.
func (c *cache[V]) lead(ctx context.Context, key string, f *flight[V]) *entry[V] {
	defer func() { // also if fill panics
		c.mu.Lock()
		delete(c.flights, key)
		if f.entry != nil {
			c.put(key, f.entry)
		}
		c.mu.Unlock()
		close(f.done)
	}()
	c.mu.RLock()
	old := c.entries[key]
	c.mu.RUnlock()
	quick := old != nil && time.Now().Before(old.stale)

	val, expires, err := c.fill(ctx, key, quick)
	if err.failed() && ctx.Err() != nil {
		return &entry[V]{err: err} // says nothing about the DNS
	}
	f.entry = c.settle(old, val, expires, err)
	return f.entry
}

// settle makes the entry of what fill returned: the stale answer if there is
// one and fill failed.
func (c *cache[V]) settle(old *entry[V], val V, expires time.Time, err *Error) *entry[V] {
	now := time.Now()
	e := &entry[V]{val: val, err: err, expires: expires}
	switch {
	case err == nil:
		e.stale = expires.Add(c.staleFor)
	case err.failed() && old != nil && now.Before(old.stale):
		e.val, e.err, e.stale = old.val, nil, old.stale
		e.expires = now.Add(c.retry)
	case err.failed() && expires.IsZero():
		e.expires = now.Add(c.retry)
	}
	e.touch(now)
	return e
}

// failed reports whether e is a failure rather than an answer.
func (e *Error) failed() bool { return e != nil && e.Failure == Temporary }

// put stores e. In a full cache it takes the place of the least recently used
// of a few entries; maps are iterated from a random place. Call with mu held.
func (c *cache[V]) put(key string, e *entry[V]) {
	const sample = 8
	if _, ok := c.entries[key]; !ok && len(c.entries) >= c.size {
		var victim string
		oldest, n := int64(0), 0
		for k, e := range c.entries {
			if used := e.used.Load(); n == 0 || used < oldest {
				victim, oldest = k, used
			}
			if n++; n == sample {
				break
			}
		}
		delete(c.entries, victim)
	}
	c.entries[key] = e
}
