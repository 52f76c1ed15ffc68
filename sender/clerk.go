package sender

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// clerk writes to the Queue what becomes of the recipients that are in memory
// out of it. One goroutine runs it, which owns the fields; others put notes into
// its inbox. Marks are waited for on the wire: they are written at once, with the
// results that are known by then, so that no more is in doubt after a crash than
// what is on the wire. The rest has a lane of its own, which collects while a
// write is under way. What was noted for the first lane before is written before.
type clerk struct {
	s       *Sender
	box     *inbox[note]
	journal *journal
	stop    chan struct{} // closed when no more notes come
	done    chan struct{} // closed when the last ones are written

	first   changeSet // Sending, NotSending and EndedNow
	firstAt time.Time // zero = nothing to write
	rest    changeSet
	restAt  time.Time // zero = nothing to write, and no trial after a failure
	spare   changeSet // empty: memory for the next rest
	writing bool      // a set of the rest is being written
	written chan changeSet
	fails   int // writes in a row
}

// changeSet is what is written at once.
type changeSet struct {
	changes []Change
	notes   []note  // that made the changes, in their order
	asked   []*mark // to be answered when it is written
	retry   bool    // after a failure: if it is written, the Queue works again
	now     time.Time
	err     error
}

// note is a Change with what the clerk needs beside it.
type note struct {
	Change
	mark  *mark // to be answered when the change is written
	leave Line  // of the recipient, if it leaves the memory
	left  bool  // it does
	dsn   bool  // the server was asked for notifications
	item  *item // what a notice is about, nil = none is due
}

const (
	linger     = 5 * time.Millisecond   // changes that nobody waits for wait so long for others
	ackLinger  = 100 * time.Millisecond // acknowledgements too
	writeRetry = time.Second            // after a failed write, doubled up to
	writeMax   = 30 * time.Second
	lastWrites = 3 // failures in a row after which Shutdown gives up
)

// mark tells when the Queue has noted that a message may be on the wire.
type mark struct{ written chan error }

// errUnmarked is why a message did not go out: the Queue could not note it.
var errUnmarked = errors.New("Config.Queue cannot be written")

