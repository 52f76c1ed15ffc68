package spool

import (
	"context"
	"slices"
	"time"

	"github.com/volleymail/volley/sender"
)

// change is a sender.Change that is prepared for the file.
type change struct {
	*sender.Change
	detail string // of its Result or Last
	notice *item
	seq    int64
	at     int64 // the recipient's place in its line
}

// Write implements sender.Queue. Changes of what is not in the file, or has
// ended, are passed over.
//
// Marks, and results that come with nothing else, are written to the log.
func (s *Spool) Write(ctx context.Context, now time.Time, changes []sender.Change) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	prepared := make([]change, len(changes))
	bytes := 0
	for i := range changes {
		c := &prepared[i]
		c.Change = &changes[i]
		if err := c.prepare(now); err != nil {
			return err
		}
		bytes += len(c.detail)
	}
	if s.failing.Load() || s.log.pending.Load() >= maxPending {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	if bytes < maxGroupBytes && s.forLog(prepared) {
		return s.writeLog(prepared, nano(now))
	}
	if err := s.moveMarks(ctx, prepared, nano(now)); err != nil {
		return err
	}
	r := &request{urgent: true, rows: len(prepared), bytes: bytes, apply: func(t *tx) error {
		t.seen(now)
		return t.change(prepared, nano(now))
	}}
	for _, c := range prepared {
		if c.Kind == sender.Acknowledged {
			r.acks = append(r.acks, c.Seq)
		}
	}
	if err := s.write(ctx, r); err != nil {
		return err
	}
	for i := range prepared {
		if c := &prepared[i]; c.Kind == sender.EndedNow {
			c.Seq = c.seq
		}
	}
	return nil
}

// moveMarks moves marks that will be taken back from the log to the file, where
// that is one step with all else: but not of those whose new place takes them back.
func (s *Spool) moveMarks(ctx context.Context, changes []change, now int64) error {
	var unset []change
	var ids []int64
	first := int64(never) // when one is due that may get a place again
	marks := s.log.marks()
	for _, c := range changes {
		again := c.Kind == sender.Later && s.log.reaches(nano(c.Due))
		if again {
			first = min(first, nano(c.Due))
		}
		if _, ok := marks[c.ID]; ok && (again || c.Kind == sender.NotSending) {
			unset, ids = append(unset, c), append(ids, c.ID)
		}
	}
	if len(ids) > 0 {
		err := s.write(ctx, &request{urgent: true, rows: len(ids), apply: func(t *tx) error { return t.markAll(ids) }})
		if err != nil {
			return err
		}
		if err := s.writeLog(unset, now); err != nil {
			return err
		}
	}
	return wrap(s.path, s.log.renewFor(first))
}

// forLog reports whether the log can have all changes: marks and ends of those
// that are handed out. It notes their places.
func (s *Spool) forLog(changes []change) bool {
	ls := &s.lines
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for i := range changes {
		c := &changes[i]
		_, lost := ls.lost[c.ID]
		h, out := ls.out[c.ID]
		c.at = h.key.at
		switch {
		case c.Kind == sender.Sending && out:
		case c.Kind == sender.NotSending && !lost:
		case c.Kind == sender.EndedNow && out && c.notice == nil:
		default:
			return false
		}
	}
	return true
}

// writeLog writes marks and results to the log.
func (s *Spool) writeLog(changes []change, now int64) error {
	entries := make([]logEntry, len(changes))
	for i, c := range changes {
		e := &entries[i]
		e.id = c.ID
		switch c.Kind {
		case sender.Sending:
			e.kind, e.at = entryMarked, c.at
		case sender.NotSending, sender.Later:
			e.kind = entryUnmarked
		case sender.EndedNow:
			e.kind, e.at, e.detail = entryEnded, now, c.detail
		}
	}
	first, err := s.log.write(entries, &s.lines)
	if err != nil {
		return wrap(s.path, err)
	}
	for i, e := range entries {
		if e.kind == entryEnded {
			changes[i].Seq = e.seq
		}
	}
	if first || s.log.pending.Load() >= applyMax {
		s.kick()
	}
	return nil
}

func (c *change) prepare(now time.Time) (err error) {
	var detail []byte
	switch {
	case c.Kind == sender.EndedNow && c.Result != nil:
		detail, err = c.Result.MarshalJSON()
	case c.Kind == sender.Later && c.Last != nil:
		detail, err = c.Last.MarshalJSON()
	}
	if err != nil {
		return err
	}
	c.detail = string(detail)
	if c.Notice != nil {
		c.notice, err = prepare(c.Notice, now)
	}
	return err
}

// waiter is what the file has of a recipient that has not ended.
type waiter struct {
	placed
	id, message, remaining, content int64

	alone bool // its message has no other recipient: nothing of this changes
	mark  bool
	ended bool
	at    int64   // when it ended
	later *change // the last that said so
}

