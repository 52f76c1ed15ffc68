package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/volleymail/volley/sender"
)

// collector writes down the results that come out of the Queue. One goroutine
// uses it.
type collector struct {
	*kept
	ctx       context.Context // ends when no more mail is sent
	stop      func()          // ends it
	sender    *sender.Sender
	tally     *tally
	submitted <-chan struct{} // closed when nothing more is submitted
	left      int             // rows without a result
	fresh     []sender.Result // not acknowledged: they would not survive a crash
	empty     int             // looks in a row that found the Queue empty
	err       error           // the first
}

// freshMax bounds what is written at once.
const freshMax = 10_000

// collect takes results until there are no more.
func (c *collector) collect(results <-chan sender.Result) {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	c.endIfDone()
	for {
		select {
		case r, ok := <-results:
			if !ok {
				c.save()
				return
			}
			c.take(&r)
			c.endIfDone()
		case <-ticker.C:
			c.save()
			c.look()
		}
	}
}

// fail keeps the first error, which ends the campaign for now.
func (c *collector) fail(err error) {
	if c.err == nil && err != nil {
		c.err = err
		c.stop()
	}
}

// take writes a result down. The Queue may yield it again after a crash.
func (c *collector) take(r *sender.Result) {
	c.empty = 0
	i, err := c.mail.index(r.Message)
	if err != nil {
		c.fail(fmt.Errorf("-spool %s: %w", c.name, err))
		return
	}
	if !c.done[i] {
		c.done[i] = true
		c.left--
		c.tally.add(r)
		c.out.write(c.mail.list.number(i), r)
	}
	c.fresh = append(c.fresh, *r)
	if len(c.fresh) >= freshMax {
		c.save()
	}
}

// save makes the file of results safe, and only then lets the Queue forget them.
func (c *collector) save() {
	if len(c.fresh) == 0 || c.err != nil {
		return
	}
	if err := c.out.sync(); err != nil {
		c.fail(err)
		return
	}
	c.sender.Ack(c.fresh...)
	clear(c.fresh)
	c.fresh = c.fresh[:0]
}

// endIfDone ends the campaign when each row has its result.
func (c *collector) endIfDone() {
	if c.left == 0 {
		c.save()
		c.stop()
	}
}

// errLost is what a file of results that somebody has changed leads to.
var errLost = errors.New("they are neither there nor in the spool: was a file of an earlier state put in the place of one of the two?")

// look sees to it that rows that nobody knows of are told, and not waited for.
func (c *collector) look() {
	select {
	case <-c.submitted:
	default:
		return
	}
	if c.left == 0 || c.ctx.Err() != nil {
		return
	}
	queued, err := c.sender.Queued(c.ctx, sender.Selection{}, 0, 1)
	if err != nil || len(queued) > 0 {
		c.empty = 0 // the Sender tells of errors
		return
	}
	if c.empty++; c.empty == 3 { // no result has come in between
		c.fail(fmt.Errorf("-out %s: the results of %s recipients: %w", c.out.file.Name(), number(c.left), errLost))
	}
}
