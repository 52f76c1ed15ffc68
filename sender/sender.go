package sender

import (
	"context"
	"crypto/rand"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Sender sends mail. It is safe for concurrent use; one serves a whole
// application, so that limits hold over all its campaigns.
type Sender struct {
	cfg   *config
	nonce string // makes Message-IDs of this Sender different from all others
	ids   atomic.Uint64
	hosts *hosts
	sched *scheduler
	admin admin

	taker      *taker // what feeds on Config.Queue; nil without
	clerk      *clerk // what writes to it; nil without
	queueNonce string // as nonce, for what comes from the Queue, which keeps it

	closing  atomic.Bool        // Shutdown was called
	scarce   atomic.Bool        // sites wait for connections: idle ones are closed; written by the scheduler
	paused   atomic.Bool        // the Queue cannot be written: nothing may start; written by the clerk
	stop     sync.Once          // tells the scheduler so
	closed   sync.Once          // ends the clerk
	ctx      context.Context    // of all connections
	cut      context.CancelFunc // ends ctx: when Shutdown may not wait any longer
	seeking  context.Context    // of lookups and of connections that are being opened
	unseek   context.CancelFunc // ends seeking: when Shutdown begins
	finished chan struct{}      // closed by the scheduler when nothing runs any more
}

// New makes a Sender. The error names every mistake in cfg, each with its
// field and the remedy. End the Sender with Shutdown.
func New(cfg Config) (*Sender, error) {
	c, err := cfg.check()
	if err != nil {
		return nil, err
	}
	s := &Sender{cfg: c, nonce: rand.Text()[:12], hosts: newHosts(), finished: make(chan struct{})}
	if err := s.loadOrders(context.Background()); err != nil {
		return nil, err
	}
	s.ctx, s.cut = context.WithCancel(context.Background())
	s.seeking, s.unseek = context.WithCancel(s.ctx)
	s.sched = newScheduler(s)
	if s.cfg.Queue != nil {
		if err := s.openQueue(); err != nil {
			s.cut()
			return nil, err
		}
		go s.clerk.run()
		go s.taker.run()
	}
	go s.sched.run()
	return s, nil
}

// Send sends messages and yields the fate of each recipient as it becomes
// known, in no particular order: exactly one Result for each recipient of each
// message that it took from src, whatever happens. A message without
// recipients, or a nil one, gets one Result with Recipient "".
//
// It takes from src, on a goroutine of its own, while Config.Window has room.
// Recipients that fail for the moment are tried again until their lifetime
// ends, which may be days: bound the time with ctx, or Retry.MaxAttempts.
//
// When ctx ends, or Shutdown is called, Send takes no more from src; what waits
// is yielded as Deferred; transactions on the wire are cut, or, where the end
// of the message is out already, waited for a few seconds. Leaving the loop
// early does the same without yielding. Send returns when src has returned:
// src should end when ctx does. A Send that begins after Shutdown answers each
// message of src with ErrShutdown.
//
// Each mail is checked when it is rendered. Mended are: bare LF (made CRLF), a
// missing final line end, a missing Date or Message-ID (added), Bcc and
// Return-Path fields (taken out). Refused, as Rejected, are: a missing or
// empty From, a field doubled that must be single, a malformed header, bare CR,
// NUL, lines over 998 octets, header octets that are not UTF-8.
func (s *Sender) Send(ctx context.Context, src iter.Seq[*Message]) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		r := newRun(s, ctx)
		release := context.AfterFunc(ctx, func() { r.stop(context.Cause(ctx)) })
		defer release()
		go r.feed(src)
		r.yieldAll(yield)
		if r.panicked != nil {
			panic(r.panicked)
		}
	}
}

// SendAll sends the messages and returns when each recipient's fate is known:
// the results stand in the order of the messages and their recipients.
func (s *Sender) SendAll(ctx context.Context, msgs ...*Message) []Result {
	type delivery struct {
		m  *Message
		to string
	}
	var results []Result
	places := map[delivery][]int{} // of results, the first to fill last
	for _, m := range msgs {
		to := []string{""}
		if m != nil && len(m.To) > 0 {
			to = m.To
		}
		for _, addr := range to {
			places[delivery{m, addr}] = append(places[delivery{m, addr}], len(results))
			results = append(results, Result{Message: m, Recipient: addr, Outcome: Deferred})
		}
	}
	for _, at := range places {
		slices.Reverse(at)
	}
	for r := range s.Send(ctx, slices.Values(msgs)) {
		k := delivery{r.Message, r.Recipient}
		at := places[k]
		results[at[len(at)-1]] = r
		places[k] = at[:len(at)-1]
	}
	cause := context.Cause(ctx)
	if cause == nil {
		cause = ErrShutdown
	}
	for _, at := range places { // Send has ended before it took them
		for _, i := range at {
			results[i].RetryAt = time.Now()
			results[i].Err = &Error{Recipient: results[i].Recipient, Err: cause}
		}
	}
	return results
}

