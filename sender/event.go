package sender

import (
	"time"

	"github.com/volleymail/volley/bounce"
)

// EventKind says what an Event tells.
type EventKind uint8

// The kinds of events.
const (
	EventSent       EventKind = iota // a recipient was delivered
	EventRejected                    // a recipient was given up
	EventRetry                       // a recipient failed for now, At is the next try
	EventEnded                       // a recipient ended otherwise: deferred, unknown, suppressed, canceled
	EventConnOpened                  // a connection is ready
	EventConnClosed                  // a connection ended, Err says why, nil = by us
	EventConnFailed                  // no connection to any host of the site
	EventStopped                     // a stream is stopped at a site, by the Breaker, until At; Reply says why
	EventHeld                        // a destination, or Host of one that was rolled up, is held until At, Reply says why
	EventPaused                      // the Queue cannot be written, Err says why: nothing is sent; it is tried again At
	EventResumed                     // it can be written again
)

var eventNames = [...]string{"sent", "rejected", "retry", "ended", "conn-opened", "conn-closed", "conn-failed", "stopped", "held", "paused", "resumed"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "event"
}

// Event is something that happened, for logs and meters. Fields that do not
// apply are zero.
type Event struct {
	Kind      EventKind
	Time      time.Time
	Site      string
	Source    string
	Stream    string
	Host      string // mail server
	Message   *Message
	Recipient string
	Reply     bounce.Reply
	Class     bounce.Class
	Attempts  int
	At        time.Time // next try, or end of a pause
	TLS       bool
	Err       error
}
