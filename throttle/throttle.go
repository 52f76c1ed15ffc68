// Package throttle decides how fast mail may go to a destination.
//
// A [Policy] makes a [Controller] for each destination; the engine asks the
// Controller before each message and each connection, and tells it what came
// of them. [PolicyFunc] is the easy way to write a Policy: a function that
// returns [Limits]. The full way is a type with the methods of Controller;
// package throttletest checks it. [All] puts Controllers together, [Adaptive]
// finds out how fast a destination takes mail, [React] lets [Trigger] rules act on
// replies, [Warmup] is a Policy for new sources, and [Forecast] tells beforehand
// when a campaign will end.
//
// What is promised: a [Rate] of N in a period Per means that no half-open
// interval of length Per, wherever it begins, sees more than N starts, and
// that starts are evenly spaced unless Limits.Burst allows otherwise. A full
// allowance at the top of each second or hour would keep neither promise.
package throttle

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key names a destination: a site as one source reaches it.
type Key struct {
	Site   string // mx.Route.Site, or the name that a Grouper or Namer gave the site
	Domain string // a recipient domain of the site: the first one seen; "" for a relay
	Source string // Source.Name of the way out; "" = all of them
	MX     string // host names of the site's servers, a space between; "" = not known but for Site
}

// Policy makes the Controller of a destination, the first time the destination
// is used. For may be called from several goroutines at once.
type Policy interface {
	For(Key) Controller
}

// Grouper is an optional method of a Policy: it can say that a domain is a site
// of its own, with its own queue, limits and connections, though it shares its
// mail servers with others. Like For it may be called from several goroutines.
type Grouper interface {
	// PerDomain reports whether k.Domain is kept apart from k.Site.
	PerDomain(k Key) bool
}

// A Controller paces one destination. It has no lock, no clock and never
// blocks: its one owner passes the time, which never goes back.
type Controller interface {
	// Next returns the earliest start of the next message; not after now means go.
	// A later time is exact: reached with no Take or Observe in between, it means
	// go. Next changes nothing.
	Next(now time.Time) time.Time
	// Take commits one message that starts now. Call it only when Next allows it;
	// a start that happened all the same is better told than kept quiet.
	Take(now time.Time)
	// Conns returns what is allowed of connections now. It changes nothing.
	Conns(now time.Time) Conns
	// Observe tells what happened.
	Observe(now time.Time, f Feedback)
}

// Explainer is an optional method of a Controller: which limit holds mail back.
type Explainer interface {
	// Binding names the limit that decides Next, such as "20/s", and "" if none does.
	Binding(now time.Time) string
}

// Settler is an optional method of a Controller: whether it can be forgotten.
// Dropping the Controller of an idle destination and asking the Policy for a
// new one later forgets what was sent, and with it the limit of "500/d".
type Settler interface {
	// Settled returns the time from which a new Controller would decide as this
	// one does, if nothing more is taken or observed; not after now means that
	// this one may be dropped. One without the method is kept.
	Settled(now time.Time) time.Time
}

// Sharer is an optional method of a Policy: limits that all sources to a site
// share. A message starts when the destination's Controller and the shared one
// both allow it; Take, Opening and all other feedback go to both, with the
// connections of all sources counted together for the shared one.
type Sharer interface {
	// Shared returns the Controller that all sources share at k.Site; k.Source is
	// "". Nil = nothing is shared. Like For it may be called from several goroutines.
	Shared(k Key) Controller
}

// Adapter is an optional method of a Controller: whether it answers slow-downs
// and blocks itself. The engine pauses a destination on its own after a
// SlowDown where the Controller does not.
type Adapter interface {
	// Adapts reports whether the Controller slows down when it is told to. The
	// answer may change with time, for example when a policy is replaced.
	Adapts() bool
}

