package sender

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/volleymail/volley/bounce"
)

// Outcome is the fate of a recipient.
type Outcome uint8

// The outcomes.
const (
	// Sent: the receiving server took responsibility for the message.
	Sent Outcome = iota
	// Rejected: it will not be delivered; Class says whether that is the
	// address's fault.
	Rejected
	// Deferred: not delivered so far, and the Sender stopped trying: the
	// lifetime is over, the context ended, the Sender shut down, or trying again
	// is pointless before somebody mends something. Submit it again after RetryAt.
	Deferred
	// Unknown: the connection was lost after the end of the message was out
	// and before the reply. Sending again may deliver it twice.
	Unknown
	// Suppressed: Config.Suppression said so before the first attempt, or before
	// a later one: see Result.Attempts.
	Suppressed
	// Canceled: its campaign was canceled.
	Canceled
)

var outcomeNames = [...]string{"sent", "rejected", "deferred", "unknown", "suppressed", "canceled"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText gives the outcome's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Result is the fate of one recipient of one message.
type Result struct {
	Message   *Message
	Recipient string // as in Message.To; "" for a message without recipients
	Outcome   Outcome
	Class     bounce.Class  // why, unless Sent
	Reply     bounce.Reply  // the server's last word; Code 0 if it said nothing
	RetryAt   time.Time     // Deferred: not before
	Err       error         // nil if and only if Sent; an *Error
	Site      string        // the destination's mail servers, "" if it was not found
	Source    string        // Source.Name, "" if it was never tried
	Attempts  int           // transactions and connections tried for it
	Elapsed   time.Duration // since the Sender took the message, or its NotBefore if that is later

	seq int64 // in the Queue's journal, 0 if it is not from there
}

// Error says why a recipient was not delivered, and what was on the wire.
type Error struct {
	Recipient string
	Host      string       // the server spoken to, "" if none was reached
	Source    string       // Source.Name
	Stage     bounce.Stage // where it ended
	Reply     bounce.Reply
	TLS       bool  // the connection was encrypted
	Dot       bool  // the end of the message was on the wire
	Err       error // cause: ErrShutdown, ErrExpired, ctx's error, *mx.Error ...; nil if the reply says it all
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("sender: ")
	switch {
	case strings.ContainsFunc(e.Recipient, unicode.IsControl): // would make lines of its own in a log
		fmt.Fprintf(&b, "<%q>: ", e.Recipient)
	case e.Recipient != "":
		fmt.Fprintf(&b, "<%s>: ", e.Recipient)
	}
	if e.Host != "" {
		fmt.Fprintf(&b, "%s: ", e.Host)
	}
	if e.Stage != bounce.StageNone && e.Stage != bounce.StageLocal {
		fmt.Fprintf(&b, "%s: ", e.Stage)
	}
	reply := e.Reply.String()
	switch {
	case e.Err == nil:
		b.WriteString(reply)
	case reply == "" || strings.Contains(e.Err.Error(), e.Reply.Text):
		b.WriteString(e.Err.Error())
	default:
		fmt.Fprintf(&b, "%s (%s)", e.Err, reply)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// What an Error can wrap, for errors.Is.
var (
	ErrShutdown   = errors.New("the Sender is shut down")
	ErrExpired    = errors.New("the lifetime is over")
	ErrAttempts   = errors.New("Retry.MaxAttempts is reached")
	ErrSuppressed = errors.New("the address is on a suppression list")
	ErrStopped    = errors.New("the caller left the loop over the results")
	ErrCanceled   = errors.New("the campaign is canceled")
)
