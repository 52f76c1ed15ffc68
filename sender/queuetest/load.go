package queuetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/volleymail/volley/sender"
)

var loadTests = []test{
	{"concurrent", concurrent},
	{"concurrent/sameMessages", concurrentSubmit},
}

// crew is the goroutines of concurrent.
type crew struct {
	*kit
	due     time.Time     // all is due by then
	work    chan struct{} // one for each recipient that waits
	stop    chan struct{} // closed when all have ended
	want    int64         // recipients
	out     sync.Map      // ID of what is handed out
	ended   sync.Map      // ID of what has ended
	endings atomic.Int64
	acks    atomic.Int64
}

// concurrent has many goroutines submit, take, write, read and acknowledge:
// each recipient ends exactly once, and nobody else has it meanwhile.
func concurrent(k *kit) {
	const submitters, batches, batch = 4, 12, 5
	c := &crew{kit: k, due: base.Add(time.Hour), want: submitters * batches * batch, work: make(chan struct{}, 10*submitters*batches*batch), stop: make(chan struct{})}
	var submitting, working sync.WaitGroup
	for i := range submitters {
		submitting.Go(func() { c.submitter(i, batches, batch) })
	}
	for i := range 4 {
		working.Go(func() { c.taker(rand.New(rand.NewPCG(uint64(i), 1))) })
	}
	working.Go(c.reader)
	working.Go(c.admin)
	submitting.Wait()
	c.watch()
	close(c.stop)
	working.Wait()
	k.equal(c.want, c.endings.Load(), "ends")
	k.equal(int(c.want-c.acks.Load()), len(k.results()), "results that were not acknowledged")
	k.equal(0, len(k.list(sender.Selection{})), "recipients left")
}

// watch waits until all have ended, or nothing goes on any more.
func (c *crew) watch() {
	const patience = 20 * time.Second
	last, since := int64(0), time.Now()
	for last < c.want && !c.Failed() {
		time.Sleep(time.Millisecond)
		if n := c.endings.Load(); n > last {
			last, since = n, time.Now()
		}
		if time.Since(since) > patience {
			c.Errorf("%d of %d have not ended, and Take neither hands them out nor says in next that they are due: %+v",
				c.want-last, c.want, c.list(sender.Selection{}))
		}
	}
}

// fails reports an error of the Queue, or of what it does.
func (c *crew) fails(err error) bool {
	if err != nil {
		c.Error(err)
	}
	return err != nil
}

// next waits for a recipient to take, and returns false when it is stopped.
func (c *crew) next() bool {
	select {
	case <-c.stop:
		return false
	case <-c.work:
		return true
	}
}

func (c *crew) submitter(number, batches, batch int) {
	for b := range batches {
		var msgs []*sender.Submission
		for i := range batch {
			name := fmt.Sprintf("a%d-%d-%d", number, b, i)
			m := &sender.Submission{Message: &sender.Message{ID: name, To: []string{fmt.Sprintf("%s@d%d.example", name, i)}}, Body: []byte(name), Due: base}
			msgs = append(msgs, m)
		}
		if c.fails(c.q.Submit(c.ctx, base, msgs...)) {
			return
		}
		for range msgs {
			c.work <- struct{}{}
		}
	}
}

func (c *crew) taker(luck *rand.Rand) {
	for c.next() {
		taken, next, err := c.q.Take(c.ctx, "", c.due, 7, plenty)
		if c.fails(err) {
			return
		}
		if len(taken) == 0 && !next.IsZero() && !next.After(c.due) {
			time.Sleep(time.Millisecond)
			c.work <- struct{}{} // it says that there is something: ask again
			continue
		}
		var marks, changes []sender.Change
		var list []one
		for _, o := range each(taken) {
			if _, dup := c.out.LoadOrStore(o.ID, true); dup {
				c.Errorf("%s is handed out twice at a time", o.addr)
			}
			if text, err := read(o.t.Message); err != nil || text != o.t.Message.ID {
				c.Errorf("content of %s is %q, %v", o.addr, text, err)
			}
			list = append(list, o)
			marks = append(marks, sender.Change{Kind: sender.Sending, ID: o.ID})
			if luck.IntN(3) == 0 && o.Attempts < 5 {
				changes = append(changes, later(o, c.due))
			} else {
				changes = append(changes, sent(o))
			}
		}
		if c.fails(c.q.Write(c.ctx, c.due, marks)) {
			return
		}
		for i, o := range list { // before others can be handed them
			c.out.Delete(o.ID)
			if _, dup := c.ended.Load(o.ID); dup {
				c.Errorf("%s was handed out after its end", o.addr)
			}
			if changes[i].Kind == sender.EndedNow {
				c.ended.Store(o.ID, true)
			}
		}
		if c.fails(c.q.Write(c.ctx, c.due, changes)) {
			return
		}
		for _, ch := range changes {
			if ch.Kind == sender.Later {
				c.work <- struct{}{}
			} else {
				c.endings.Add(1)
			}
		}
	}
}

// reader acknowledges every other result, until it is stopped.
func (c *crew) reader() {
	for after := int64(0); ; {
		page, err := c.q.Results(c.ctx, after, 10)
		if c.fails(err) {
			return
		}
		var acks []sender.Change
		for _, e := range page {
			if e.Seq <= after {
				c.Errorf("Seq %d comes after %d", e.Seq, after)
			}
			after = e.Seq
			if len(acks) < (len(page)+1)/2 {
				acks = append(acks, sender.Change{Kind: sender.Acknowledged, Seq: e.Seq})
			}
		}
		if c.fails(c.q.Write(c.ctx, c.due, acks)) {
			return
		}
		c.acks.Add(int64(len(acks)))
		if len(page) == 0 && !c.pause() {
			return
		}
	}
}

// admin lists and reschedules what is there, until it is stopped.
func (c *crew) admin() {
	for i := 0; c.pause(); i++ {
		match := sender.Selection{Domains: []string{fmt.Sprintf("d%d.example", i%5)}}
		if _, err := c.q.List(c.ctx, match, 0, 10); c.fails(err) {
			return
		}
		if _, err := c.q.Reschedule(c.ctx, match, c.due.Add(-time.Duration(i)*time.Millisecond)); c.fails(err) {
			return
		}
		if _, _, err := c.q.Uses(c.ctx); c.fails(err) {
			return
		}
	}
}

// pause waits a moment, and returns false when it is stopped.
func (c *crew) pause() bool {
	select {
	case <-c.stop:
		return false
	case <-time.After(2 * time.Millisecond):
		return true
	}
}

// concurrentSubmit: several that submit the same messages at once bring each in once.
func concurrentSubmit(k *kit) {
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			for j := range 20 {
				m := &sender.Submission{Message: &sender.Message{ID: fmt.Sprint(j), To: []string{"a@x.example", "b@y.example"}}, Body: []byte("Hi"), Due: base}
				if err := k.q.Submit(k.ctx, base, m); err != nil {
					errs[i] = err
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		k.ok(err)
	}
	k.equal(40, len(each(k.take(1000))), "recipients")
}
