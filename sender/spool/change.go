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
}

// Write implements sender.Queue. Changes of what is not in the file, or has
// ended, are passed over.
func (s *Spool) Write(ctx context.Context, now time.Time, changes []sender.Change) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	set, unset, others := s.sort(changes)
	prepared := make([]change, len(others))
	bytes := 0
	for i, c := range others {
		prepared[i].Change = c
		if err := prepared[i].prepare(now); err != nil {
			return err
		}
		bytes += len(prepared[i].detail)
	}
	// What is taken back goes before: if the rest fails, these go out again as they
	// would have.
	if err := s.marks.write(set, unset); err != nil {
		return wrap(s.path, err)
	}
	if len(prepared) == 0 {
		return nil
	}
	err := s.write(ctx, &request{urgent: true, rows: len(prepared), bytes: bytes, apply: func(t *tx) error {
		t.seen(now)
		return t.change(prepared, nano(now))
	}})
	if err != nil {
		if len(set) > 0 {
			_ = s.marks.write(nil, set) // if it fails, they are reported as unknown after a crash
		}
		return err
	}
	var ended []int64
	for i := range prepared {
		if c := &prepared[i]; c.Kind == sender.EndedNow {
			c.Seq = c.seq
			ended = append(ended, c.ID)
		}
	}
	s.marks.ended(ended)
	return nil
}

// sort tells what marks are set and taken back, and what is for SQLite.
func (s *Spool) sort(changes []sender.Change) (set, unset []int64, others []*sender.Change) {
	for i := range changes {
		c := &changes[i]
		switch c.Kind {
		case sender.Sending:
			set = append(set, c.ID)
			continue
		case sender.NotSending:
			unset = append(unset, c.ID)
			if !s.lines.isLost(c.ID) {
				continue
			}
		case sender.Later:
			unset = append(unset, c.ID)
		}
		others = append(others, c)
	}
	return set, unset, others
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
	ended bool
	at    int64   // when it ended
	later *change // the last that said so
}

// change applies changes in order: what is the same for many is one statement.
func (t *tx) change(changes []change, now int64) error {
	known, err := t.waiters(changes)
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
		case sender.Later:
			w.later = c
		case sender.EndedNow:
			w.ended = true
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

// waiters reads the recipients that changes are about.
func (t *tx) waiters(changes []change) (map[int64]*waiter, error) {
	ids := make([]int64, 0, len(changes))
	for i := range changes {
		if changes[i].Kind != sender.Acknowledged {
			ids = append(ids, changes[i].ID)
		}
	}
	known := make(map[int64]*waiter, len(ids))
	slices.Sort(ids)
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
	var unlost []int64
	for _, w := range known {
		if t.s.lines.isLost(w.id) {
			unlost = append(unlost, w.id)
		}
		if w.later != nil && !w.ended {
			if err := t.postpone(w); err != nil {
				return err
			}
			t.left = append(t.left, w.placed)
		}
	}
	if len(unlost) == 0 {
		return nil
	}
	t.unlost = append(t.unlost, unlost...)
	slices.Sort(unlost)
	_, err := t.unmark.exec(idList(unlost))
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

// end makes recipients ended pairs, and deletes messages that have no others.
func (t *tx) end(ids []int64, known map[int64]*waiter, now int64) error {
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
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

// journal keeps a result until it is acknowledged.
func (t *tx) journal(detail string) (int64, error) {
	t.results++
	_, err := t.insertResult.exec(t.results, detail)
	return t.results, err
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
