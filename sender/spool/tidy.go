package spool

import (
	"context"
	"maps"
	"slices"
	"time"
)

// What ends is written at once as far as it must not be lost: the result, and
// the recipients' numbers in table ended, in one row for all of a transaction.
// The recipients and their messages are tidied up later, for many at once: that
// spares half of the writing. Until then they are untidy: in memory they count as
// ended, and Open finds them by the last rows of that table.

const (
	tidyMax   = 1024                  // so many are tidied up at once
	tidyAfter = 50 * time.Millisecond // or when nothing else is to do for so long
)

// hasEnded reports whether a recipient has ended, though the file may not show it.
func (t *tx) hasEnded(id int64) bool { return t.ends[id] != nil || t.untidy[id] != nil }

// tidy notes what has ended, and tidies up if it is time.
func (t *tx) tidy() error {
	at := int64(never) // the first of them: they are close together
	for _, w := range t.ends {
		at = min(at, w.at)
	}
	if err := t.note(slices.Sorted(maps.Keys(t.ends)), at); err != nil {
		return err
	}
	if !t.tidyNow && len(t.untidy)+len(t.ends) < tidyMax {
		return nil
	}
	some := maps.Clone(t.untidy)
	maps.Copy(some, t.ends)
	t.allTidy = true
	return t.tidyEnds(some)
}

// note writes down who has ended.
func (t *tx) note(ids []int64, at int64) error {
	if len(ids) == 0 {
		return nil
	}
	if at < never-int64(t.s.opt.Retention) {
		t.purgeAt = min(t.purgeAt, at+int64(t.s.opt.Retention))
	}
	t.notes++
	_, err := t.insertEnded.exec(t.notes, at, idList(ids))
	return err
}

// forgetEnded deletes pairs that ended long enough ago, about purgeSlice at most.
func (t *tx) forgetEnded() error {
	for n := int64(0); n < purgeSlice; {
		var note int64
		var ids string
		err := t.purgeable.query(func(row []value) error {
			note, ids = integer(row[0]), text(row[1])
			return nil
		}, t.now-int64(t.s.opt.Retention), t.tidied())
		if err != nil {
			return err
		}
		if note == 0 {
			break
		}
		gone, err := t.purge.exec(ids)
		if err != nil {
			return err
		}
		if _, err := t.deleteEnded.exec(note); err != nil {
			return err
		}
		n += gone
	}
	return t.nextPurge()
}

// tidied is up to which of the notes all is tidied up, in the file when this is
// committed.
func (t *tx) tidied() int64 {
	if t.allTidy {
		return t.notes
	}
	return t.tidyNotes
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
	t.tidyNotes = t.tidied()
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

// loadNotes finds the last of the notes.
func (w *writer) loadNotes() error {
	err := w.c.query(`SELECT tidy, max(tidy, coalesce((SELECT max(id) FROM ended), 0)) FROM counter`, func(row []value) error {
		w.tidyNotes, w.notes = integer(row[0]), integer(row[1])
		return nil
	})
	if err != nil {
		return err
	}
	return w.loadUntidy()
}

// loadUntidy finds what the process before has left untidy, and tidies it up.
func (w *writer) loadUntidy() error {
	err := w.c.query(`SELECT p.id, p.line, p.at, p.message, e.at FROM ended e CROSS JOIN json_each(e.recipients) j
		CROSS JOIN recipient p ON p.id = j.value WHERE e.id > ? AND p.line <> 0`, func(row []value) error {
		u := &waiter{id: integer(row[0]), message: integer(row[3]), ended: true, at: integer(row[4])}
		u.line, u.key = w.s.lines.byID[integer(row[1])], key{integer(row[2]), u.id}
		w.untidy[u.id] = u
		return nil
	}, w.tidyNotes)
	if err != nil || len(w.untidy) == 0 {
		return err
	}
	return w.transact([]*request{{tidy: true, apply: func(*tx) error { return nil }}})
}
