package sender

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Moved is mail that goes by another source than it would.
type Moved struct {
	Selection Selection `json:"selection"`
	Source    string    `json:"source"`
	Since     time.Time `json:"since"`

	pool []string // Source alone
}

// same reports whether they move the same mail.
func (m Moved) same(o Moved) bool { return m.Source == o.Source && m.Selection.equal(o.Selection) }

// Move makes mail go by a source of Config.Sources from now on, whatever
// Config.Choose, routes and streams say: that of the sites, streams and campaigns
// of sel; the other fields of sel must be empty. What is on the wire is not moved.
// With source "" they decide again, for all that sel names. Of several moves the
// newest counts. With a Config.Queue moves outlast the Sender, as suspensions do.
func (s *Sender) Move(ctx context.Context, sel Selection, source string) error {
	if err := s.check("Move", sel); err != nil {
		return err
	}
	if source != "" && !known(s.cfg.sources, source) {
		var names []string
		for _, src := range s.cfg.sources {
			names = append(names, src.Name)
		}
		return fmt.Errorf(`sender: Move: %w: %q is not in Config.Sources, which has %q`, ErrArgument, source, names)
	}
	sel = sel.clone()
	s.admin.mu.Lock()
	defer s.admin.mu.Unlock()
	var list []Moved
	if source != "" {
		list = append(list, Moved{Selection: sel, Source: source, Since: time.Now(), pool: []string{source}})
	}
	for _, m := range s.Moves() {
		for _, part := range m.Selection.without(sel) {
			list = append(list, Moved{Selection: part, Source: m.Source, Since: m.Since, pool: m.pool})
		}
	}
	s.order(func(o *orders) { o.moves = list })
	return save(ctx, s, "Move", savedMoves, list)
}

// Moves returns those in force, the newest first.
func (s *Sender) Moves() []Moved { return slices.Clone(s.admin.orders.Load().moves) }

// sortLanes puts each ready item into the lane that it belongs in now. Those that
// leave theirs wait for no source any more.
func (b *backlog) sortLanes() {
	for _, l := range slices.Clone(b.lanes) {
		for _, part := range l.lists() {
			part.filter(func(it *item) bool {
				to := b.lane(it)
				if to != l {
					to.home(it).pushBack(it)
				}
				return to == l
			})
		}
	}
}
