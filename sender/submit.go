package sender

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"
)

// ErrNoQueue is why a method that needs Config.Queue fails without one.
var ErrNoQueue = errors.New("sender: Config.Queue is not set: sender/spool has one that keeps mail in a file")

// Submit puts messages into Config.Queue and returns when they would survive a
// crash. From then on the Sender, or the next one with this Queue, tries them
// until each recipient has ended: see Results. Messages that are submitted
// together share a write; so do those of several goroutines.
//
// Message.ID and a recipient name a delivery: the pair is accepted once, so a
// job that was interrupted may submit all again. To send again to one who ended,
// as Deferred or Unknown, give the Message another ID. A Content is rendered now and
// kept, once for all Messages of a call that share it; better is a Template,
// for which Data is kept as encoding/json writes it: the Template finds maps,
// slices, strings, bools, int64 or float64.
//
// An error of a message names its place in msgs, and nothing of them was
// accepted. After an error of the Queue a part may have been: submit all again.
// A recipient that is malformed is no error: it ends as Rejected.
func (s *Sender) Submit(ctx context.Context, msgs ...*Message) error {
	if s.cfg.Queue == nil {
		return ErrNoQueue
	}
	if s.closing.Load() {
		return ErrShutdown
	}
	now := time.Now()
	subs := make([]*Submission, len(msgs))
	bodies := map[io.WriterTo][]byte{}
	for i, m := range msgs {
		var err error
		if subs[i], err = s.submission(m, bodies, now); err != nil {
			return fmt.Errorf("sender: Submit: msgs[%d]: %w", i, err)
		}
	}
	if len(subs) == 0 {
		return nil
	}
	if err := s.cfg.Queue.Submit(ctx, now, subs...); err != nil {
		return fmt.Errorf("sender: Submit: %w", err)
	}
	s.taker.look()
	return nil
}

// submission checks a message and makes it fit for the Queue.
func (s *Sender) submission(m *Message, bodies map[io.WriterTo][]byte, now time.Time) (*Submission, error) {
	switch {
	case m == nil:
		return nil, errors.New("the Message is nil")
	case m.ID == "":
		return nil, errors.New("Message.ID is empty: set a key of yours, so that a job that is started again does not send twice")
	case len(m.To) == 0:
		return nil, errors.New("Message.To is empty: set the recipients")
	}
	if err := s.checkMessage(m); err != nil {
		return nil, err
	}
	sub := &Submission{Message: m, Due: latest(now, m.NotBefore)}
	var err error
	switch {
	case m.Content != nil:
		sub.Body, err = s.bodyOf(m.Content, bodies)
	case m.Data != nil:
		if sub.Data, err = json.Marshal(m.Data); err != nil {
			err = fmt.Errorf("Message.Data: %w", err)
		}
	}
	return sub, err
}

// bodyOf renders a Content, if it was not rendered before.
func (s *Sender) bodyOf(c io.WriterTo, known map[io.WriterTo][]byte) ([]byte, error) {
	key := reflect.ValueOf(c).Comparable()
	if key && known[c] != nil {
		return known[c], nil
	}
	w := bodyWriter{max: s.cfg.MaxMessageSize + frontRoom}
	err := s.guard(func() error { _, err := c.WriteTo(&w); return err })
	switch {
	case err != nil:
		return nil, fmt.Errorf("Message.Content: %w", err)
	case len(w.buf) == 0:
		return nil, errors.New("Message.Content wrote nothing: it must write the mail")
	}
	if key {
		known[c] = w.buf
	}
	return w.buf, nil
}

// execute writes the mail of m by its Template.
func (s *Sender) execute(w io.Writer, m *Message) error {
	data := m.Data
	if raw, ok := data.(json.RawMessage); ok && m.queued != nil {
		var err error
		if data, err = plainData(raw); err != nil {
			return fmt.Errorf("Message.Data: %w", err)
		}
	}
	return s.cfg.Templates[m.Template].Execute(w, data)
}

// plainData reads JSON as Submit promises it: whole numbers stay whole.
func plainData(raw []byte) (data any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&data); err != nil {
		return nil, err
	}
	return plainNumbers(data), nil
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

// openQueue gets ready to work with Config.Queue: it must hold nothing that the
// Config does not know.
func (s *Sender) openQueue() error {
	ctx, q := context.Background(), s.cfg.Queue
	streams, templates, err := q.Uses(ctx)
	if err != nil {
		return fmt.Errorf("sender: Config.Queue: %w", err)
	}
	var errs []error
	for _, name := range streams {
		if _, ok := s.cfg.Streams[name]; !ok && name != "" {
			errs = append(errs, fmt.Errorf("sender: Config.Streams: %q is missing: the Queue has mail of it", name))
		}
	}
	for _, name := range templates {
		if s.cfg.Templates[name] == nil {
			errs = append(errs, fmt.Errorf("sender: Config.Templates: %q is missing: the Queue has mail of it", name))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	nonce, err := q.Load(ctx, nonceKey)
	if err == nil && nonce == nil {
		nonce = []byte(rand.Text()[:12])
		err = q.Save(ctx, nonceKey, nonce)
	}
	if err != nil {
		return fmt.Errorf("sender: Config.Queue: %w", err)
	}
	s.queueNonce = string(nonce)
	s.clerk, s.taker = newClerk(s), newTaker(s)
	return nil
}

// nonceKey is where the Queue keeps what makes the Message-IDs of its mails
// different from all others.
const nonceKey = "message-id"

// pauseQueue stops the sending: what becomes of a message could not be kept.
func (s *Sender) pauseQueue(err error, until time.Time, fails int) {
	s.paused.Store(true)
	s.cfg.log.Error("Config.Queue cannot be written: nothing is sent until it can", "err", err, "next", until, "failures", fails)
	s.cfg.Observe(Event{Kind: EventPaused, Time: time.Now(), At: until, Attempts: fails, Err: err})
}

func (s *Sender) resumeQueue() {
	s.paused.Store(false)
	s.cfg.log.Info("Config.Queue can be written again")
	s.cfg.Observe(Event{Kind: EventResumed, Time: time.Now()})
	s.sched.box.put(schedMsg{kind: schedTell, tell: siteMsg{kind: siteWake, sel: &Selection{}}})
	s.taker.look()
}

// closeQueue ends what works with the Queue, when nothing else runs any more.
func (s *Sender) closeQueue() {
	if s.clerk == nil {
		return
	}
	s.taker.halt()
	<-s.taker.done
	s.closed.Do(func() { close(s.clerk.stop) })
	<-s.clerk.done
}

// Queued lists recipients that have not ended and match, with the last reply and
// the next attempt: by ID, from the first after the one given, max at most
// (0 = 100). Sites are those that their last attempt went to, or that are known
// for their domains now.
func (s *Sender) Queued(ctx context.Context, match Selection, after int64, max int) ([]Queued, error) {
	if s.cfg.Queue == nil {
		return nil, ErrNoQueue
	}
	if max <= 0 {
		max = 100
	}
	return s.cfg.Queue.List(ctx, match, after, max)
}

// kept reports whether the item is from the Queue, and would have to wait long
// enough to be given back.
func (it *item) kept(due, now time.Time) bool {
	return it.run.queue && due.Sub(now) >= minStay
}

var errEnded = errors.New("the process ended while the message was on the wire")
