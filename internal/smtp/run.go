package smtp

import (
	"context"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Run sends what next gives until next gives nil with nothing in flight.
// It calls next(false) when nothing is in flight: next may block, and after
// long should look whether the session is Alive before it gives anything, for
// servers close idle connections. It calls next(true) where the next envelope could travel with the end of the message
// in flight, right before that is written: next must not block, nil means none
// now. Each Transaction taken is handed back by done exactly once, in the order
// taken, also when the connection fails. next and done are called from within
// Run. The error, an *Error, means that the session is closed; ctx ends it at
// once. After a nil error it is open: Run again, or Quit.
func (s *Session) Run(ctx context.Context, next func(inFlight bool) *Transaction, done func(*Transaction)) error {
	if s.closed {
		return s.failure(bounce.StageNone, statusLost, ErrClosed)
	}
	defer s.wire.watch(ctx)()
	s.done = done
	var f *flight
	for {
		if f == nil {
			if s.wire.cause() == ErrCut {
				return s.fail(s.lost(bounce.StageReset, ErrCut))
			}
			t := next(false)
			if t == nil {
				return nil
			}
			f = s.take(t)
		}
		var e *Error
		if f, e = s.transact(f, next); e != nil {
			return s.fail(e)
		}
	}
}

// transact brings f to its end and returns the flight that is to follow, if one
// was taken meanwhile.
func (s *Session) transact(f *flight, next func(bool) *Transaction) (*flight, *Error) {
	if !f.begun && f.open > 0 {
		if e := s.envelope(f); e != nil {
			return nil, e
		}
	}
	if !f.ready(s.chunking()) {
		return nil, s.abandon(f)
	}
	var n *flight
	if s.form == FormChained && s.ext.pipelining && s.wire.cause() == nil {
		if t := next(true); t != nil {
			n = s.take(t)
		}
	}
	if e := s.message(f, n); e != nil {
		return nil, e
	}
	return n, nil
}

// ready reports whether the message can follow the envelope.
func (f *flight) ready(chunking bool) bool {
	return f.accepted > 0 && (chunking || f.data)
}

// abandon ends f without its message.
func (s *Session) abandon(f *flight) *Error {
	if f.data { // 354 to a DATA without recipients: RFC 2920 §3.1 wants a lone dot
		s.out = append(s.out, ".\r\n"...)
		s.expect(f, stepNobody, 0)
		if e := s.exchange(nil); e != nil {
			return e
		}
	}
	s.reset = s.reset || f.mail
	f.over = true
	s.deliver()
	return nil
}

// deliver hands back what is over, in order.
func (s *Session) deliver() {
	for len(s.queue) > 0 && s.queue[0].over {
		f := s.queue[0]
		s.queue = append(s.queue[:0], s.queue[1:]...)
		t := f.t
		*f = flight{}
		s.free = append(s.free, f)
		s.done(t)
	}
}

// exchange writes body and the commands behind it and reads all replies.
func (s *Session) exchange(body []byte) *Error {
	stage := bounce.StageMail
	if s.next < len(s.await) {
		stage = s.await[s.next].step.stage()
	}
	if err := s.flush(body); err != nil {
		s.broken = true
		return s.salvage(s.lost(stage, err))
	}
	return s.drain()
}

// flush writes body and the commands behind it, in one piece if the memory of
// body has room for them.
func (s *Session) flush(body []byte) error {
	var n int
	var err error
	switch {
	case len(body) == 0:
		n, err = s.wire.send(s.out, s.timeouts.Block)
	case cap(body)-len(body) >= len(s.out):
		n, err = s.wire.send(append(body, s.out...), s.timeouts.Block)
	default:
		if n, err = s.wire.send(body, s.timeouts.Block); err == nil {
			var m int
			m, err = s.wire.send(s.out, s.timeouts.Block)
			n += m
		}
	}
	for _, m := range s.marks {
		if n >= m.at {
			m.f.t.Wire = m.wire
		}
	}
	s.out, s.marks, s.base = s.out[:0], s.marks[:0], 0
	return err
}

// drain reads the replies outstanding.
func (s *Session) drain() *Error {
	for s.next < len(s.await) {
		a := s.await[s.next]
		r, err := s.wire.reply(s.timeout(a.step))
		if err != nil {
			e := s.lost(a.step.stage(), err)
			s.learn(a, e)
			return e
		}
		s.next++
		if e := s.answer(a, r); e != nil {
			return e
		}
	}
	s.await, s.next = s.await[:0], 0
	if s.wire.in.buffered() > 0 {
		return s.unsolicited()
	}
	return nil
}

// unsolicited is the Error when the server speaks or closes though nothing was
// asked.
func (s *Session) unsolicited() *Error {
	r, err := s.wire.reply(time.Second)
	switch {
	case err != nil:
		return s.lost(bounce.StageReset, err)
	case r.code == 421: // RFC 5321 §3.8: it may say so at any time
		return s.refusal(r.bounce(bounce.StageReset, s.host), nil)
	}
	return s.refusal(r.bounce(bounce.StageReset, s.host), ErrUnsolicited)
}

// salvage reads what the server may have said before a write failed with e:
// many refuse a message in the middle and close. It gives the better Error.
func (s *Session) salvage(e *Error) *Error {
	if s.wire.cause() != nil {
		return e
	}
	for until := time.Now().Add(time.Second); s.next < len(s.await); {
		a := s.await[s.next]
		wait := time.Until(until)
		if a.step == stepBody && a.f.t.Wire == WireDot { // only what is behind the message was not written
			wait = s.timeout(stepBody)
		}
		r, err := s.wire.reply(wait)
		if err != nil {
			return e
		}
		s.next++
		if better := s.answer(a, r); better != nil {
			return better
		}
	}
	return e
}

// fail settles and hands back what was taken, and closes.
func (s *Session) fail(e *Error) *Error {
	if len(s.queue) > 0 {
		e.Wire = s.queue[0].t.Wire
	}
	s.part(e)
	for _, f := range s.queue {
		if f.over {
			continue
		}
		mine := *e
		mine.Wire = f.t.Wire
		f.t.Err = &mine
		for i := range f.t.Rcpts {
			r := &f.t.Rcpts[i]
			switch {
			case r.state == rcptSettled:
			case r.state == rcptAccepted && f.t.Wire == WireDot && !f.judged:
				r.settle(Unknown, e.Reply)
			default:
				r.settle(NotSent, e.Reply)
			}
		}
		f.over = true
	}
	s.deliver()
	return e
}
