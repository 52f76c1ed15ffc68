package smtp

import "github.com/volleymail/volley/bounce"

// answer applies a reply to the command that it answers. It is decided by the
// first digit where the code is not a special one (RFC 5321 §4.2.1, §4.3.2).
func (s *Session) answer(a awaited, r *reply) *Error {
	wanted := 2
	if a.step == stepData {
		wanted = 3
	}
	if c := r.class(); c != wanted && c < 4 {
		return s.refusal(r.bounce(a.step.stage(), s.host), ErrProtocol)
	}
	ok := r.class() == wanted
	var e *Error
	switch a.step {
	case stepReset:
		if !ok {
			e = s.refusal(r.bounce(bounce.StageReset, s.host), nil)
		}
	case stepMail:
		s.answerMail(a.f, r, ok)
	case stepRcpt:
		s.answerRcpt(a.f, a.rcpt, r, ok)
	case stepData:
		s.answerData(a.f, r, ok)
	case stepBody:
		e = s.answerBody(a.f, r, ok)
	}
	if e == nil && r.code == 421 { // the server closes (RFC 5321 §3.8)
		e = s.refusal(r.bounce(a.step.stage(), s.host), nil)
	}
	return e
}

func (s *Session) answerMail(f *flight, r *reply, ok bool) {
	f.answered, f.mail = true, ok
	if ok {
		return
	}
	reply := r.bounce(bounce.StageMail, s.host)
	if f.chained && badSequence(reply) {
		// Not about the sender: the server wants no command behind a message, or
		// it wants RSET after the message that it refused.
		f.settle(NotSent, reply)
		s.reset = true
		if s.clean {
			s.misfit(f)
		}
		return
	}
	f.settle(Refused, reply)
}

func (s *Session) answerRcpt(f *flight, i int, r *reply, ok bool) {
	rcpt := &f.t.Rcpts[i]
	switch {
	case !f.mail || rcpt.state == rcptSettled:
	case ok:
		rcpt.state = rcptAccepted
		f.accepted++
	default:
		reply := r.bounce(bounce.StageRcpt, s.host)
		switch {
		case f.accepted > 0 && tooMany(reply):
			rcpt.settle(NotSent, reply)
		case f.accepted == 0 && s.pipelined() && reply.Code == 503:
			// MAIL was accepted: a server that lost it lost what came with it.
			rcpt.settle(NotSent, reply)
			s.misfit(f)
		default:
			rcpt.settle(Refused, reply)
		}
	}
}

func (s *Session) answerData(f *flight, r *reply, ok bool) {
	f.data = ok
	if ok || f.accepted == 0 {
		return
	}
	f.accepted = 0
	reply := r.bounce(bounce.StageData, s.host)
	if s.pipelined() && badSequence(reply) {
		f.settle(NotSent, reply)
		s.misfit(f)
		return
	}
	f.settle(Refused, reply)
}

func (s *Session) answerBody(f *flight, r *reply, ok bool) *Error {
	reply := r.bounce(bounce.StageBody, s.host)
	if ok && f.t.Wire != WireDot { // it can't have seen the end
		return s.refusal(reply, ErrProtocol)
	}
	f.judged, s.clean = true, ok
	s.wire.setDot(false)
	chunking := s.chunking()
	if chunking && !s.bdat && reply.Code >= 500 && reply.Code <= 504 {
		// It does not know BDAT: it takes the message for commands. Leave at once.
		s.mem.NoBDAT = true
		return s.refusal(reply, ErrProtocol)
	}
	if ok {
		f.settle(Sent, reply)
		s.bdat = s.bdat || chunking
		s.raise(f)
	} else {
		f.settle(Refused, reply)
		s.reset = s.next == len(s.await) // else the next envelope is already there
	}
	f.over = true
	s.deliver()
	return nil
}

// settle settles the recipients that are not yet.
func (f *flight) settle(fate Fate, reply bounce.Reply) {
	for i := range f.t.Rcpts {
		if r := &f.t.Rcpts[i]; r.state != rcptSettled {
			r.settle(fate, reply)
		}
	}
}

// badSequence reports a reply that is about the order of commands.
func badSequence(r bounce.Reply) bool {
	return r.Code == 503 || r.Status == bounce.Status{5, 5, 1}
}

// tooMany reports a reply to RCPT that says that the transaction has enough
// recipients (RFC 5321 §4.5.3.1.10). The same codes with a status about the
// mailbox mean that it is full.
func tooMany(r bounce.Reply) bool {
	if r.Status[1] == 5 && r.Status[2] == 3 { // RFC 3463 X.5.3: too many recipients
		return r.Code != 421
	}
	return (r.Code == 452 || r.Code == 552) && r.Status[1] != 2
}
