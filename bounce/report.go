package bounce

import (
	"net/netip"
	"time"
)

// Report is a mail that came back, read by [Parse].
type Report struct {
	Class ReportClass

	// Recipients are those the class is about: for Bounce the failed ones, for
	// Delayed those still tried, for Delivered those reached; for Complaint
	// and Unsubscribe who complains or wants out; for an automatic reply who
	// sent it. It is empty where the report does not say (redacted): see
	// [Codec.Find].
	Recipients []Recipient
	// Others are the recipients of a delivery report with another fate than
	// that of its class, such as the delivered ones of a partly failed message.
	Others []Recipient `json:",omitempty"`

	From    string    // who sent the report, "" if it does not say
	SentTo  []string  // whom it was sent to, by all fields that tell: our return path is one of them
	Subject string    // decoded
	Date    time.Time `json:",omitzero"`

	ReportingMTA string    // host that wrote it, as it calls itself
	ArrivalDate  time.Time `json:",omitzero"` // when the original reached ReportingMTA
	EnvelopeID   string    // ENVID of the original (RFC 3461 §4.4), decoded
	MessageID    string    // of the original, with its angle brackets
	FeedbackID   string    // CFBL-Feedback-ID (RFC 9477 §3.2), else Feedback-ID, of the original
	Feedback     *Feedback `json:",omitempty"` // of a Complaint or Unsubscribe by a feedback loop, else nil

	// Original is what the report returned of the original's header; empty if nothing.
	Original Header `json:",omitempty"`
}

// Recipient is what a report says of one recipient.
type Recipient struct {
	Address    string // final recipient, which may be another than we wrote to, after a forward
	Original   string // the address we wrote to, "" if the report does not tell it from Address
	Fate       Fate   // what became of him
	Status     Status // the diagnostic's enhanced status, else the report's; zero if none
	Reply      Reply  // what the remote server said, read from Diagnostic; Code is 0 if none is quoted
	Diagnostic string // the text that says why, on one line, as the report has it
	RemoteMTA  string // server that said it, "" if unknown
	Class      Class  // of Reply; zero if the recipient did not fail

	LastAttempt    time.Time `json:",omitzero"` // zero if not said
	WillRetryUntil time.Time `json:",omitzero"` // of a Delayed report, zero if not said
}

// Feedback is what a feedback loop reports (RFC 5965, RFC 6591).
type Feedback struct {
	Type             string // in lower case: "abuse", "fraud", "virus", "not-spam", "auth-failure", "opt-out", "other" ...
	UserAgent        string
	SourceIP         netip.Addr // of the server the original came from; zero if not said
	OriginalMailFrom string     // return path of the original
	ReportedDomain   string
	ReportedURI      string
	AuthFailure      string // of type auth-failure: "spf", "dkim", "bodyhash" ... (RFC 6591 §3.3)
	DeliveryResult   string // of type auth-failure (RFC 6591 §3.2.2)
	Incidents        int    // how many reports this one stands for, at least 1
}

// Unwanted reports whether the recipient doesn't want this mail: true for
// complaints and opt-outs, false for "not-spam" (RFC 6430) and for
// authentication failures, which nobody complained about.
func (f *Feedback) Unwanted() bool {
	switch f.Type {
	case "not-spam", "auth-failure", "dmarc":
		return false
	}
	return true
}

// Header is a mail's header in its order, folded lines made one, encoded words
// (RFC 2047) decoded.
type Header []Field

// Field is one field of a header.
type Field struct{ Name, Value string }

// Get returns the first field of that name, in any case; "" if there is none.
func (h Header) Get(name string) string {
	for i := range h {
		if equalName(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// equalName compares field names, of ASCII letters mostly, in any case.
func equalName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && (a[i]|0x20 != b[i]|0x20 || !isLetter(a[i])) {
			return false
		}
	}
	return true
}
