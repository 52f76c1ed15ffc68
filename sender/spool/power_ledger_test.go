//go:build unix

package spool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/volleymail/volley/sender"
)

// The tests of power losses and of faults keep a ledger of what the spool
// acknowledged, and compare with it what a spool that was opened anew says.

// pair is a delivery.
type pair struct{ id, to string }

// stage is how far a recipient is.
type stage uint8

const (
	absent  stage = iota // never submitted
	waiting              // for its first or its next attempt
	marked               // Sending was written
	ended                // its result is in the journal
	gone                 // its result was acknowledged; not to be told from absent but by submitting it again
	saved                // not a recipient: a value that was saved, seq says which
)

// fate is what a spool must say about a recipient.
type fate struct {
	stage    stage
	due      time.Time // waiting; zero = any
	attempts int       // waiting
	warned   bool      // waiting
	outcome  sender.Outcome
	seq      int64 // ended; 0 = any, for it is not known yet
}

func (f fate) equal(g fate) bool {
	if f.seq == 0 || g.seq == 0 {
		f.seq, g.seq = 0, 0
	}
	if f.due.IsZero() || g.due.IsZero() || f.due.Equal(g.due) {
		f.due, g.due = time.Time{}, time.Time{}
	}
	if f.stage == gone {
		f.stage = absent
	}
	if g.stage == gone {
		g.stage = absent
	}
	return f == g
}

// write is a call that has not returned, or that returned an error.
type write struct {
	fates map[pair]fate
	whole bool // all or none of it
}

// ledger is what was acknowledged, and what may have happened besides.
type ledger struct {
	mu    sync.Mutex
	fates map[pair]fate   // guarded by mu
	open  map[*write]bool // guarded by mu
	now   time.Time       // guarded by mu; the latest that Take was told
}

func newLedger() *ledger {
	return &ledger{fates: map[pair]fate{}, open: map[*write]bool{}, now: start}
}

func (l *ledger) clone() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &ledger{fates: maps.Clone(l.fates), open: map[*write]bool{}, now: l.now}
	for w := range l.open {
		c.open[&write{fates: maps.Clone(w.fates), whole: w.whole}] = true
	}
	return c
}

func (l *ledger) begin(whole bool, fates map[pair]fate) *write {
	w := &write{fates: fates, whole: whole}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[w] = true
	return w
}

// done is told when the call has returned nil, and what is known only then.
func (l *ledger) done(w *write, seqs map[pair]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, w)
	maps.Copy(l.fates, w.fates)
	for p, seq := range seqs {
		f := l.fates[p]
		f.seq = seq
		l.fates[p] = f
	}
}

// seen is told what a spool hands out: what was written so is not uncertain,
// though the call has not returned.
func (l *ledger) seen(p pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.open {
		if f, ok := w.fates[p]; ok {
			l.fates[p] = f
			delete(w.fates, p)
		}
	}
}

// pass lets time go by, and returns what it is then.
func (l *ledger) pass(d time.Duration) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
	return l.now
}

// of is what was acknowledged of a delivery.
func (l *ledger) of(p pair) fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fates[p]
}

// check says how what is there differs from what must be there.
func (l *ledger) check(there map[pair]fate) error {
	unsure := l.uncertain()
	for w := range l.open {
		var was, is []pair
		for p, f := range w.fates {
			switch before := l.fates[p]; {
			case f.equal(before): // nothing to see
			case there[p].equal(before):
				was = append(was, p)
			case there[p].equal(f):
				is = append(is, p)
			default:
				return fmt.Errorf("%v is %+v, and not %+v or %+v", p, there[p], before, f)
			}
		}
		if w.whole && len(was) > 0 && len(is) > 0 {
			return fmt.Errorf("half a Write: %v did not happen, %v did", was, is)
		}
	}
	for p, f := range l.fates {
		if !unsure[p] && !there[p].equal(f) {
			return fmt.Errorf("%v is %+v, and not %+v", p, there[p], f)
		}
	}
	for p, f := range there {
		if _, known := l.fates[p]; !known && !unsure[p] {
			return fmt.Errorf("%v comes from nowhere: %+v", p, f)
		}
	}
	return nil
}

// uncertain is what may have happened besides.
func (l *ledger) uncertain() map[pair]bool {
	unsure := map[pair]bool{}
	for w := range l.open {
		for p := range w.fates {
			unsure[p] = true
		}
	}
	return unsure
}

// settle takes what is there as acknowledged: life goes on from it.
func (l *ledger) settle(there map[pair]fate) *ledger {
	next := newLedger()
	next.now = l.now
	maps.Copy(next.fates, l.fates)
	for w := range l.open {
		for p, f := range w.fates {
			if there[p].equal(f) {
				next.fates[p] = f
			}
		}
	}
	maps.Copy(next.fates, there) // with each seq
	return next
}

// page is how many rows the tests ask for at once: few, so that the spool has
// to page.
const page = 7

