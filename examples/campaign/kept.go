package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/spool"
)

// kept is the way with -spool: all mail is submitted to a Queue in a file, which
// keeps it until it has ended and its result is in the file of results. The next
// run goes on from these two files, however this one ends.
type kept struct {
	name    string // of the spool
	queue   sender.Queue
	release func() error // closes queue
	mail    *composer
	state   state
	out     *results
	done    []bool   // rows that have a result in out
	earlier outcomes // of those that had one at the start
}

// state is what the spool itself remembers of the campaign.
type state struct {
	List, Mail string // fingerprints
	Submitted  bool   // all rows
}

// stateName is where the Queue keeps it.
const stateName = "examples/campaign"

// keep opens the spool and the file of results, and sees that both are of this
// campaign. It does nothing without a file.
func (c *campaign) keep(ctx context.Context, file string) error {
	if file == "" {
		return nil
	}
	q, err := spool.Open(file, nil)
	if err != nil {
		return fmt.Errorf("-spool: %w", err)
	}
	k := &kept{name: file, queue: q, release: q.Close, mail: c.mail}
	if err := k.open(ctx, cmp.Or(c.out, file+".csv")); err != nil {
		return errors.Join(err, k.close())
	}
	c.kept = k
	return nil
}

// open reads what both files have of the campaign.
func (k *kept) open(ctx context.Context, out string) error {
	begun, err := k.load(ctx)
	if err != nil {
		return fmt.Errorf("-spool %s: %w", k.name, err)
	}
	if err := k.openResults(out, begun); err != nil {
		return fmt.Errorf("-out %s: %w", out, err)
	}
	if begun {
		return nil
	}
	k.state = state{List: k.mail.listPrint, Mail: k.mail.mailPrint}
	return k.save(ctx) // when the file is there: what was begun needs it
}

// load finds out whether the campaign was begun with this spool.
func (k *kept) load(ctx context.Context) (begun bool, err error) {
	value, err := k.queue.Load(ctx, stateName)
	if err != nil {
		return false, err
	}
	if value == nil {
		return false, k.mustBeNew(ctx)
	}
	if err := json.Unmarshal(value, &k.state); err != nil {
		return false, err
	}
	switch {
	case k.state.List != k.mail.listPrint:
		return false, errors.New("it was begun with another list: go on with that one, as it was (-recipients, -limit; -n, -seed), or name a new file")
	case k.state.Mail != k.mail.mailPrint:
		return false, errors.New("it was begun with other templates: go on with those, as they were (-subject, -html, -text, -from, -return-path, -list-unsubscribe), or name a new file")
	}
	return true, nil
}

// mustBeNew refuses a spool with other mail: its results would be taken from
// whoever waits for them.
func (k *kept) mustBeNew(ctx context.Context) error {
	waiting, err := k.queue.List(ctx, sender.Selection{}, 0, 1)
	if err != nil {
		return err
	}
	ended, err := k.queue.Results(ctx, 0, 1)
	if err == nil && len(waiting)+len(ended) > 0 {
		err = errors.New("it has mail of another program: name another file")
	}
	return err
}

func (k *kept) save(ctx context.Context) error {
	value, err := json.Marshal(k.state)
	if err != nil {
		return err
	}
	return k.queue.Save(ctx, stateName, value)
}

// greeting says where the campaign goes on.
func (k *kept) greeting() string {
	if k == nil || k.earlier.done() == 0 {
		return ""
	}
	return fmt.Sprintf("%s goes on: %s recipients have their results.\n", k.name, number(k.earlier.done()))
}

func (k *kept) file() string { return k.out.file.Name() }

// close closes both files. What was written is saved already.
func (k *kept) close() error {
	if k == nil {
		return nil
	}
	err := k.release()
	if k.out != nil {
		err = errors.Join(err, k.out.file.Close())
	}
	return err
}

// send submits what was not submitted, and collects results until each row has
// one, or ctx ends. It shuts the Sender down before it returns: what is left
// stays in the Queue.
func (k *kept) send(ctx context.Context, s *sender.Sender, t *tally) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	submitted := make(chan struct{})
	todo := slices.Clone(k.done)
	g.Go(func() error {
		defer close(submitted)
		return k.submit(ctx, s, todo)
	})
	g.Go(func() error {
		<-ctx.Done()
		<-submitted
		_ = shutdown(ctx, s) // whom it had to cut off is unknown, or stays in the Queue
		return nil
	})
	results := make(chan sender.Result, 100)
	g.Go(func() error {
		defer close(results)
		for r := range s.Results(context.WithoutCancel(ctx)) { // it ends with the Sender: then all that is known is written down
			results <- r
		}
		return nil
	})
	c := &collector{kept: k, ctx: ctx, stop: stop, sender: s, tally: t, submitted: submitted}
	c.left = len(k.done) - k.earlier.done()
	c.collect(results)
	return errors.Join(c.err, g.Wait())
}

// submitBatch is how many messages share a write. Mail that is going out waits
// for that write too.
const submitBatch = 200

// submit puts the rows that have no result into the Queue. Those that are there
// since an earlier run are passed over by it: each pair of Message.ID and
// recipient is accepted once.
func (k *kept) submit(ctx context.Context, s *sender.Sender, done []bool) error {
	if k.state.Submitted {
		return nil
	}
	batch := make([]*sender.Message, 0, submitBatch)
	for i := range done {
		if !done[i] {
			batch = append(batch, k.mail.message(i))
		}
		if len(batch) == submitBatch || i == len(done)-1 {
			if err := s.Submit(ctx, batch...); err != nil {
				return unlessEnded(ctx, err)
			}
			batch = batch[:0]
		}
	}
	k.state.Submitted = true
	return unlessEnded(ctx, k.save(ctx))
}

// unlessEnded passes an error on, unless it is there because ctx has ended.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
