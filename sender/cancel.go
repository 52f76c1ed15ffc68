package sender

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Cancel ends a campaign: each of its recipients that is not on the wire ends as
// Canceled. So do those that Send takes later, while this Sender lives, and
// Submit refuses them with ErrCanceled; with a Config.Queue all that is for good.
// What is on the wire ends as it would, but is not tried again.
//
// After an error some of the Queue may not be canceled: call it again.
func (s *Sender) Cancel(ctx context.Context, campaign string) error {
	if campaign == "" {
		return fmt.Errorf("sender: Cancel: %w: the campaign is empty: name it as Message.Campaign does", ErrArgument)
	}
	s.admin.mu.Lock()
	s.order(func(o *orders) {
		o.canceled = maps.Clone(o.canceled)
		if o.canceled == nil {
			o.canceled = map[string]bool{}
		}
		o.canceled[campaign] = true
	})
	err := save(ctx, s, "Cancel", savedCanceled, slices.Sorted(maps.Keys(s.admin.orders.Load().canceled)))
	s.admin.mu.Unlock()
	return errors.Join(err, s.cancelQueued(ctx, campaign))
}

// cancelAtOnce is how many recipients are canceled in the Queue in one go.
const cancelAtOnce = 10_000

// cancelQueued cancels what the Queue has not handed out.
func (s *Sender) cancelQueued(ctx context.Context, campaign string) error {
	if s.cfg.Queue == nil {
		return nil
	}
	defer s.clerk.journal.nudge()
	for more := true; more; {
		var err error
		if _, more, err = s.cfg.Queue.Cancel(ctx, campaign, time.Now(), cancelAtOnce); err != nil {
			return fmt.Errorf("sender: Cancel: Config.Queue: %w", err)
		}
	}
	return nil
}

// canceled reports whether the item's campaign was canceled.
func (s *Sender) canceled(it *item) bool {
	canceled := s.admin.orders.Load().canceled
	return len(canceled) > 0 && canceled[it.msg.Campaign]
}

// cancel ends an item of a canceled campaign.
func (s *Sender) cancel(it *item, site string, now time.Time) {
	f := it.because(ErrCanceled)
	s.finish(it, outcome{Outcome: Canceled, failure: f, site: site, source: f.source}, now)
}
