package admin

import (
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

// The shapes of answers are types of their own, so that a change of the Go types
// does not change what programs read.

type queuePage struct {
	Recipients []queued `json:"recipients"`
	Next       int64    `json:"next,omitempty"`
}

type queued struct {
	ID        int64     `json:"id"`
	Domain    string    `json:"domain"`
	Stream    string    `json:"stream"`
	Campaign  string    `json:"campaign"`
	MessageID string    `json:"message_id"`
	Recipient string    `json:"recipient"`
	Submitted time.Time `json:"submitted,omitzero"`
	Due       time.Time `json:"due,omitzero"`
	Attempts  int       `json:"attempts"`
	Last      *attempt  `json:"last,omitempty"`
}

func queuedOf(q sender.Queued) queued {
	return queued{q.ID, q.Domain, q.Stream, q.Campaign, q.MessageID, q.Recipient, utc(q.Submitted), utc(q.Due), q.Attempts, attemptOf(q.Last)}
}

type attempt struct {
	Time   time.Time `json:"time,omitzero"`
	Site   string    `json:"site"`
	Source string    `json:"source"`
	Reply  *reply    `json:"reply,omitempty"`
	Class  *class    `json:"class,omitempty"`
	Error  string    `json:"error"`
}

func attemptOf(a *sender.Attempt) *attempt {
	if a == nil {
		return nil
	}
	out := &attempt{Time: utc(a.Time), Site: a.Site, Source: a.Source, Reply: replyOf(a.Reply), Error: a.Err}
	if c := a.Class; c != (bounce.Class{}) {
		out.Class = &class{c.Category.String(), c.Outcome().String(), c.Scope.String(), c.Permanent, c.Action.String(), c.Rule}
	}
	return out
}

type class struct {
	Category  string `json:"category"`
	Outcome   string `json:"outcome"`
	Scope     string `json:"scope"`
	Permanent bool   `json:"permanent"`
	Action    string `json:"action"`
	Rule      string `json:"rule"`
}

type reply struct {
	Stage  string `json:"stage"`
	Code   int    `json:"code"`
	Status string `json:"status"`
	Text   string `json:"text"`
	Host   string `json:"host"`
}

func replyOf(r bounce.Reply) *reply {
	if r == (bounce.Reply{}) {
		return nil
	}
	return &reply{r.Stage.String(), r.Code, r.Status.String(), r.Text, r.Host}
}

type snapshot struct {
	Time         time.Time     `json:"time,omitzero"`
	Looking      int           `json:"looking"`
	Destinations []destination `json:"destinations"`
}

type destination struct {
	Site     string        `json:"site"`
	Source   string        `json:"source"`
	Queued   int           `json:"queued"`
	Deferred int           `json:"deferred"`
	InFlight int           `json:"in_flight"`
	Conns    int           `json:"conns"`
	Idle     int           `json:"idle"`
	Binding  string        `json:"binding"`
	Rule     string        `json:"rule"`
	Until    time.Time     `json:"until,omitzero"`
	Reply    *reply        `json:"reply,omitempty"`
	Rate     float64       `json:"rate"`
	Ends     time.Time     `json:"ends,omitzero"`
	Streams  []streamState `json:"streams"`
}

type streamState struct {
	Stream    string    `json:"stream"`
	Queued    int       `json:"queued"`
	Suspended int       `json:"suspended"`
	Held      time.Time `json:"held,omitzero"`
	Why       string    `json:"why"`
}

func snapshotOf(s sender.Snapshot) snapshot {
	out := snapshot{Time: utc(s.Time), Looking: s.Looking, Destinations: make([]destination, 0, len(s.Destinations))}
	for _, d := range s.Destinations {
		streams := make([]streamState, 0, len(d.Streams))
		for _, st := range d.Streams {
			streams = append(streams, streamState{st.Stream, st.Queued, st.Suspended, utc(st.Held), st.Why})
		}
		out.Destinations = append(out.Destinations, destination{d.Site, d.Source, d.Queued, d.Deferred, d.InFlight, d.Conns, d.Idle,
			d.Binding, d.Rule, utc(d.Until), replyOf(d.Reply), d.Rate, utc(d.Ends), streams})
	}
	return out
}

type suspensionList struct {
	Suspensions []suspension `json:"suspensions"`
}

type suspension struct {
	lines
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

type moveList struct {
	Moves []move `json:"moves"`
}

type move struct {
	lines
	Source string    `json:"source"`
	Since  time.Time `json:"since,omitzero"`
}

// linesOf is such that a program can send it back.
func linesOf(sel sender.Selection) lines {
	all := len(sel.Sites) == 0 && len(sel.Streams) == 0 && len(sel.Campaigns) == 0
	return lines{all, sel.Sites, sel.Streams, sel.Campaigns}
}

// utc is what JSON carries: what is held without end ends after the year 9999.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	if t = t.UTC(); t.After(noEnd) {
		return noEnd
	}
	return t
}

var noEnd = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
