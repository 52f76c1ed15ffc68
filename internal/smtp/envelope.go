package smtp

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/volleymail/volley/bounce"
)

// maxGroup is how many replies may be outstanding. Their octets must fit into
// the buffers between the server and us, or each waits for the other to read
// (RFC 2920 §3.1).
const maxGroup = 128

// chunking reports whether messages go by BDAT.
func (s *Session) chunking() bool { return s.ext.chunking && !s.mem.NoBDAT }

// pipelined reports whether commands go in groups.
func (s *Session) pipelined() bool { return s.ext.pipelining && s.form != FormSerial }

// take queues t and settles at once what must not or need not be asked.
func (s *Session) take(t *Transaction) *flight {
	var f *flight
	if n := len(s.free); n > 0 {
		f, s.free = s.free[n-1], s.free[:n-1]
	} else {
		f = &flight{}
	}
	f.t = t
	s.queue = append(s.queue, f)
	t.Wire, t.Err = WireNothing, nil
	status, text := s.objection(t)
	for i := range t.Rcpts {
		r := &t.Rcpts[i]
		r.Fate, r.Reply, r.state = NotSent, bounce.Reply{}, rcptOpen
		switch {
		case text != "":
			r.settle(Refused, s.local(status, text))
		case r.Addr == "" || !validPath(r.Addr, t.UTF8):
			r.settle(Refused, s.local(bounce.Status{5, 1, 3}, "recipient address can't be sent"))
		case !validParam(r.Notify) || !validParam(r.ORcpt):
			r.settle(Refused, s.local(bounce.Status{5, 5, 4}, "DSN parameter can't be sent"))
		case s.ext.rcptMax > 0 && f.open >= s.ext.rcptMax: // RFC 9422 §4.2
			r.settle(NotSent, s.local(bounce.Status{4, 5, 3}, "more recipients than the server takes in one transaction"))
		default:
			f.open++
		}
	}
	return f
}

// local is a reply of our own.
func (s *Session) local(status bounce.Status, text string) bounce.Reply {
	return bounce.Reply{Stage: bounce.StageLocal, Status: status, Text: text, Host: s.host}
}

// objection says why t as a whole can't be sent here; text is "" if it can.
func (s *Session) objection(t *Transaction) (status bounce.Status, text string) {
	b := t.Body
	switch {
	case !validPath(t.From, t.UTF8):
		return bounce.Status{5, 1, 7}, "sender address can't be sent"
	case !validParam(t.Ret) || !validParam(t.EnvID):
		return bounce.Status{5, 5, 4}, "DSN parameter can't be sent"
	case b == nil || b.Start < Headroom || b.Start > len(b.Buf) || !bytes.HasSuffix(b.Buf[b.Start:], []byte("\r\n")):
		return bounce.Status{5, 6, 0}, "message does not end in CRLF"
	case s.ext.maxSize > 0 && int64(len(b.Buf)-b.Start) > s.ext.maxSize: // RFC 1870 §6.1
		return bounce.Status{5, 3, 4}, fmt.Sprintf("message has %d octets, the server takes %d", len(b.Buf)-b.Start, s.ext.maxSize)
	case b.EightBit && !s.ext.eightBit: // RFC 6152 §3
		return bounce.Status{5, 6, 3}, "message has 8-bit octets, the server does not take them"
	case t.UTF8 && !s.ext.utf8: // RFC 6531 §3.5
		return bounce.Status{5, 6, 7}, "message needs SMTPUTF8, the server does not offer it"
	}
	return bounce.Status{}, ""
}

// envelope sends the envelope of f and reads the replies.
func (s *Session) envelope(f *flight) *Error {
	if e := s.enclose(f); e != nil {
		return e
	}
	return s.exchange(nil)
}

// enclose adds the envelope of f to what is to be written. Where commands can't
// go in one group it already exchanges all but the last group.
func (s *Session) enclose(f *flight) *Error {
	f.begun = true
	if s.reset {
		s.reset = false
		if e := s.command(nil, stepReset, 0); e != nil {
			return e
		}
	}
	if e := s.command(f, stepMail, 0); e != nil {
		return e
	}
	for i := range f.t.Rcpts {
		if f.t.Rcpts[i].state == rcptSettled {
			continue
		}
		if e := s.command(f, stepRcpt, i); e != nil {
			return e
		}
	}
	if s.chunking() {
		return nil
	}
	return s.command(f, stepData, 0)
}

// command adds one command, after an exchange if the group is full.
func (s *Session) command(f *flight, st step, rcpt int) *Error {
	group := maxGroup
	if !s.pipelined() {
		group = 1
	}
	if len(s.await)-s.next >= group {
		if e := s.exchange(nil); e != nil {
			return e
		}
	}
	if idle := s.next == len(s.await); idle && f.pointless(st) {
		return nil
	}
	switch st {
	case stepReset:
		s.out = append(s.out, "RSET\r\n"...)
	case stepMail:
		s.appendMail(f.t)
		s.marks = append(s.marks, mark{f, s.base + len(s.out), WireMail})
	case stepRcpt:
		s.appendRcpt(&f.t.Rcpts[rcpt])
		s.marks = append(s.marks, mark{f, s.base + len(s.out), WireRcpt})
	case stepData:
		s.out = append(s.out, "DATA\r\n"...)
	}
	s.expect(f, st, rcpt)
	return nil
}

// pointless reports that the replies so far leave no sense to a command.
func (f *flight) pointless(st step) bool {
	switch st {
	case stepRcpt:
		return f.answered && !f.mail
	case stepData:
		return f.answered && f.accepted == 0
	}
	return false
}

func (s *Session) expect(f *flight, st step, rcpt int) {
	s.await = append(s.await, awaited{f, st, rcpt})
}

// appendMail adds MAIL with the parameters that the server knows and t needs.
func (s *Session) appendMail(t *Transaction) {
	b := append(s.out, "MAIL FROM:<"...)
	b = append(append(b, t.From...), '>')
	if s.ext.size { // RFC 1870 §6
		b = append(b, " SIZE="...)
		b = strconv.AppendInt(b, int64(len(t.Body.Buf)-t.Body.Start), 10)
	}
	if t.Body.EightBit { // RFC 6152 §2
		b = append(b, " BODY=8BITMIME"...)
	}
	if t.UTF8 { // RFC 6531 §3.4
		b = append(b, " SMTPUTF8"...)
	}
	if s.ext.dsn { // RFC 3461 §4.3, §4.4
		b = appendParam(b, " RET=", t.Ret)
		b = appendParam(b, " ENVID=", t.EnvID)
	}
	s.out = append(b, "\r\n"...)
}

// appendRcpt adds RCPT.
func (s *Session) appendRcpt(r *Rcpt) {
	b := append(s.out, "RCPT TO:<"...)
	b = append(append(b, r.Addr...), '>')
	if s.ext.dsn { // RFC 3461 §4.1, §4.2
		b = appendParam(b, " NOTIFY=", r.Notify)
		b = appendParam(b, " ORCPT=", r.ORcpt)
	}
	s.out = append(b, "\r\n"...)
}

func appendParam(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return append(append(b, name...), value...)
}
