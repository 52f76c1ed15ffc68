package sender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// admin is what was ordered of a Sender while it runs. Orders are in one place,
// and not changed but replaced: sites look whether there are others.
type admin struct {
	mu     sync.Mutex // held while orders are replaced and saved
	orders atomic.Pointer[orders]
}

// orders that are in force. Nothing in it is changed.
type orders struct {
	suspensions []Suspension
	moves       []Moved // the newest first
	canceled    map[string]bool
}

// order replaces the orders by what change makes of a copy, and tells everybody.
func (s *Sender) order(change func(*orders)) {
	next := *s.admin.orders.Load()
	change(&next)
	s.admin.orders.Store(&next)
	if s.taker != nil {
		s.taker.look()
	}
	s.sched.box.put(schedMsg{kind: schedOrders})
}

// The names under which a Queue keeps orders.
const (
	savedSuspensions = "suspensions"
	savedMoves       = "moves"
	savedCanceled    = "canceled"
)

// save keeps orders in the Queue, so that they are in force after a restart.
func save[T any](ctx context.Context, s *Sender, verb, name string, orders []T) error {
	if s.cfg.Queue == nil {
		return nil
	}
	var value []byte
	if len(orders) > 0 {
		var err error
		if value, err = json.Marshal(orders); err != nil {
			return fmt.Errorf("sender: %s: %w", verb, err)
		}
	}
	if err := s.cfg.Queue.Save(ctx, name, value); err != nil {
		return fmt.Errorf("sender: %s: it is done, but would be forgotten at a restart: call it again: %w", verb, err)
	}
	return nil
}

// loadOrders reads what save kept.
func (s *Sender) loadOrders(ctx context.Context) error {
	var o orders
	if s.cfg.Queue != nil {
		var canceled []string
		for name, into := range map[string]any{savedSuspensions: &o.suspensions, savedMoves: &o.moves, savedCanceled: &canceled} {
			value, err := s.cfg.Queue.Load(ctx, name)
			if err == nil && value != nil {
				err = json.Unmarshal(value, into)
			}
			if err != nil {
				return fmt.Errorf("sender: Config.Queue: the %s that it keeps: %w", name, err)
			}
		}
		o.canceled = map[string]bool{}
		for _, campaign := range canceled { // what a crash has left of them
			o.canceled[campaign] = true
		}
	}
	o.moves = slices.DeleteFunc(o.moves, func(m Moved) bool {
		gone := !known(s.cfg.sources, m.Source)
		if gone {
			s.cfg.log.Warn("a Move is dropped: its source is not in Config.Sources any more", "source", m.Source)
		}
		return gone
	})
	for i := range o.moves {
		o.moves[i].pool = []string{o.moves[i].Source}
	}
	s.admin.orders.Store(&o)
	return nil
}

// heed does what was ordered since the site last looked, and ends suspensions that
// are over.
func (st *site) heed(now time.Time) {
	b := &st.backlog
	switch o := st.s.admin.orders.Load(); {
	case o != b.orders:
		b.obey(o, now)
		if len(o.canceled) > 0 {
			st.giveBack(now)
		}
	case !b.lapse.IsZero() && !now.Before(b.lapse):
		b.sortSuspended(now)
	}
}

// obey sorts the items anew by the orders.
func (b *backlog) obey(o *orders, now time.Time) {
	b.orders = o
	b.suspends = slices.DeleteFunc(slices.Clone(o.suspensions), func(p Suspension) bool { return !picks(p.Selection.Sites, b.site) })
	moves := slices.DeleteFunc(slices.Clone(o.moves), func(m Moved) bool { return !picks(m.Selection.Sites, b.site) })
	if !slices.EqualFunc(moves, b.moves, Moved.same) {
		b.moves = moves
		b.sortLanes()
	}
	b.sortSuspended(now)
}

// SendNow makes ready what waits for a later try or for its Message.NotBefore,
// and returns how many recipients these were. Where sel names sites, what replies
// or failed connections hold there is tried at once, as after Resume; suspensions,
// limits and Stream.Hours stay.
//
// All fields of sel count. SendNow waits for the sites; ctx ends that, and the
// number is then of those that have answered.
func (s *Sender) SendNow(ctx context.Context, sel Selection) (int, error) {
	if err := s.checkStreams("SendNow", sel); err != nil {
		return 0, err
	}
	asked := make(chan hastened, 1)
	s.sched.box.put(schedMsg{kind: schedSendNow, sel: &sel, hasten: asked})
	n := 0
	select {
	case h := <-asked:
		n += h.n
		for range cap(h.answers) {
			select {
			case k := <-h.answers:
				n += k
			case <-ctx.Done():
				return n, context.Cause(ctx)
			}
		}
	case <-s.finished:
		return 0, fmt.Errorf("sender: SendNow: %w", ErrShutdown)
	}
	var err error
	if len(sel.Sites) > 0 {
		err = s.freeQueued(ctx, sel.Sites)
	}
	queued, more := s.rescheduleQueued(ctx, sel, time.Now())
	return n + queued, errors.Join(err, more)
}

// hastened is the scheduler's part of the answer to SendNow: the rest comes on
// answers, as many as it has room for.
type hastened struct {
	n       int
	answers <-chan int
}

