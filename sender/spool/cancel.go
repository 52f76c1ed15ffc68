package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

// Cancel implements sender.Queue.
func (s *Spool) Cancel(ctx context.Context, campaign string, now time.Time, max int) (n int, more bool, err error) {
	if err := s.check(ctx); err != nil {
		return 0, false, err
	}
	if campaign == "" {
		return 0, false, errors.New("spool: Cancel: mail without a campaign cannot be canceled")
	}
	if max <= 0 || max > maxGroup {
		max = maxGroup
	}
	err = s.write(ctx, &request{rows: max, exclusive: true, apply: func(t *tx) (err error) {
		t.seen(now)
		n, more, err = t.cancel(campaign, now, max)
		return err
	}})
	if err != nil {
		return 0, false, err
	}
	return n, more, nil
}

func (t *tx) cancel(campaign string, now time.Time, max int) (n int, more bool, err error) {
	if !t.isCanceled(campaign) {
		if _, err := t.cancelCampaign.exec(campaign, nano(now)); err != nil {
			return 0, false, err
		}
		t.canceled = append(t.canceled, campaign)
	}
	for _, l := range t.s.lines.byID {
		from, ahead, any := t.s.lines.pending(l)
		if l.Campaign != campaign || !any {
			continue
		}
		got, all, err := t.cancelLine(l, from, ahead, now, max-n)
		n += got
		if err != nil || !all {
			return n, true, err
		}
	}
	return n, false, nil
}

// pending gives the place in the line behind which recipients wait, how many
// there may be handed out, and whether there may be others.
func (ls *lines) pending(l *line) (from key, ahead int, any bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	from = l.cursor
	if !from.before(l.hold) { // it will be set back
		from = key{l.hold.at, l.hold.id - 1}
		ahead = l.out
	}
	return from, max(ahead, l.ahead()), l.next != never || l.hold != end
}

// cancelLine ends up to max recipients of a line that are behind a place, but
// not those that were in flight when the file was opened: their fate is not
// known. all means that there are no others.
func (t *tx) cancelLine(l *line, from key, ahead int, now time.Time, max int) (n int, all bool, err error) {
	known := map[int64]*waiter{}
	var ids []int64
	var details []string
	all = true
	err = t.waitingAfter.query(func(row []value) error {
		w := &waiter{id: integer(row[0]), message: integer(row[2]), remaining: integer(row[10]), content: integer(row[11])}
		switch {
		case t.s.lines.isLost(w.id), !t.s.lines.waits(w.id):
			return nil
		case len(ids) == max:
			all = false
			return nil
		}
		detail, err := canceledResult(l, row, now).MarshalJSON()
		if err != nil {
			return err
		}
		known[w.id] = w
		ids = append(ids, w.id)
		details = append(details, string(detail))
		return nil
	}, l.id, from.at, from.id, int64(max+1+ahead+len(t.s.lines.lost)))
	if err != nil {
		return 0, false, err
	}
	t.thinned = append(t.thinned, l)
	for _, detail := range details {
		if _, err := t.journal(detail); err != nil {
			return 0, false, err
		}
	}
	return len(ids), all, t.end(ids, known, nano(now))
}

// canceledResult is what the journal says of a recipient that waitingAfter
// found.
func canceledResult(l *line, row []value, now time.Time) *sender.Result {
	address := text(row[3])
	m := &sender.Message{ID: text(row[6]), Stream: l.Stream, Campaign: l.Campaign, From: text(row[7]), To: []string{address}}
	if tags := text(row[8]); tags != "" {
		_ = json.Unmarshal([]byte(tags), &m.Tags) // at worst the result has none
	}
	r := &sender.Result{Message: m, Recipient: address, Outcome: sender.Canceled, Attempts: int(integer(row[4]))}
	e := &sender.Error{Recipient: address, Stage: bounce.StageLocal, Err: sender.ErrCanceled}
	r.Err = e
	if last := text(row[5]); last != "" {
		var a sender.Attempt
		if a.UnmarshalJSON([]byte(last)) == nil {
			r.Site, r.Source, r.Reply, r.Class = a.Site, a.Source, a.Reply, a.Class
			e.Source, e.Reply = a.Source, a.Reply
		}
	}
	if born := instant(integer(row[9])); now.After(born) {
		r.Elapsed = now.Sub(born)
	}
	return r
}

// refuseCanceled looks for messages of canceled campaigns, before the first of
// many is stored.
func (s *Spool) refuseCanceled(msgs []*sender.Submission) error {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	if len(s.lines.canceled) == 0 {
		return nil
	}
	for _, m := range msgs {
		if s.lines.canceled[m.Campaign] {
			return fmt.Errorf("spool: message %q: %w", m.ID, canceledError(m.Campaign))
		}
	}
	return nil
}