// wait returns nil when the mark is written.
func (m *mark) wait(ctx context.Context) error {
	select {
	case err := <-m.written:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func newClerk(s *Sender) *clerk {
	return &clerk{s: s, box: newInbox[note](), journal: newJournal(), written: make(chan changeSet, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// mark notes that the items are about to go out.
func (c *clerk) mark(items []*item) *mark {
	m := &mark{written: make(chan error, 1)}
	notes := make([]note, len(items))
	for i, it := range items {
		notes[i].Change = Change{Kind: Sending, ID: it.waiting().ID}
	}
	notes[len(notes)-1].mark = m
	c.box.put(notes...) // at once: a write that fails drops all of them or none
	return m
}

// unmark notes that the item was not sent after all.
func (c *clerk) unmark(it *item) {
	c.box.put(note{Change: Change{Kind: NotSending, ID: it.waiting().ID}})
}

// later gives an item back to the Queue until it is due.
func (c *clerk) later(it *item, site string, due, now time.Time) {
	w := it.waiting()
	n := note{Change: Change{Kind: Later, ID: w.ID, Due: due, Attempts: int(it.tries), Last: it.attempt(site, now), Warned: w.Warned}, leave: it.msg.queued.Line, left: true}
	if !w.Warned && it.last != nil {
		n.item = it // a delay notice may be due
	}
	c.box.put(n)
}

// end keeps the item's Result.
func (c *clerk) end(it *item, r Result, dsn bool) {
	c.box.put(note{Change: Change{Kind: EndedNow, ID: it.waiting().ID, Attempts: r.Attempts, Result: &r}, leave: it.msg.queued.Line, left: true, item: it, dsn: dsn})
}

func (c *clerk) run() {
	defer close(c.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var got []note
	for stop := c.stop; ; { // nil when it was closed
		runtime.Gosched() // who is about to ask shares the write
		now := time.Now()
		got = c.box.take(got)
		for i := range got {
			c.take(&got[i], now)
		}
		rest := !c.writing && due(c.restAt, now)
		if c.fails == 0 && (due(c.firstAt, now) || rest && !c.firstAt.IsZero()) {
			c.writeFirst(now)
			continue
		}
		if rest {
			c.write(now)
		}
		if left := len(c.first.changes) + len(c.rest.changes); stop == nil && !c.writing && (left == 0 || c.fails >= lastWrites) {
			if left > 0 {
				c.s.cfg.log.Error("the Queue could not be written before the end: what was under way will be reported as unknown", "changes", left)
			}
			return
		}
		wait := time.Hour
		if at := c.next(); !at.IsZero() {
			wait = at.Sub(now)
		}
		timer.Reset(wait)
		select {
		case b := <-c.written:
			c.wrote(b)
		case <-c.box.wake:
		case <-timer.C:
		case <-stop:
			stop = nil
			c.hurry(time.Now())
		}
	}
}

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// next returns when there is something to write, zero for not before news.
func (c *clerk) next() (at time.Time) {
	if !c.writing {
		at = c.restAt
	}
	if c.fails == 0 {
		at = sooner(at, c.firstAt)
	}
	return at
}

// hurry makes all due that waits.
func (c *clerk) hurry(now time.Time) {
	if len(c.first.changes) > 0 {
		c.firstAt = now
	}
	if len(c.rest.changes) > 0 || c.fails > 0 {
		c.restAt = now
	}
}

// take adds a note to what is to be written.
func (c *clerk) take(n *note, now time.Time) {
	to, at, wait := &c.first, &c.firstAt, linger
	switch n.Kind {
	case Sending:
		wait = 0
		if n.mark != nil {
			to.asked = append(to.asked, n.mark)
		}
	case Later:
		to, at = &c.rest, &c.restAt
	case Acknowledged:
		to, at, wait = &c.rest, &c.restAt, ackLinger
	}
	if n.item != nil {
		c.notify(n, now)
		n.item = nil
	}
	if c.fails == 0 { // else it goes with the next trial
		*at = sooner(*at, now.Add(wait))
	}
	to.add(n.Change, *n)
}

// notify adds the notice that is due, if one is.
func (c *clerk) notify(n *note, now time.Time) {
	it := n.item
	o := occasion{Result: n.Result, now: now, born: time.Unix(0, it.born), number: it.id, warned: it.waiting().Warned, promised: n.dsn}
	if n.Kind == Later {
		o.Result = &Result{Message: it.msg, Recipient: it.recipient(), Class: it.last.class, Reply: it.last.reply, Err: it.last.err, Attempts: n.Attempts}
		o.next = n.Due
	}
	if o.Attempts > 0 {
		o.tried = now
	}
	told := c.s.notice(o)
	if told == nil {
		return
	}
	n.Warned = n.Warned || n.Kind == Later
	if !c.s.handle(told) {
		n.Notice = told.submission(now)
	}
}

// writeFirst writes what marks wait for, and waits for it.
func (c *clerk) writeFirst(now time.Time) {
	b := c.first
	b.now = now
	c.first, c.firstAt = changeSet{}, time.Time{}
	// Not the Sender's context: what was delivered must be kept also when it is cut.
	if b.err = c.s.cfg.Queue.Write(context.Background(), now, b.changes); b.err != nil {
		c.failed(b)
		return
	}
	c.tell(b)
	c.first = b.emptied()
}

// write begins to write the rest. After a failure that is all there is, and be
// it nothing: then it is a trial.
func (c *clerk) write(now time.Time) {
	b := c.rest
	c.rest, c.spare, c.restAt = c.spare, changeSet{}, time.Time{}
	if c.fails > 0 {
		b.follow(c.first)
		b.asked, b.retry = c.first.asked, true
		c.first, c.firstAt = changeSet{}, time.Time{}
		if len(b.changes) == 0 {
			b.add(Change{Kind: Acknowledged}, note{})
		}
	}
	b.now = now
	c.writing = true
	go func() {
		b.err = c.s.cfg.Queue.Write(context.Background(), now, b.changes) // as above
		c.written <- b
	}()
}

// wrote takes note of a write of the rest that has ended.
func (c *clerk) wrote(b changeSet) {
	c.writing = false
	if b.err != nil {
		c.failed(b)
		return
	}
	if b.retry {
		c.fails = 0
		c.hurry(time.Now()) // what was collected meanwhile
		c.s.resumeQueue()
	}
	c.tell(b)
	c.cancelLate(b.notes)
	c.spare = b.emptied()
}

// tell tells whom it concerns that changes are written.
func (c *clerk) tell(b changeSet) {
	b.answer(nil)
	c.journal.add(b.changes)
	c.s.taker.wrote(b.notes)
}

// cancelLate cancels what went back to the Queue after Cancel was there.
func (c *clerk) cancelLate(notes []note) {
	canceled := c.s.admin.orders.Load().canceled
	if len(canceled) == 0 {
		return
	}
	late := map[string]bool{}
	for i := range notes {
		if n := &notes[i]; n.Kind == Later && canceled[n.leave.Campaign] {
			late[n.leave.Campaign] = true
		}
	}
	for campaign := range late {
		if err := c.s.cancelQueued(context.Background(), campaign); err != nil {
			c.s.cfg.log.Error("recipients of a canceled campaign end when they are due", "campaign", campaign, "err", err)
		}
	}
}

// late writes what is acknowledged after Shutdown, when nobody else does.
func (c *clerk) late() {
	select {
	case <-c.stop:
		<-c.done
	default:
		return // the clerk will take it
	}
	var changes []Change
	for _, n := range c.box.take(nil) {
		changes = append(changes, n.Change)
	}
	if len(changes) == 0 {
		return
	}
	if err := c.s.cfg.Queue.Write(context.Background(), time.Now(), changes); err != nil {
		c.s.cfg.log.Error("Config.Queue cannot be written: what was acknowledged last will come again", "err", err)
		return
	}
	c.journal.add(changes)
}

// emptied keeps the memory of a set for the next.
func (b changeSet) emptied() changeSet {
	return changeSet{changes: emptied(b.changes), notes: emptied(b.notes), asked: emptied(b.asked)}
}

// emptied keeps the memory of a slice for the next use, unless it is much.
func emptied[T any](s []T) []T {
	clear(s)
	if cap(s) > inboxKeep {
		return nil
	}
	return s[:0]
}

// failed pauses the sending. Whoever waits for a mark is told; all else is
// written as soon as that is possible, before what was collected since.
func (c *clerk) failed(b changeSet) {
	c.fails++
	c.restAt = b.now.Add(min(writeRetry<<min(c.fails-1, 8), writeMax))
	c.s.pauseQueue(b.err, c.restAt, c.fails)
	b.answer(errors.Join(errUnmarked, b.err))
	var first, rest changeSet
	for i := range b.changes {
		switch b.changes[i].Kind {
		case Sending:
		case NotSending, EndedNow:
			first.add(b.changes[i], b.notes[i])
		default:
			rest.add(b.changes[i], b.notes[i])
		}
	}
	c.first.follow(first)
	c.rest.follow(rest)
}

func (b *changeSet) add(c Change, n note) {
	b.changes, b.notes = append(b.changes, c), append(b.notes, n)
}

// follow puts what was before b before it.
func (b *changeSet) follow(before changeSet) {
	b.changes = append(before.changes, b.changes...)
	b.notes = append(before.notes, b.notes...)
}

// answer tells those who wait for marks.
func (b *changeSet) answer(err error) {
	for _, m := range b.asked {
		m.written <- err
	}
}
