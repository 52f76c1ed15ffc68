package suppress

import (
	"context"
	"fmt"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Event is something that happened to a recipient.
type Event struct {
	Recipient string
	Stream    string    // of the message; "" = the one without a name, or not known
	Time      time.Time // when it happened; zero = now
	Source    string    // kept in the entry: the reply, the kind of report; may be empty
}

func (e Event) at() time.Time {
	if e.Time.IsZero() {
		return time.Now()
	}
	return e.Time
}

// Observe tells of a failed delivery, at once or by a report, and says whether
// it put the address on the list. Class zero, a success, and classes without a
// rule do nothing. A failure suppresses the address for all streams: a mailbox
// is dead for each of them. The same Event told twice counts once.
func (l *List) Observe(ctx context.Context, e Event, class bounce.Class) (suppressed bool, err error) {
	rule, kind, cause := l.rules.judge(class)
	if rule.After == 0 || class == (bounce.Class{}) {
		return false, nil
	}
	if e.Source == "" {
		e.Source = class.Rule
	}
	return l.apply(ctx, e, rule, kind, Entry{Cause: cause, Category: class.Category})
}

// Complaint tells that the recipient called a message spam, and says whether
// that put the address on the list.
func (l *List) Complaint(ctx context.Context, e Event) (suppressed bool, err error) {
	if l.rules.Complaint.After == 0 {
		return false, nil
	}
	entry := Entry{Cause: Complained}
	if !l.rules.AllStreams {
		entry.Stream = e.Stream
	}
	return l.apply(ctx, e, l.rules.Complaint, "complaint", entry)
}

// Unsubscribe tells that the recipient wants no more mail of Event.Stream, or
// of none if that is "". No rule can put it off.
func (l *List) Unsubscribe(ctx context.Context, e Event) error {
	return l.Add(ctx, Entry{Address: e.Recipient, Stream: e.Stream, Cause: Unsubscribed, Source: e.Source, Time: e.Time})
}

// Delivered tells of a delivery: failures up to then no longer count against
// the address. It takes nobody off the list. If no rule counts, it does nothing;
// else it is one Forget of the Store.
func (l *List) Delivered(ctx context.Context, e Event) error {
	if !l.rules.count() {
		return nil
	}
	address, err := Normalize(e.Recipient)
	if err != nil {
		return fmt.Errorf("suppress: address %q: %w", clip(e.Recipient, 100), err)
	}
	return l.store.Forget(ctx, fold(address), e.at())
}

// count reports whether any rule waits for a second failure.
func (r *Rules) count() bool {
	for _, rule := range r.Bounces {
		if rule.After > 1 {
			return true
		}
	}
	return r.Doubtful.After > 1
}

// apply counts an event, and puts the entry on the list when the rule says so.
func (l *List) apply(ctx context.Context, ev Event, rule Rule, kind string, e Entry) (suppressed bool, err error) {
	e.Address, e.Source, e.Time = ev.Recipient, ev.Source, ev.at()
	if rule.For > 0 {
		e.Expires = e.Time.Add(rule.For)
	}
	if err := e.normalize(); err != nil {
		return false, fmt.Errorf("suppress: %w", err)
	}
	if rule.After == 1 {
		return true, l.store.Put(ctx, []Entry{e})
	}
	key := hitKey(&e)
	n, err := l.store.Hit(ctx, Hit{Key: key, Kind: kind, Time: e.Time.Truncate(rule.Apart)}, rule.Within)
	if err != nil || n < rule.After {
		return false, err
	}
	if err := l.store.Put(ctx, []Entry{e}); err != nil {
		return false, err
	}
	return true, l.store.Forget(ctx, key, e.Time)
}

// hitKey is what events that lead to the entry are counted by. Complaints,
// which no delivery wipes out, have keys of their own, by stream; the tab is in
// no address.
func hitKey(e *Entry) string {
	if e.Cause == Complained {
		return e.Key() + "\t" + e.Stream
	}
	return e.Key()
}