// sendNow asks each site that has something to do, and looks up domains again.
func (q *scheduler) sendNow(sel *Selection, to chan<- hastened, now time.Time) {
	var h hastened
	for _, d := range q.domains {
		n := d.waiting.count(func(it *item) bool { return sel.match(it, "") })
		if n > 0 && !d.looking && d.retryAt.After(now) {
			h.n += n
			d.retryAt = now
			q.look(d)
		}
	}
	var busy []*site
	for _, st := range q.sites {
		if picks(sel.Sites, st.name) && (st.awake || !st.wakeAt.IsZero()) {
			busy = append(busy, st)
		}
	}
	answers := make(chan int, len(busy))
	for _, st := range busy {
		q.tell(st, siteMsg{kind: siteSendNow, sel: sel, hasten: answers})
	}
	h.answers = answers
	to <- h
}

// sendNow makes ready what matches, and returns how many these are.
func (st *site) sendNow(sel *Selection, now time.Time) int {
	if len(sel.Sites) > 0 && sel.checkFields("") == nil {
		st.resume(sel)
	}
	return st.backlog.hasten(func(it *item) bool { return sel.match(it, st.name) }, now)
}

// rescheduleQueued makes due what matches in the Queue.
func (s *Sender) rescheduleQueued(ctx context.Context, sel Selection, now time.Time) (int, error) {
	if s.cfg.Queue == nil {
		return 0, nil
	}
	defer s.taker.look()
	n, err := s.cfg.Queue.Reschedule(ctx, sel, now)
	if err != nil {
		err = fmt.Errorf("sender: SendNow: Config.Queue: %w", err)
	}
	return n, err
}

// freeQueued makes due what the Queue keeps because sites, all if none are
// named, were held.
func (s *Sender) freeQueued(ctx context.Context, sites []string) error {
	if s.cfg.Queue == nil {
		return nil
	}
	domains := make(chan []string, 1)
	s.taker.box.put(takerMsg{kind: takerFree, sites: sites, answer: domains})
	select {
	case d := <-domains:
		if len(d) == 0 {
			return nil
		}
		_, err := s.rescheduleQueued(ctx, Selection{Domains: d}, time.Now())
		return err
	case <-s.taker.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sender: Config.Queue: %w", context.Cause(ctx))
	}
}

// match reports whether an item at a site is picked.
func (sel *Selection) match(it *item, site string) bool {
	return picks(sel.Sites, site) && picks(sel.Domains, it.domain.name) && picks(sel.Streams, it.msg.Stream) &&
		picks(sel.Campaigns, it.msg.Campaign) && picks(sel.Messages, it.msg.ID) && picks(sel.Recipients, it.recipient())
}

// checkFields refuses fields by which orders cannot be given.
func (sel *Selection) checkFields(verb string) error {
	for name, values := range map[string][]string{"Domains": sel.Domains, "Messages": sel.Messages, "Recipients": sel.Recipients} {
		if len(values) > 0 {
			return fmt.Errorf("sender: %s: %w: Selection.%s is set: leave it empty, and name Sites (see Result.Site), Streams or Campaigns", verb, ErrArgument, name)
		}
	}
	return nil
}

func (s *Sender) checkStreams(verb string, sel Selection) error {
	for _, name := range sel.Streams {
		if _, ok := s.cfg.Streams[name]; !ok && name != "" {
			return fmt.Errorf("sender: %s: %w: Selection.Streams: %q is not in Config.Streams, which has %q", verb, ErrArgument, name, slices.Sorted(maps.Keys(s.cfg.Streams)))
		}
	}
	return nil
}

// check judges a selection that orders are to be given for.
func (s *Sender) check(verb string, sel Selection) error {
	if err := sel.checkFields(verb); err != nil {
		return err
	}
	return s.checkStreams(verb, sel)
}

// clone makes a copy that its owner cannot change, in a form that can be compared.
func (sel Selection) clone() Selection {
	for _, f := range sel.fields() {
		*f = slices.Compact(slices.Sorted(slices.Values(*f)))
	}
	return sel
}

// fields by which orders are given.
func (sel *Selection) fields() []*[]string {
	return []*[]string{&sel.Sites, &sel.Streams, &sel.Campaigns}
}

func (sel Selection) equal(o Selection) bool {
	return slices.Equal(sel.Sites, o.Sites) && slices.Equal(sel.Streams, o.Streams) && slices.Equal(sel.Campaigns, o.Campaigns)
}

// without returns what is left of a selection that some is taken out of: nothing,
// parts of it, or the whole, where what is left cannot be said by names.
func (sel Selection) without(out Selection) []Selection {
	rest := sel
	var left []Selection
	for i, f := range rest.fields() {
		names := *out.fields()[i]
		if len(names) == 0 {
			continue
		}
		var in, others []string
		for _, v := range *f {
			if slices.Contains(names, v) {
				in = append(in, v)
			} else {
				others = append(others, v)
			}
		}
		if len(in) == 0 {
			return []Selection{sel} // nothing in common, or all but some
		}
		if len(others) > 0 {
			part := rest
			*part.fields()[i] = others
			left = append(left, part)
		}
		*f = in
	}
	return left
}
