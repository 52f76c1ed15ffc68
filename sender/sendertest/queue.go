package sendertest

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/volleymail/volley/sender"
)

// Queue is a sender.Queue in memory, for tests: of a program, to see what it
// submits, and of the Sender, which meets faults and crashes here that a file
// rarely shows. It works in a testing/synctest bubble.
//
// What a Sender writes against the rules of sender.Queue, such as a Change of a
// recipient that it was not handed, is passed over and noted in Violations.
type Queue struct {
	mu         sync.Mutex
	state      *queueState                 // guarded by mu; nil after Reopen
	faults     map[QueueCall]*queueFault   // guarded by mu
	onWrite    func([]sender.Change) error // guarded by mu
	violations []string                    // guarded by mu
}

// ErrReopened is what a Queue returns after Reopen.
var ErrReopened = errors.New("sendertest: the Queue was reopened: use the new one")

// QueueCall names methods of a Queue that can be made to fail or wait.
type QueueCall uint8

// The calls.
const (
	QueueSubmit  QueueCall = iota
	QueueTake              // Take
	QueueWrite             // Write
	QueueResults           // Results
	QueueBody              // WriteTo of a Message's Content
	QueueOther             // all others
)

// queueFault is what a QueueCall suffers.
type queueFault struct {
	left  int // calls that fail; negative = all
	err   error
	delay time.Duration
}

// NewQueue makes an empty Queue.
func NewQueue() *Queue {
	return &Queue{state: newQueueState(), faults: map[QueueCall]*queueFault{}}
}

// Fail makes the next n calls return err and do nothing else; with a negative n
// all calls, until Fail is called again. n 0 mends it.
func (q *Queue) Fail(call QueueCall, n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := q.fault(call)
	f.left, f.err = n, err
}

// Delay makes each call wait so long, or until its context ends, before it does
// anything.
func (q *Queue) Delay(call QueueCall, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fault(call).delay = d
}

// fault returns the fault of a call, to be changed. q.mu is held.
func (q *Queue) fault(call QueueCall) *queueFault {
	f := q.faults[call]
	if f == nil {
		f = &queueFault{}
		q.faults[call] = f
	}
	return f
}

// OnWrite sets a function that Write calls with its changes, before it stores
// them: to see what is written before what goes over the wire. An error of
// the function is Write's, which then stores nothing. It may call methods of
// the Queue, and must not keep the changes. nil = none.
func (q *Queue) OnWrite(f func(changes []sender.Change) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.onWrite = f
}

// Violations says what was done against the rules of sender.Queue.
func (q *Queue) Violations() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.violations)
}

// Reopen returns a Queue with what this one has stored, as the next process
// finds it after a crash: everything that was handed out is to be handed out
// again, and what Sending was last written of comes InFlight. Faults and
// OnWrite are not taken over. This Queue gives ErrReopened from now on, so that
// a Sender left over from before the crash changes nothing.
func (q *Queue) Reopen() *Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	again := NewQueue()
	if q.state != nil {
		again.state, q.state = q.state, nil
		again.state.takeBack()
	}
	return again
}

// call does the work of a method on the state, which it may use only there.
func (q *Queue) call(ctx context.Context, call QueueCall, work func(s *queueState)) error {
	if err := q.suffer(ctx, call); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state == nil {
		return ErrReopened
	}
	work(q.state)
	return nil
}

