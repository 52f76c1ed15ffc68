package spool

import (
	"context"
	"slices"
	"time"
)

// Results are in the log first. They are applied for many at once: the result is
// kept, unless it is acknowledged by now; the recipient becomes an ended pair, and
// its message goes with the last of them.
const (
	applyMax   = 2048                   // so many are applied at once
	applyAfter = 200 * time.Millisecond // or when the first has waited for so long
)

// hasEnded reports whether a recipient has ended, though the file may not show it.
func (t *tx) hasEnded(id int64) bool { return t.ends[id] != nil }

// applyLog does what the log says of recipients that have ended, and not been
// applied yet.
func (t *tx) applyLog() error {
	l := &t.s.log
	if !t.locked {
		l.mu.Lock()
	}
	ends := l.unapplied(t.logged)
	if !t.locked {
		l.mu.Unlock()
	}
	ids := make([]int64, len(ends))
	for i, e := range ends {
		ids[i] = e.id
	}
	known, err := t.waiters(ids)
	if err != nil {
		return err
	}
	for _, e := range ends {
		t.results = max(t.results, e.seq)
		w := known[e.id]
		if w == nil || w.ended {
			continue // as the file says, or a result before in the log
		}
		w.ended, w.at = true, e.at
		t.ends[w.id] = w
		if t.acked[e.seq] {
			continue
		}
		if err := t.keep(e.seq, e.detail); err != nil {
			return err
		}
	}
	t.logged += len(ends)
	return t.unmarkLost(known)
}

// journal keeps a result that is not in the log until it is acknowledged. Up to
// the commit the log gives out no Seq, and it has none that the file has not: so
// nobody sees a result before one with a lower Seq.
func (t *tx) journal(detail string) (int64, error) {
	if !t.locked {
		t.s.log.mu.Lock()
		t.locked = true
		if err := t.applyLog(); err != nil {
			return 0, err
		}
	}
	t.s.log.results++
	t.results = t.s.log.results
	return t.results, t.keep(t.results, detail)
}

func (t *tx) keep(seq int64, detail string) error {
	_, err := t.insertResult.exec(seq, detail)
	return err
}

// endAll makes recipients that have ended ended pairs.
func (t *tx) endAll() error {
	known := make(map[int64]*waiter, len(t.ends))
	var ids, others []int64
	for id, w := range t.ends {
		switch {
		case t.endsDone[id]:
			continue
		case w.alone:
			known[id] = w
		default: // others of its message may have ended since
			others = append(others, id)
		}
		ids = append(ids, id)
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
		at = min(at, t.ends[id].at)
		t.left = append(t.left, t.ends[id].placed)
		if t.endsDone == nil {
			t.endsDone = map[int64]bool{}
		}
		t.endsDone[id] = true
	}
	return t.end(ids, known, at)
}

// end makes recipients ended pairs, and deletes messages that have no others.
func (t *tx) end(ids []int64, known map[int64]*waiter, now int64) error {
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	if err := t.note(ids, now); err != nil {
		return err
	}
	if err := t.ended.exec(ids, now); err != nil {
		return err
	}
	less := map[int64]int64{}
	for _, id := range ids {
		less[known[id].message]++
	}
	var gone []int64
	for _, id := range ids {
		w := known[id]
		n := less[w.message]
		switch {
		case n == 0: // seen
		case n >= w.remaining:
			gone = append(gone, w.message)
			t.uses[w.content]--
		default:
			if _, err := t.messageLess.exec(w.message, n); err != nil {
				return err
			}
		}
		delete(less, w.message)
	}
	return t.messageGone.exec(gone)
}

// note writes down who has ended, for forgetEnded.
func (t *tx) note(ids []int64, at int64) error {
	if at < never-int64(t.s.opt.Retention) {
		t.purgeAt = min(t.purgeAt, at+int64(t.s.opt.Retention))
	}
	_, err := t.insertEnded.exec(at, idList(ids))
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
		}, t.now-int64(t.s.opt.Retention))
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

// renewLog is log.renewFor for who is not handed out, and so has no mark.
func (t *tx) renewLog(due int64) error {
	l := &t.s.log
	if !t.locked {
		return l.renewFor(due)
	}
	if due > l.top {
		return nil
	}
	return l.renew()
}

// settleEnds brings the log to where the file is, after a commit.
func (t *tx) settleEnds() {
	l := &t.s.log
	if !t.locked {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	l.applied(t.logged)
	l.left(t.left)
}

// flush waits until what the log has is applied. While transactions fail it is a
// trial whether they still do.
func (s *Spool) flush(ctx context.Context) error {
	failing := s.failing.Load()
	if s.log.pending.Load() == 0 && !failing {
		return nil
	}
	return s.write(ctx, &request{urgent: true, apply: func(t *tx) error {
		t.probe = failing
		return nil
	}})
}

// apply applies what the log has.
func (w *writer) apply() {
	if w.s.log.pending.Load() > 0 {
		// If it fails it stays in the log: the next transaction tries it again.
		_ = w.transact([]*request{{apply: func(*tx) error { return nil }}})
	}
}
