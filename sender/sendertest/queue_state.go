package sendertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/volleymail/volley/sender"
)

// queueState is what a Queue has stored. Its Queue's mu guards all of it.
type queueState struct {
	number   int64 // the last message's
	id       int64 // the last recipient's
	seq      int64 // the last result's
	seen     map[delivery]bool
	canceled map[string]bool
	bodies   map[string]*sharedBody
	values   map[string][]byte
	waiting  series[*queuedRecipient] // by ID; those handed out too
	results  series[*sender.Result]   // by Seq
	lines    map[sender.Line]*queueLine
	turns    map[string][]*queueLine // by stream: the line whose turn it is comes first
}

// delivery is a pair that is accepted once.
type delivery struct{ message, local, domain string }

// sharedBody is the text of one or more messages.
type sharedBody struct {
	text string
	used int // messages that have not ended
}

// queuedMessage is a message of which recipients have not ended.
type queuedMessage struct {
	number   int64
	envelope sender.Message // without To, Content and Data
	body     *sharedBody    // nil for a Template
	data     []byte
	born     time.Time
	left     int // recipients that have not ended
}

// queuedRecipient is one that has not ended.
type queuedRecipient struct {
	id       int64
	msg      *queuedMessage
	line     sender.Line
	addr     string
	due      time.Time
	attempts int
	last     *sender.Attempt
	inFlight bool
	warned   bool
	place    int // in the heap of its line, -1 while it is handed out
}

func (r *queuedRecipient) out() bool { return r.place < 0 }

func newQueueState() *queueState {
	return &queueState{
		seen: map[delivery]bool{}, canceled: map[string]bool{}, bodies: map[string]*sharedBody{}, values: map[string][]byte{},
		waiting: newSeries[*queuedRecipient](), results: newSeries[*sender.Result](),
		lines: map[sender.Line]*queueLine{}, turns: map[string][]*queueLine{},
	}
}

// refused is the error for messages of canceled campaigns.
func (s *queueState) refused(msgs []*sender.Submission) error {
	for _, m := range msgs {
		if s.canceled[m.Campaign] {
			return fmt.Errorf("sendertest: message %q of campaign %q: %w", m.ID, m.Campaign, sender.ErrCanceled)
		}
	}
	return nil
}

// submit stores those recipients of a message that are new.
func (s *queueState) submit(now time.Time, sub *sender.Submission) {
	m := &queuedMessage{number: s.number + 1, envelope: envelope(sub.Message), data: slices.Clone(sub.Data), born: now}
	if sub.NotBefore.After(now) {
		m.born = sub.NotBefore
	}
	for _, addr := range sub.To {
		local, domain := sender.SplitRecipient(addr)
		pair := delivery{sub.ID, local, domain}
		if s.seen[pair] {
			continue
		}
		s.seen[pair] = true
		s.id++
		m.left++
		r := &queuedRecipient{id: s.id, msg: m, addr: addr, due: sub.Due,
			line: sender.Line{Domain: domain, Stream: sub.Stream, Campaign: sub.Campaign}}
		s.waiting.add(r.id, r)
		s.enline(r)
	}
	if m.left == 0 {
		return
	}
	s.number++
	if sub.Template == "" {
		m.body = s.share(sub.Body)
	}
}

// envelope copies what is stored of a message.
func envelope(m *sender.Message) sender.Message {
	c := sender.Message{ID: m.ID, Stream: m.Stream, Campaign: m.Campaign, From: m.From, Template: m.Template,
		Engaged: m.Engaged, NotBefore: m.NotBefore, Zone: m.Zone, Tags: maps.Clone(m.Tags)}
	if m.DSN != nil {
		dsn := *m.DSN
		c.DSN = &dsn
	}
	return c
}

// share finds the text of a body among those that are stored, or stores it.
func (s *queueState) share(text []byte) *sharedBody {
	b := s.bodies[string(text)]
	if b == nil {
		b = &sharedBody{text: string(text)}
		s.bodies[b.text] = b
	}
	b.used++
	return b
}

