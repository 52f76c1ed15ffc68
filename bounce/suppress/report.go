package suppress

import (
	"context"
	"errors"

	"github.com/volleymail/volley/bounce"
)

// ObserveReport tells of a mail that came back, and returns the addresses that
// it put on the list: failed recipients as Observe does, complaints and wishes
// to unsubscribe as Complaint and Unsubscribe do; delivered recipients count as
// Delivered. Other mails do nothing.
//
// If e.Recipient is given, it is whom the report is about, whatever addresses
// it has: the sender knows by the return path, see [bounce.Codec]. Else it is
// whom the report names; an address that the message was sent to comes before
// the one where it ended after a forward. An e.Source that is empty is filled in.
//
// Anybody can write such a mail. Without a signed return path its word is
// worth no more than that of a stranger.
func (l *List) ObserveReport(ctx context.Context, e Event, rep *bounce.Report) (suppressed []string, err error) {
	if rep == nil {
		return nil, nil
	}
	e.Time = e.at()
	all := rep.Recipients
	if len(all) == 0 && e.Recipient != "" {
		all = []bounce.Recipient{{}}
	}
	var errs []error
	for i := range all {
		one := e
		if one.Recipient == "" {
			one.Recipient = writtenTo(&all[i])
		}
		if _, err := Normalize(one.Recipient); err != nil {
			continue // redacted, or no address
		}
		yes, err := l.observeOne(ctx, one, rep, &all[i])
		if yes {
			suppressed = append(suppressed, one.Recipient)
		}
		errs = append(errs, err)
		if e.Recipient != "" {
			break // the rest is said of the same one
		}
	}
	if e.Recipient == "" {
		errs = append(errs, l.deliveredOthers(ctx, e, rep))
	}
	return suppressed, errors.Join(errs...)
}

func (l *List) observeOne(ctx context.Context, e Event, rep *bounce.Report, r *bounce.Recipient) (suppressed bool, err error) {
	switch rep.Class {
	case bounce.Bounce:
		if e.Source == "" {
			e.Source = r.Diagnostic
		}
		return l.Observe(ctx, e, r.Class)
	case bounce.Complaint:
		if rep.Feedback != nil && !rep.Feedback.Unwanted() {
			return false, nil
		}
		if e.Source == "" && rep.Feedback != nil {
			e.Source = rep.Feedback.Type
		}
		return l.Complaint(ctx, e)
	case bounce.Unsubscribe:
		if e.Source == "" {
			e.Source = "mail"
		}
		err := l.Unsubscribe(ctx, e)
		return err == nil, err
	case bounce.Delivered:
		return false, l.Delivered(ctx, e)
	}
	return false, nil
}

// deliveredOthers takes note of those that a report of other matters says were
// delivered.
func (l *List) deliveredOthers(ctx context.Context, e Event, rep *bounce.Report) error {
	var errs []error
	for i := range rep.Others {
		e.Recipient = writtenTo(&rep.Others[i])
		if _, err := Normalize(e.Recipient); err == nil && rep.Others[i].Fate == bounce.FateDelivered {
			errs = append(errs, l.Delivered(ctx, e))
		}
	}
	return errors.Join(errs...)
}

func writtenTo(r *bounce.Recipient) string {
	if r.Original != "" {
		return r.Original
	}
	return r.Address
}
