package main

import (
	"context"
	"iter"
	"time"

	"github.com/volleymail/volley/sender"
)

// direct is the way without -spool: Sender.Send, which ends with a result for
// each recipient.
type direct struct {
	mail  *composer
	out   *results
	taken int // recipients that were handed to the Sender
}

func (d *direct) send(ctx context.Context, s *sender.Sender, t *tally) error {
	saved := time.Now()
	for r := range s.Send(ctx, d.messages()) {
		i, err := d.mail.index(r.Message)
		if err != nil {
			return err
		}
		t.add(&r)
		d.out.write(d.mail.list.number(i), &r)
		if now := time.Now(); now.Sub(saved) > saveEvery {
			d.out.flush()
			saved = now
		}
	}
	l := d.mail.list
	for i := d.taken; i < len(l.rows); i++ {
		d.out.writeLeft(l.number(i), l.address(i))
	}
	return shutdown(ctx, s)
}

// messages yields each recipient's message and counts them in taken, which
// may be read when Send has returned.
func (d *direct) messages() iter.Seq[*sender.Message] {
	return func(yield func(*sender.Message) bool) {
		for i := range d.mail.list.rows {
			d.taken++
			if !yield(d.mail.message(i)) {
				return
			}
		}
	}
}

func (d *direct) close() error { return d.out.close() }
func (d *direct) file() string { return d.out.file.Name() }
