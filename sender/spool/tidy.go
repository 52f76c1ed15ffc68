package spool

import (
	"context"
	"slices"
	"time"
)

// What ends is written at once as far as it must not be lost: the result, with
// the recipient's number. The recipient and its message are tidied up later, for
// many at once: that spares half of the writing. Until then they are untidy: in
// memory they count as ended, and Open finds them by their results.

const (
	tidyMax   = 256                   // so many are tidied up at once
	tidyAfter = 50 * time.Millisecond // or when nothing else is to do for so long
	tidySeqs  = 1 << 14               // the untidy are among the last results, these at most
)

// hasEnded reports whether a recipient has ended, though the file may not show it.
func (t *tx) hasEnded(id int64) bool { return t.ends[id] != nil || t.untidy[id] != nil }

// tidy tidies up if it is time.
func (t *tx) tidy() error {
	if !t.tidyNow && len(t.untidy)+len(t.ends) < tidyMax {
		return nil
	}
	if err := t.tidyEnds(t.untidy); err != nil {
		return err
	}
	return t.tidyEnds(t.ends)
}

// tidyEnds makes recipients ended pairs.
func (t *tx) tidyEnds(some map[int64]*waiter) error {
	known := make(map[int64]*waiter, len(some))
	var ids, others []int64
	for id, w := range some {
		if t.tidiedUp[id] {
			continue
		}
		ids = append(ids, id)
		if w.alone {
			known[id] = w
		} else { // others of its message may have ended since
			others = append(others, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(others)
	if err := t.look(others, known); err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id int64) bool { return known[id] == nil })
	at := int64(never) // the first of them: they are close together
	for _, id := range ids {
		at = min(at, some[id].at)
		t.left = append(t.left, some[id].placed)
		if t.tidiedUp == nil {
			t.tidiedUp = map[int64]bool{}
		}
		t.tidiedUp[id] = true
	}
	return t.end(ids, known, at)
}

// settleTidy brings memory to where the file is, after a commit.
func (t *tx) settleTidy() {
	for id := range t.tidiedUp {
		delete(t.untidy, id)
	}
	for id, w := range t.ends {
		if !t.tidiedUp[id] {
			t.untidy[id] = w
		}
	}
	t.s.untidy.Store(int64(len(t.untidy)))
}

// tidy waits until nothing is untidy that ended before.
func (s *Spool) tidy(ctx context.Context) error {
	if s.untidy.Load() == 0 {
		return nil
	}
	return s.write(ctx, &request{tidy: true, apply: func(*tx) error { return nil }})
}

// tidyUp tidies up what is left.
func (w *writer) tidyUp() {
	if len(w.untidy) > 0 {
		// If it fails they stay untidy: the next write tries it again.
		_ = w.transact([]*request{{tidy: true, apply: func(*tx) error { return nil }}})
	}
}

// loadUntidy finds what the process before has left untidy, and tidies it up.
func (w *writer) loadUntidy() error {
	now := nano(time.Now()) // no Sender has said yet what time it is
	err := w.c.query(`SELECT p.id, p.line, p.at, p.message FROM result r CROSS JOIN recipient p ON p.id = r.recipient
		WHERE r.seq > ? AND p.line <> 0`, func(row []value) error {
		u := &waiter{id: integer(row[0]), message: integer(row[3]), ended: true, at: now}
		u.line, u.key = w.s.lines.byID[integer(row[1])], key{integer(row[2]), u.id}
		w.untidy[u.id] = u
		return nil
	}, w.results-tidySeqs)
	if err != nil || len(w.untidy) == 0 {
		return err
	}
	return w.transact([]*request{{tidy: true, apply: func(*tx) error { return nil }}})
}