// write stores one change, or says what is wrong with it.
func (s *queueState) write(now time.Time, c *sender.Change) (problem string) {
	if c.Kind == sender.Acknowledged {
		s.results.remove(c.Seq)
		return ""
	}
	r := s.waiting.m[c.ID]
	switch {
	case r == nil:
		return fmt.Sprintf("change %d of recipient %d, which has ended or never was", c.Kind, c.ID)
	case !r.out():
		return fmt.Sprintf("change %d of recipient %d, %s, which is not handed out", c.Kind, c.ID, r.addr)
	case c.Kind == sender.EndedNow && c.Result == nil:
		return fmt.Sprintf("the end of recipient %d, %s, has no Result", c.ID, r.addr)
	}
	if c.Notice != nil && !s.canceled[c.Notice.Campaign] {
		s.submit(now, c.Notice)
	}
	r.inFlight = c.Kind == sender.Sending
	switch c.Kind {
	case sender.Later:
		r.due, r.attempts, r.last, r.warned = c.Due, c.Attempts, cloneAttempt(c.Last), c.Warned
		s.enline(r)
	case sender.EndedNow:
		c.Seq = s.end(r, *c.Result)
	}
	return ""
}

func cloneAttempt(a *sender.Attempt) *sender.Attempt {
	if a == nil {
		return nil
	}
	c := *a
	return &c
}

// end moves a recipient that is in no line to the results.
func (s *queueState) end(r *queuedRecipient, result sender.Result) (seq int64) {
	s.waiting.remove(r.id)
	if r.msg.left--; r.msg.left == 0 && r.msg.body != nil {
		if r.msg.body.used--; r.msg.body.used == 0 {
			delete(s.bodies, r.msg.body.text)
		}
	}
	m := envelope(&r.msg.envelope)
	m.To = []string{r.addr}
	result.Message = &m
	s.seq++
	s.results.add(s.seq, &result)
	return s.seq
}

// cancel ends about max recipients of a campaign, save those whose fate is not
// known.
func (s *queueState) cancel(campaign string, now time.Time, max int) (n int, more bool) {
	s.canceled[campaign] = true
	for _, r := range s.waiting.after(0) {
		if r.line.Campaign != campaign || r.out() || r.inFlight {
			continue
		}
		if n >= max {
			return n, true
		}
		s.unline(r)
		s.end(r, r.canceled(now))
		n++
	}
	return n, false
}

// canceled is the Result of one that is canceled: its last attempt stays the reason.
func (r *queuedRecipient) canceled(now time.Time) sender.Result {
	e := &sender.Error{Recipient: r.addr, Err: sender.ErrCanceled}
	res := sender.Result{Recipient: r.addr, Outcome: sender.Canceled, Attempts: r.attempts, Err: e}
	if now.After(r.msg.born) {
		res.Elapsed = now.Sub(r.msg.born)
	}
	if a := r.last; a != nil {
		res.Class, res.Reply, res.Site, res.Source = a.Class, a.Reply, a.Site, a.Source
		e.Host, e.Source, e.Stage, e.Reply = a.Reply.Host, a.Source, a.Reply.Stage, a.Reply
	}
	return res
}

func (r *queuedRecipient) matches(sel sender.Selection) bool {
	site := ""
	if r.last != nil {
		site = r.last.Site
	}
	for _, f := range []struct {
		values []string
		v      string
	}{{sel.Sites, site}, {sel.Domains, r.line.Domain}, {sel.Streams, r.line.Stream}, {sel.Campaigns, r.line.Campaign},
		{sel.Messages, r.msg.envelope.ID}, {sel.Recipients, r.addr}} {
		if len(f.values) > 0 && !slices.Contains(f.values, f.v) {
			return false
		}
	}
	return true
}

func (r *queuedRecipient) queued() sender.Queued {
	return sender.Queued{ID: r.id, Line: r.line, MessageID: r.msg.envelope.ID, Recipient: r.addr,
		Submitted: r.msg.born, Due: r.due, Attempts: r.attempts, Last: cloneAttempt(r.last)}
}

// takeBack makes everything that was handed out wait again.
func (s *queueState) takeBack() {
	for _, r := range s.waiting.after(0) {
		if r.out() {
			s.enline(r)
		}
	}
}

// handed is recipients of one message that are handed out together.
type handed []*queuedRecipient

func (h handed) taken(q *Queue) *sender.Taken {
	msg := h[0].msg
	m := envelope(&msg.envelope)
	if msg.body != nil {
		m.Content = queuedBody{q, msg}
	}
	if msg.data != nil {
		m.Data = json.RawMessage(msg.data)
	}
	t := &sender.Taken{Line: h[0].line, Number: msg.number, Message: &m, Born: msg.born}
	for _, r := range h {
		m.To = append(m.To, r.addr)
		t.Recipients = append(t.Recipients, sender.Waiting{ID: r.id, Attempts: r.attempts, Last: cloneAttempt(r.last),
			InFlight: r.inFlight, Warned: r.warned})
	}
	return t
}