// suffer waits or fails as the tests want.
func (q *Queue) suffer(ctx context.Context, call QueueCall) error {
	q.mu.Lock()
	var err error
	var delay time.Duration
	if f := q.faults[call]; f != nil {
		delay = f.delay
		if f.left != 0 {
			err = f.err
			f.left = max(f.left-1, -1)
		}
	}
	q.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Submit stores messages; see sender.Queue. If one is refused none is stored.
func (q *Queue) Submit(ctx context.Context, now time.Time, msgs ...*sender.Submission) (err error) {
	failed := q.call(ctx, QueueSubmit, func(s *queueState) {
		if err = s.refused(msgs); err != nil {
			return
		}
		for _, m := range msgs {
			s.submit(now, m)
		}
	})
	return errors.Join(failed, err)
}

// Take hands out what is due; see sender.Queue. It asks room at most once for
// each line; room must not call the Queue.
func (q *Queue) Take(ctx context.Context, stream string, now time.Time, max int, room func(sender.Line) int) (taken []*sender.Taken, next time.Time, err error) {
	err = q.call(ctx, QueueTake, func(s *queueState) {
		var out []handed
		out, next = s.take(stream, now, max, room)
		for _, h := range out {
			taken = append(taken, h.taken(q))
		}
	})
	return taken, next, err
}

// Write stores changes, all or none; see sender.Queue.
func (q *Queue) Write(ctx context.Context, now time.Time, changes []sender.Change) error {
	q.mu.Lock()
	hook := q.onWrite
	q.mu.Unlock()
	if hook != nil {
		if err := hook(changes); err != nil {
			return err
		}
	}
	return q.call(ctx, QueueWrite, func(s *queueState) {
		for i := range changes {
			if problem := s.write(now, &changes[i]); problem != "" {
				q.violations = append(q.violations, problem)
			}
		}
	})
}

// Results returns what was not acknowledged; see sender.Queue.
func (q *Queue) Results(ctx context.Context, after int64, max int) (out []sender.Ended, err error) {
	err = q.call(ctx, QueueResults, func(s *queueState) {
		for seq, r := range s.results.after(after) {
			if len(out) >= max {
				return
			}
			m := *r.Message // the Tags are the caller's to change
			m.To, m.Tags = slices.Clone(m.To), maps.Clone(m.Tags)
			e := sender.Ended{Seq: seq, Result: *r}
			e.Result.Message = &m
			out = append(out, e)
		}
	})
	return out, err
}

// List returns what has not ended; see sender.Queue.
func (q *Queue) List(ctx context.Context, match sender.Selection, after int64, max int) (out []sender.Queued, err error) {
	err = q.call(ctx, QueueOther, func(s *queueState) {
		for _, r := range s.waiting.after(after) {
			if len(out) >= max {
				return
			}
			if r.matches(match) {
				out = append(out, r.queued())
			}
		}
	})
	return out, err
}

// Reschedule sets due times; see sender.Queue.
func (q *Queue) Reschedule(ctx context.Context, match sender.Selection, due time.Time) (n int, err error) {
	err = q.call(ctx, QueueOther, func(s *queueState) {
		for _, r := range s.waiting.after(0) {
			if !r.out() && r.matches(match) {
				s.unline(r)
				r.due = due
				s.enline(r)
				n++
			}
		}
	})
	return n, err
}

// Cancel ends recipients of a campaign; see sender.Queue.
func (q *Queue) Cancel(ctx context.Context, campaign string, now time.Time, max int) (n int, more bool, err error) {
	err = q.call(ctx, QueueOther, func(s *queueState) { n, more = s.cancel(campaign, now, max) })
	return n, more, err
}

// Uses names streams and templates; see sender.Queue.
func (q *Queue) Uses(ctx context.Context) (streams, templates []string, err error) {
	err = q.call(ctx, QueueOther, func(s *queueState) {
		for _, r := range s.waiting.after(0) {
			streams = append(streams, r.msg.envelope.Stream)
			if name := r.msg.envelope.Template; name != "" {
				templates = append(templates, name)
			}
		}
	})
	slices.Sort(streams)
	slices.Sort(templates)
	return slices.Compact(streams), slices.Compact(templates), err
}

// Save keeps a value; see sender.Queue.
func (q *Queue) Save(ctx context.Context, name string, value []byte) error {
	return q.call(ctx, QueueOther, func(s *queueState) {
		if value == nil {
			delete(s.values, name)
			return
		}
		s.values[name] = slices.Clone(value)
	})
}

// Load returns a value that was kept; see sender.Queue.
func (q *Queue) Load(ctx context.Context, name string) (value []byte, err error) {
	err = q.call(ctx, QueueOther, func(s *queueState) { value = slices.Clone(s.values[name]) })
	return value, err
}

// queuedBody is the Content of a Message that was handed out.
type queuedBody struct {
	q   *Queue
	msg *queuedMessage
}

func (b queuedBody) WriteTo(w io.Writer) (int64, error) {
	var text string
	if err := b.q.call(context.Background(), QueueBody, func(*queueState) { text = b.msg.body.text }); err != nil {
		return 0, err
	}
	n, err := io.WriteString(w, text)
	return int64(n), err
}
