package livepack

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"
)

// Fetch asks the source once and adopts what it has, if that is newer and good.
// It returns the Event that Observe gets, too: Adopted, Unchanged or Refused. A
// Fetch that begins while another runs waits for that.
func (u *Updater) Fetch(ctx context.Context) Event {
	u.fetching.Lock()
	defer u.fetching.Unlock()
	ctx, cancel := context.WithTimeout(ctx, u.cfg.Timeout)
	defer cancel()
	u.mu.Lock()
	tag := u.tag
	u.mu.Unlock()
	signed, newTag, err := u.cfg.Source.Fetch(ctx, tag, u.cfg.MaxSize)
	events := u.take(signed, newTag, err)
	for _, e := range events {
		u.cfg.Observe(e)
	}
	return events[0]
}

// take adopts what the source gave, or not.
func (u *Updater) take(signed []byte, tag string, err error) []Event {
	u.mu.Lock()
	defer u.mu.Unlock()
	if errors.Is(err, ErrNotModified) {
		u.fetched = time.Now()
		return []Event{u.event(Unchanged, u.newest.text, nil)}
	}
	u.tag = ""
	if err := u.fetchError(signed, err); err != nil {
		return []Event{u.refused(err)}
	}
	u.fetched = time.Now()
	if sha256.Sum256(signed) == u.digest {
		u.tag = tag
		return []Event{u.event(Unchanged, u.newest.text, nil)}
	}
	pack, err := u.prepare(signed, func(v version) bool { return v.compare(u.newest) > 0 })
	if err != nil {
		return []Event{u.refused(err)}
	}
	u.remember(u.running)
	u.tag, u.newest, u.digest = tag, pack.version, sha256.Sum256(signed)
	return u.put(pack, Adopted)
}

func (u *Updater) fetchError(signed []byte, err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Reason: Truncated, Err: err}
	case err != nil:
		return &Error{Reason: Unreachable, Err: err}
	case int64(len(signed)) > u.cfg.MaxSize:
		return &Error{Reason: TooLarge}
	}
	return nil
}

// prepare makes a signed pack ready to be put in place: all that can be wrong
// with it is found here.
func (u *Updater) prepare(signed []byte, fits func(version) bool) (*adopted, error) {
	body, err := Verify(signed, u.cfg.Keys...)
	if err != nil {
		return nil, err
	}
	pack, err := u.cfg.Target.Prepare(body)
	if clamped, ok := errors.AsType[*Error](err); ok {
		return nil, clamped
	} else if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	v, err := parseVersion(pack.Version)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	if !fits(v) {
		return nil, &Error{Reason: Older, Version: v.text}
	}
	return &adopted{v, signed, pack.Apply}, nil
}

// remember keeps what was running for Rollback. mu is held.
func (u *Updater) remember(pack *adopted) {
	if pack == nil {
		return
	}
	u.before = append(u.before, pack)
	if len(u.before) > maxBefore {
		u.before = append([]*adopted(nil), u.before[1:]...)
	}
}

// put puts a pack in place, nil = the built-in one, and into the cache. mu is
// held.
func (u *Updater) put(pack *adopted, kind EventKind) []Event {
	u.running = pack
	if pack == nil {
		u.cfg.Target.Reset()
	} else {
		pack.apply()
	}
	events := []Event{u.event(kind, u.version(), nil)}
	if u.cfg.Cache != "" && kind != Restored {
		if err := u.store(); err != nil {
			events = append(events, u.event(NotCached, u.version(), err))
		}
	}
	return events
}

// ErrNothingBefore is what Rollback returns when the built-in pack is running.
var ErrNothingBefore = errors.New("livepack: the built-in pack is running")

// Rollback puts the pack in place that was running before, at last the built-in
// one. The version left is not adopted again, nor is any older: only one above it.
func (u *Updater) Rollback() (Event, error) {
	u.mu.Lock()
	if u.running == nil {
		defer u.mu.Unlock()
		return Event{}, ErrNothingBefore
	}
	var pack *adopted
	if n := len(u.before); n > 0 {
		pack, u.before = u.before[n-1], u.before[:n-1]
	}
	events := u.put(pack, RolledBack)
	u.mu.Unlock()
	for _, e := range events {
		u.cfg.Observe(e)
	}
	return events[0], nil
}

// event makes an Event. mu is held.
func (u *Updater) event(kind EventKind, version string, err error) Event {
	return Event{Kind: kind, Target: u.cfg.Target.Name, Version: version, Running: u.version(), Err: err}
}

func (u *Updater) refused(err error) Event {
	version := ""
	if e, ok := errors.AsType[*Error](err); ok {
		version = e.Version
	}
	return u.event(Refused, version, err)
}