// Shutdown ends the Sender: it takes no more messages, yields what waits as
// Deferred with ErrShutdown (what was submitted stays in the Queue, which is the
// caller's to close), finishes the transactions on the wire and says
// QUIT. If ctx ends before, connections are cut, and ctx's error is returned.
// After Shutdown nothing of the Sender runs. Calling it again waits again.
func (s *Sender) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	s.stop.Do(func() {
		s.unseek()
		if s.taker != nil {
			s.taker.halt()
		}
		s.sched.box.put(schedMsg{kind: schedShutdown})
	})
	select {
	case <-s.finished:
		s.closeQueue()
		s.cut()
		return nil
	case <-ctx.Done():
	}
	s.cut()
	<-s.finished
	s.closeQueue()
	return context.Cause(ctx)
}

// stream returns the settings of m's stream. Unknown names were refused before.
func (s *Sender) stream(m *Message) Stream {
	st := s.cfg.Streams[m.Stream]
	if st.Signer == nil {
		st.Signer = s.cfg.Signer
	}
	if st.Lifetime == 0 {
		st.Lifetime = s.cfg.Retry.Lifetime
	}
	return st
}

// expiry is when the item is given up.
func (s *Sender) expiry(it *item) time.Time {
	return time.Unix(0, it.born).Add(s.stream(it.msg).Lifetime)
}

// outcome is how an item ends.
type outcome struct {
	Outcome
	failure *failure // nil only if Sent
	site    string
	source  string
	tls     bool
	retryAt time.Time
	dsn     bool // the server took over the request for notifications
}

// finish yields the item's Result. The item's holder calls it, once.
func (s *Sender) finish(it *item, o outcome, now time.Time) {
	r := Result{Message: it.msg, Recipient: it.recipient(), Outcome: o.Outcome, RetryAt: o.retryAt, Site: o.site,
		Source: o.source, Attempts: int(it.tries), Elapsed: max(0, now.Sub(time.Unix(0, it.born)))}
	if o.Outcome == Sent {
		r.Attempts++
	}
	if f := o.failure; f != nil {
		r.Class, r.Reply = f.class, f.reply
		if o.Outcome != Sent {
			r.Err = &Error{Recipient: r.Recipient, Host: f.reply.Host, Source: o.source, Stage: f.reply.Stage,
				Reply: f.reply, TLS: f.tls, Dot: f.dot, Err: f.err}
		}
	}
	s.cfg.Observe(Event{Kind: endKind(o.Outcome), Time: now, Site: o.site, Source: o.source, Host: r.Reply.Host, Message: it.msg,
		Recipient: r.Recipient, Reply: r.Reply, Class: r.Class, Attempts: r.Attempts, At: o.retryAt, TLS: o.tls || o.failure != nil && o.failure.tls, Err: r.Err})
	if it.run.queue {
		s.clerk.end(it, r, o.dsn)
		return
	}
	if n := s.cfg.Streams[it.msg.Stream].Notices; n != nil && n.Handle != nil {
		s.noticeOfSend(it, r, o.dsn, now)
	}
	it.run.deliver(r)
}

func endKind(o Outcome) EventKind {
	switch o {
	case Sent:
		return EventSent
	case Rejected:
		return EventRejected
	default:
		return EventEnded
	}
}

// giveUp ends an item that was not decided: its last failure stays the reason,
// cause says why it is not tried again.
func (s *Sender) giveUp(it *item, site string, cause error, retryAt, now time.Time) {
	f := it.because(cause)
	s.finish(it, outcome{Outcome: Deferred, failure: f, site: site, source: f.source, retryAt: retryAt}, now)
}

// stopped ends the item if its campaign is canceled, its Send has ended or the
// Sender shuts down.
func (s *Sender) stopped(it *item, site string, now time.Time) bool {
	if s.canceled(it) {
		s.cancel(it, site, now)
		return true
	}
	cause := it.run.cause()
	if cause == nil && s.closing.Load() {
		cause = ErrShutdown
	}
	if cause == nil {
		return false
	}
	if it.run.queue {
		s.clerk.later(it, site, latest(now, time.Unix(0, it.due)), now)
		return true
	}
	s.giveUp(it, site, cause, latest(now, time.Unix(0, it.due)), now)
	return true
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// over ends an item whose next try would be at due, if it has had its attempts
// or would outlive its lifetime.
func (s *Sender) over(it *item, site string, due, now time.Time) bool {
	switch limit := s.cfg.Retry.MaxAttempts; {
	case s.stopped(it, site, now):
	case limit > 0 && int(it.tries) >= limit:
		s.giveUp(it, site, ErrAttempts, due, now)
	case due.After(s.expiry(it)):
		s.giveUp(it, site, ErrExpired, due, now)
	default:
		return false
	}
	return true
}