// Advisor is an optional method of a Controller: what it wants done that limits
// cannot say.
type Advisor interface {
	// Advice returns what holds now, nil for nothing. It changes nothing and is
	// asked after each Observe of a failure; the slice must not be kept.
	Advice(now time.Time) []Advice
}

// Advice asks to hold a stream at this destination.
type Advice struct {
	Hold  string    // the stream to hold here, "*" = all
	Until time.Time // when it may go on
	Why   string    // the reply, shortened, or another reason in words
	Rule  string    // id of the [Trigger]
}

// Detailer is an optional method of a Controller: what is behind Binding.
type Detailer interface {
	// Detail explains the limit that holds mail back now, a message or a
	// connection; the zero Detail if none does. It changes nothing.
	Detail(now time.Time) Detail
}

// Detail explains a limit.
type Detail struct {
	Limit string    // as Binding names it: "20/s", "suspended", "1 connection"
	Rule  string    // what set it: id of a trigger or profile, "adaptive", "warm-up"; "" = plain limits
	Until time.Time // when it ends by itself; zero = it stays or ends with what is observed
	Reply string    // the reply behind it, "" if there is none
}

// Conns is what a Controller allows of connections.
type Conns struct {
	// Max is how many may be open at once. 0 = the destination is suspended:
	// until Next if that is set, else until something is observed or changed.
	Max      int
	Next     time.Time     // no new connection before this; the zero time or a past one = go
	Messages int           // messages a connection may carry before it is closed; 0 = no limit
	Idle     time.Duration // how long an idle connection is kept; 0 = close at once
}

// Event says what a Feedback is about.
type Event uint8

// The events. Opening comes before what it counts, the others after what they
// tell of. A connection gives one Opening and, if it could not be set up or
// broke, one ConnFailed. A transaction gives one of Delivered, SlowDown,
// Blocked and Refused for each recipient that got a final reply; so does a
// greeting, or a reply to EHLO, that refuses.
const (
	Opening    Event = iota // a connection is being opened: count it against the limit of new connections
	ConnFailed              // it could not be opened, or broke: a sign of a dead host, not of haste
	Delivered               // a message was accepted
	SlowDown                // a reply asked for less: rate or connection limits, greylisting excluded
	Blocked                 // a reply blocks our address or domain here
	Refused                 // any other refusal of a message or recipient: no sign of haste
)

var eventNames = [...]string{"opening", "connection-failed", "delivered", "slow-down", "blocked", "refused"}

// String returns the event's name, such as "slow-down".
func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return "unknown event"
}

// MarshalText gives the name, or an error if e is no event.
func (e Event) MarshalText() ([]byte, error) {
	if int(e) < len(eventNames) {
		return []byte(eventNames[e]), nil
	}
	return nil, &Error{Field: "event", Value: strconv.Itoa(int(e)), Reason: "is none of those defined"}
}

// UnmarshalText takes exactly what MarshalText gives.
func (e *Event) UnmarshalText(text []byte) error {
	i := slices.Index(eventNames[:], string(text))
	if i < 0 {
		return &Error{Field: "event", Value: string(text), Reason: "want one of " + strings.Join(eventNames[:], ", ")}
	}
	*e = Event(i)
	return nil
}

// Feedback is one observation. What is not known is left zero; the texts are
// those of package bounce, which package throttle does not import.
type Feedback struct {
	Event    Event
	Conns    int           // connections open then, the one it is about included
	Wait     time.Duration // the wait that a reply asked for, 0 if none
	Stage    string        // how far the conversation was, such as "greeting": bounce.Stage.String
	Code     int           // of the reply, 0 if no server said this
	Category string        // why, such as "rate-limited": bounce.Category.String
	Scope    string        // whom it is about, such as "source": bounce.Scope.String
	Rule     string        // id of the bounce rule that said so
	Text     string        // the reply on one line with its codes, such as "421 4.7.0 Slow down": bounce.Reply.String
	Stream   string        // of the message, "" if it is about none
}
