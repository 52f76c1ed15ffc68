package bounce

import (
	"fmt"
	"strings"
)

// Stage says how far the conversation with the server was when a Reply came,
// or when it broke off.
type Stage uint8

// The stages, in the order in which a delivery passes them.
const (
	StageNone     Stage = iota // not known: a reply read from a report or a log
	StageLocal                 // decided here, nothing was asked: lifetime over, suppressed, malformed
	StageDNS                   // looking up the destination
	StageConnect               // opening the TCP connection
	StageGreeting              // waiting for the 220 greeting
	StageHello                 // EHLO or HELO
	StageTLS                   // STARTTLS and the handshake
	StageAuth                  // AUTH
	StageMail                  // MAIL FROM
	StageRcpt                  // RCPT TO
	StageData                  // DATA, up to its 354; BDAT other than the last
	StageBody                  // the message itself, up to the reply to the final dot or BDAT LAST
	StageReset                 // RSET, NOOP or QUIT
)

var stageNames = [...]string{"", "local", "dns", "connect", "greeting", "hello", "tls", "auth", "mail", "rcpt", "data", "body", "reset"}

// String returns the name, such as "rcpt"; it is empty for StageNone.
func (s Stage) String() string {
	return nameOf("stage", stageNames[:], s)
}

// Status is an enhanced mail system status code (RFC 3463): class, subject,
// detail. The zero Status means that there was none.
type Status [3]uint16

// String returns the code, such as "5.1.1"; it is empty for the zero Status.
func (s Status) String() string {
	if s == (Status{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", s[0], s[1], s[2])
}

// MarshalText gives the code as String does.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (s *Status) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = Status{}
		return nil
	}
	parsed, ok := ParseStatus(string(text))
	if !ok {
		return fmt.Errorf("bounce: %q is no enhanced status code, such as 5.1.1 (RFC 3463)", text)
	}
	*s = parsed
	return nil
}

// Reply is what a server said (RFC 5321 §4.2), or, with Code 0, what happened
// instead: a connection that failed, a name that does not resolve, a lifetime
// that is over. Then Status and Text are Volley's own words for it.
type Reply struct {
	Stage  Stage
	Code   int    // 200 to 599; 0 if no server said this
	Status Status // enhanced status code, zero if none was given
	Text   string // without the codes; lines are separated by "\n"
	Host   string // name of the server, "" if unknown; rules of single providers need it
}

// String gives the reply on one line, as a log or a DSN's Diagnostic-Code shows it.
func (r Reply) String() string {
	var b strings.Builder
	if r.Code != 0 {
		fmt.Fprintf(&b, "%d ", r.Code)
	}
	if r.Status != (Status{}) {
		b.WriteString(r.Status.String() + " ")
	}
	b.WriteString(strings.ReplaceAll(r.Text, "\n", " "))
	return strings.TrimSpace(b.String())
}

// Temporary reports whether trying again later can help by the first digit of
// the code (RFC 5321 §4.2.1), or, without a code, of the status. The text may
// say otherwise: see Classify.
func (r Reply) Temporary() bool {
	if r.Code != 0 {
		return r.Code/100 == 4
	}
	return r.Status[0] != 5
}