// change applies changes in order: what is the same for many is one statement.
func (t *tx) change(changes []change, now int64) error {
	ids := make([]int64, 0, len(changes))
	for i := range changes {
		if changes[i].Kind != sender.Acknowledged {
			ids = append(ids, changes[i].ID)
		}
	}
	known, err := t.waiters(ids)
	if err != nil {
		return err
	}
	var acks []int64
	for i := range changes {
		c := &changes[i]
		if c.notice != nil {
			if err := t.notify(c.notice); err != nil {
				return err
			}
		}
		if c.Kind == sender.Acknowledged {
			acks = append(acks, c.Seq)
			continue
		}
		w := known[c.ID]
		if w == nil || w.ended {
			continue
		}
		switch c.Kind {
		case sender.Sending:
			w.mark = true
		case sender.NotSending:
			w.mark = false
		case sender.Later:
			w.mark, w.later = false, c
		case sender.EndedNow:
			w.mark, w.ended = false, true
			if c.seq, err = t.journal(c.detail); err != nil {
				return err
			}
			w.at = now
			t.ends[w.id] = w
		}
	}
	if err := t.apply(known); err != nil {
		return err
	}
	return t.acknowledge(acks)
}

// notify submits a notice. That of a canceled campaign is not wanted any more.
func (t *tx) notify(it *item) error {
	if t.isCanceled(it.sub.Campaign) {
		return nil
	}
	return t.insert(it)
}

// waiters gives those of some recipients that have not ended.
func (t *tx) waiters(ids []int64) (map[int64]*waiter, error) {
	known := make(map[int64]*waiter, len(ids))
	ids = slices.Sorted(slices.Values(ids))
	ids = slices.DeleteFunc(slices.Compact(ids), func(id int64) bool { return t.hasEnded(id) })
	return known, t.look(t.remember(ids, known), known)
}

// remember adds the recipients that memory knows enough of, and returns the others.
func (t *tx) remember(ids []int64, known map[int64]*waiter) (others []int64) {
	ls := &t.s.lines
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.DeleteFunc(ids, func(id int64) bool {
		h := ls.out[id]
		if h.alone {
			known[id] = &waiter{id: id, placed: h.placed, message: h.message, remaining: 1, content: h.content, alone: true}
		}
		return h.alone
	})
}

// look adds what the file has of recipients.
func (t *tx) look(ids []int64, known map[int64]*waiter) error {
	if len(ids) == 0 {
		return nil
	}
	return t.find.query(func(row []value) error {
		w := &waiter{id: integer(row[0]), message: integer(row[3]), remaining: integer(row[4]), content: integer(row[5])}
		w.line, w.key = t.s.lines.byID[integer(row[1])], key{integer(row[2]), w.id}
		known[w.id] = w
		return nil
	}, idList(ids))
}

// apply writes what became of the recipients.
func (t *tx) apply(known map[int64]*waiter) error {
	if err := t.unmarkLost(known); err != nil {
		return err
	}
	var marks []int64
	for _, w := range known {
		if w.mark {
			marks = append(marks, w.id)
		}
		if w.later != nil && !w.ended {
			if err := t.postpone(w); err != nil {
				return err
			}
			t.left = append(t.left, w.placed)
		}
	}
	return t.markAll(marks)
}

// markAll sets marks in the file.
func (t *tx) markAll(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	t.marked = append(t.marked, ids...)
	_, err := t.mark.exec(idList(ids))
	return err
}

// unmarkLost takes back the marks that are in the file.
func (t *tx) unmarkLost(known map[int64]*waiter) error {
	ids := t.s.lines.lostOf(known)
	if len(ids) == 0 {
		return nil
	}
	t.unlost = append(t.unlost, ids...)
	slices.Sort(ids)
	_, err := t.unmark.exec(idList(ids))
	return err
}

func (t *tx) postpone(w *waiter) error {
	c := w.later
	at, due := t.place(w.line, nano(c.Due), w.id)
	warned := int64(0)
	if c.Warned {
		warned = 1
	}
	_, err := t.later.exec(w.id, at, due, orNull(int64(c.Attempts)), orNull(warned), orNull(c.detail))
	return err
}

// acknowledge deletes results, those that follow each other at once.
func (t *tx) acknowledge(seqs []int64) error {
	slices.Sort(seqs)
	for len(seqs) > 0 {
		n := 1
		for n < len(seqs) && seqs[n] <= seqs[n-1]+1 {
			n++
		}
		if _, err := t.ack.exec(seqs[0], seqs[n-1]); err != nil {
			return err
		}
		seqs = seqs[n:]
	}
	return nil
}

// write hands a request to the writer and waits for it. When ctx ends before
// the writer has begun with it, it is withdrawn; after that its end is awaited.
func (s *Spool) write(ctx context.Context, r *request) error {
	r.done = make(chan struct{})
	to := s.in
	if r.urgent {
		to = s.urgent
	}
	select {
	case to <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return wrap(s.path, ErrClosed)
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return ctx.Err()
		}
	case <-s.done:
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return wrap(s.path, ErrClosed)
		}
	}
	<-r.done
	return r.err
}