// all is what a queue says about all its recipients. It takes out what is due
// before far, so nobody else may use the queue.
func all(ctx context.Context, q sender.Queue) (map[pair]fate, error) {
	there := map[pair]fate{}
	put := func(p pair, f fate) error {
		if old, twice := there[p]; twice {
			return fmt.Errorf("%v is there twice: %+v and %+v", p, old, f)
		}
		there[p] = f
		return nil
	}
	byID := map[int64]pair{}
	for after := int64(0); ; {
		list, err := q.List(ctx, sender.Selection{}, after, page)
		if err != nil {
			return nil, fmt.Errorf("List: %w", err)
		}
		for _, r := range list {
			p := pair{r.MessageID, r.Recipient}
			if err := put(p, fate{stage: waiting, due: r.Due, attempts: r.Attempts}); err != nil {
				return nil, err
			}
			byID[r.ID] = p
			after = r.ID
		}
		if len(list) == 0 {
			break
		}
	}
	for after := int64(0); ; {
		list, err := q.Results(ctx, after, page)
		if err != nil {
			return nil, fmt.Errorf("Results: %w", err)
		}
		for _, r := range list {
			p := pair{r.Result.Message.ID, r.Result.Recipient}
			if err := put(p, fate{stage: ended, seq: r.Seq, outcome: r.Result.Outcome}); err != nil {
				return nil, err
			}
			after = r.Seq
		}
		if len(list) == 0 {
			break
		}
	}
	value, err := q.Load(ctx, saveName)
	if err != nil {
		return nil, fmt.Errorf("Load: %w", err)
	}
	if value != nil {
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("Load: %w", err)
		}
		there[savePair] = fate{stage: saved, seq: n}
	}
	return there, takeAll(ctx, q, there, byID)
}

// far is after every due time of the tests.
var far = start.Add(1000 * time.Hour)

// takeAll adds what only Take tells, and checks that it hands out all, once,
// and with the content that was submitted.
func takeAll(ctx context.Context, q sender.Queue, there map[pair]fate, byID map[int64]pair) error {
	for _, stream := range streams {
		for {
			taken, next, err := q.Take(ctx, stream, far, page, func(sender.Line) int { return page })
			if err != nil {
				return fmt.Errorf("Take: %w", err)
			}
			for _, t := range taken {
				if err := sound(t); err != nil {
					return err
				}
				for i, r := range t.Recipients {
					p := pair{t.Message.ID, t.Message.To[i]}
					if byID[r.ID] != p {
						return fmt.Errorf("%v was handed out with ID %d, which was of %v", p, r.ID, byID[r.ID])
					}
					delete(byID, r.ID)
					f := there[p]
					f.warned = r.Warned
					if r.InFlight {
						f = fate{stage: marked}
					}
					if f.attempts > 0 && (r.Last == nil || r.Last.Reply.Code != 450 || r.Last.Reply.Text != p.to) {
						return fmt.Errorf("%v: the last attempt is %+v", p, r.Last)
					}
					there[p] = f
				}
			}
			if len(taken) == 0 && next.IsZero() {
				break
			}
			if len(taken) == 0 {
				return fmt.Errorf("nothing to take, and next is %v", next)
			}
		}
	}
	if len(byID) > 0 {
		return fmt.Errorf("never handed out: %v", byID)
	}
	return nil
}

// sound checks the content of a message: content made it.
func sound(t *sender.Taken) error {
	body, data := content(t.Message.ID)
	if data != nil {
		if got, ok := t.Message.Data.(json.RawMessage); !ok || !bytes.Equal(got, data) {
			return fmt.Errorf("%s: the data is %v", t.Message.ID, t.Message.Data)
		}
		return nil
	}
	var b bytes.Buffer
	if t.Message.Content == nil {
		return fmt.Errorf("%s: no content", t.Message.ID)
	}
	if _, err := t.Message.Content.WriteTo(&b); err != nil {
		return fmt.Errorf("%s: content: %w", t.Message.ID, err)
	}
	if !bytes.Equal(b.Bytes(), body) {
		return fmt.Errorf("%s: the content is another: %d bytes, not %d", t.Message.ID, b.Len(), len(body))
	}
	return nil
}

// resubmit submits all that was ever acknowledged again: nothing may change.
func resubmit(ctx context.Context, q sender.Queue, known *ledger, there map[pair]fate) error {
	subs := map[string]*sender.Submission{}
	unsure := known.uncertain()
	for p, f := range known.fates {
		if f.stage == saved || unsure[p] {
			continue
		}
		campaign, canceled := campaignOf(p.id)
		if canceled && (there[p].stage == waiting || f.outcome != sender.Canceled) {
			continue // perhaps canceled, perhaps not
		}
		if canceled {
			sub := &sender.Submission{Message: &sender.Message{ID: p.id + "-more", Campaign: campaign, To: []string{p.to}}, Body: []byte("x")}
			if err := q.Submit(ctx, start, sub); !errors.Is(err, sender.ErrCanceled) {
				return fmt.Errorf("%v: the campaign was canceled, and Submit says: %w", p, err)
			}
			continue
		}
		if subs[p.id] == nil {
			subs[p.id] = &sender.Submission{Message: &sender.Message{ID: p.id, Campaign: campaign}, Body: []byte("x"), Due: start}
		}
		subs[p.id].To = append(subs[p.id].To, p.to)
	}
	for _, sub := range subs {
		if err := q.Submit(ctx, start, sub); err != nil {
			return fmt.Errorf("submitted again: %w", err)
		}
	}
	now, err := q.List(ctx, sender.Selection{}, 0, 1_000_000)
	if err != nil {
		return err
	}
	for _, r := range now {
		if there[pair{r.MessageID, r.Recipient}].stage == absent {
			return fmt.Errorf("%s to %s was accepted a second time", r.MessageID, r.Recipient)
		}
	}
	return nil
}

// campaignOf is the campaign that a message was submitted with, and whether it
// is one that is canceled.
func campaignOf(id string) (string, bool) {
	if strings.Contains(id, "-canceled-") {
		return id[:strings.LastIndex(id, "-")], true
	}
	if strings.Contains(id, "-notice-") {
		return "", false
	}
	return "spring", false
}
