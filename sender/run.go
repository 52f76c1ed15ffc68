package sender

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/volleymail/volley/bounce"
)

// run is one call of Send: what it has taken and not yet yielded.
type run struct {
	s      *Sender
	ctx    context.Context
	refuse bool // the Sender was shut down before
	queue  bool // it is the taker's: its items come from the Queue, and their results go there

	once  sync.Once
	why   atomic.Pointer[error] // set when the run is stopped
	ended chan struct{}         // closed after why is set

	wake chan struct{} // token for yieldAll: there is news
	room chan struct{} // token for feed: there is room

	mu          sync.Mutex
	results     []Result // guarded by mu: not yet yielded
	outstanding int      // guarded by mu: recipients taken, result not yet fetched
	fed         bool     // guarded by mu: src is at its end
	panicked    any      // of src; written before fed, read after
}

func newRun(s *Sender, ctx context.Context) *run {
	return &run{s: s, ctx: ctx, refuse: s.closing.Load(), ended: make(chan struct{}),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// stop makes the Sender give back what waits. Only the first cause counts.
func (r *run) stop(cause error) {
	r.once.Do(func() {
		r.why.Store(&cause)
		close(r.ended)
		r.s.sched.box.put(schedMsg{kind: schedStopRun, run: r})
	})
}

// cause is why the run was stopped, nil while it goes on.
func (r *run) cause() error {
	if p := r.why.Load(); p != nil {
		return *p
	}
	return nil
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// deliver takes a Result. It never blocks: the window bounds what can come.
func (r *run) deliver(res Result) {
	r.mu.Lock()
	r.results = append(r.results, res)
	r.mu.Unlock()
	token(r.wake)
}

// fetch takes the results that are there, and tells whether they are the last.
func (r *run) fetch(used []Result) (got []Result, last bool) {
	clear(used)
	if cap(used) > inboxKeep {
		used = nil
	}
	r.mu.Lock()
	got = r.results
	r.results = used[:0]
	r.outstanding -= len(got)
	last = r.fed && r.outstanding == 0
	r.mu.Unlock()
	token(r.room)
	return got, last
}

// yieldAll runs on the caller's goroutine.
func (r *run) yieldAll(yield func(Result) bool) {
	more, done := true, false
	defer func() {
		if !done { // the caller's loop body panicked
			r.stop(ErrStopped)
			r.drain()
		}
	}()
	var batch []Result
	for {
		var last bool
		batch, last = r.fetch(batch)
		for i := range batch {
			if more && !yield(batch[i]) {
				more = false
				if !last { // else nothing is under way
					r.stop(ErrStopped)
				}
			}
		}
		if last {
			done = true
			return
		}
		<-r.wake
	}
}

// drain waits until nothing of the run is under way.
func (r *run) drain() {
	var batch []Result
	for last := false; !last; {
		if batch, last = r.fetch(batch); !last {
			<-r.wake
		}
	}
}

// tryAcquire takes room in the window if there is some.
func (r *run) tryAcquire() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free := r.outstanding < r.s.cfg.Window
	if free {
		r.outstanding++
	}
	return free
}

// acquire waits for room in the window; false means that the run is over.
func (r *run) acquire() bool {
	for {
		if r.cause() != nil {
			return false
		}
		if r.tryAcquire() {
			return true
		}
		select {
		case <-r.room:
		case <-r.ended:
		}
	}
}

// feed takes messages from src until it ends or the run is over.
func (r *run) feed(src iter.Seq[*Message]) {
	defer func() {
		r.panicked = recover()
		r.mu.Lock()
		r.fed = true
		r.mu.Unlock()
		token(r.wake)
	}()
	for m := range src {
		r.take(m)
		if r.cause() != nil || r.s.closing.Load() && !r.refuse {
			return
		}
	}
}

// take starts each recipient of m on its way. It finishes what it began, past
// the window if the run ends meanwhile.
func (r *run) take(m *Message) {
	now := time.Now()
	if m == nil || len(m.To) == 0 {
		r.forceRoom()
		r.deliver(Result{Message: m, Outcome: Rejected, Class: localClass, Reply: localReply("the message has no recipient"),
			Err: &Error{Stage: bounce.StageLocal, Err: errors.New("Message.To is empty, or the Message nil: set it")}})
		return
	}
	err := r.s.checkMessage(m)
	id := r.s.ids.Add(1)
	var batch batch
	for i := range m.To {
		it := &item{msg: m, run: r, born: now.UnixNano(), id: id, rcpt: uint32(i)}
		if r.cause() != nil || !r.tryAcquire() {
			r.submit(&batch, now) // what is held back here could make no room
			if !r.acquire() {
				r.forceRoom()
			}
		}
		r.start(it, err, now, &batch)
		if batch.n >= batchSize {
			r.submit(&batch, now)
		}
	}
	r.submit(&batch, now)
}

// batch collects recipients of one message by domain, so that they can share
// transactions (RFC 5321 §4.5.4.1).
type batch struct {
	lists []submission
	n     int
}

const batchSize = 1000

func (b *batch) add(it *item, domain string) {
	b.n++
	for i := range b.lists {
		if b.lists[i].domain == domain {
			b.lists[i].items.pushBack(it)
			return
		}
	}
	b.lists = append(b.lists, submission{domain: domain})
	b.lists[len(b.lists)-1].items.pushBack(it)
}

func (r *run) submit(b *batch, now time.Time) {
	for _, sub := range b.lists {
		if r.refuse || !r.s.sched.submit(sub) {
			for it := sub.items.pop(); it != nil; it = sub.items.pop() {
				r.s.giveUp(it, "", ErrShutdown, now, now)
			}
		}
	}
	*b = batch{lists: b.lists[:0]}
}

func (r *run) forceRoom() {
	r.mu.Lock()
	r.outstanding++
	r.mu.Unlock()
}

// start adds an item to the batch, or ends it if it is malformed.
func (r *run) start(it *item, err error, now time.Time, b *batch) {
	if err != nil {
		r.s.refuse(it, localClass, err, now)
		return
	}
	m, err := parseMailbox(it.recipient())
	if err != nil {
		r.s.refuseAddress(it, err, now)
		return
	}
	b.add(it, m.domain)
}

// localClass is that of messages that are wrong before anybody is asked.
var localClass = bounce.Class{Category: bounce.ContentRejected, Scope: bounce.ScopeMessage, Permanent: true,
	Action: bounce.ActionFix, Rule: "local/malformed", Confidence: 1}

func localReply(text string) bounce.Reply {
	return bounce.Reply{Stage: bounce.StageLocal, Status: bounce.Status{5, 6, 0}, Text: text}
}

// refuse ends an item that is wrong before anybody is asked.
func (s *Sender) refuse(it *item, class bounce.Class, err error, now time.Time) {
	s.finish(it, outcome{Outcome: Rejected, failure: &failure{reply: localReply(err.Error()), class: class, err: err}}, now)
}

// refuseAddress ends an item whose address is malformed.
func (s *Sender) refuseAddress(it *item, err error, now time.Time) {
	class := localClass
	class.Category, class.Scope = bounce.InvalidMailbox, bounce.ScopeRecipient
	s.refuse(it, class, fmt.Errorf("Message.To: %q: %w", it.recipient(), err), now)
}

// checkMessage judges what all recipients of m share.
func (s *Sender) checkMessage(m *Message) error {
	switch {
	case m.Content == nil && m.Template == "":
		return errors.New("Message.Content is nil: set what renders the mail, or Message.Template")
	case m.Content != nil && m.Template != "":
		return fmt.Errorf("Message.Content and Message.Template %q are both set: leave one of them empty", m.Template)
	case m.Template != "" && s.cfg.Templates[m.Template] == nil:
		return fmt.Errorf("Message.Template %q is not in Config.Templates: add it there", m.Template)
	}
	if _, ok := s.cfg.Streams[m.Stream]; !ok && m.Stream != "" {
		return fmt.Errorf("Message.Stream %q is not in Config.Streams: add it there", m.Stream)
	}
	if m.From != "" {
		if _, err := parseMailbox(m.From); err != nil {
			return fmt.Errorf("Message.From: %q: %w", m.From, err)
		}
	}
	if _, err := loadZone(m.Zone); err != nil {
		return fmt.Errorf("Message.Zone: %w", err)
	}
	return m.DSN.check()
}
