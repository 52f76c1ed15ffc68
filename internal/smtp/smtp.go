// Package smtp is the client's side of one SMTP connection.
//
// A [Session] greets the server with the help of go-mail's client (greeting,
// EHLO, AUTH) and then lays [Transaction] values on the wire itself, in the
// largest groups of commands that the server is known to master. It gives every
// recipient a [Fate] that says whether sending again is safe, and keeps
// everything a server says bounded in size and time.
//
// It follows RFC 5321 and these extensions: SIZE (RFC 1870), PIPELINING (RFC
// 2920), CHUNKING (RFC 3030), STARTTLS (RFC 3207), DSN (RFC 3461), AUTH (RFC
// 4954), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), LIMITS (RFC 9422), and
// enhanced status codes (RFC 2034).
package smtp

import (
	"cmp"
	"crypto/tls"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/volleymail/volley/bounce"
)

// Headroom is the free space that a Body must leave before the message.
const Headroom = 64

// Body is a rendered message in one piece of memory, with room at both ends
// so that what surrounds it on the wire goes out in the same write.
// The Session may write to Buf[:Start] and to Buf[len(Buf):cap(Buf)]; it never
// changes the message. It is free for reuse when its Transaction is done.
//
// Room behind the message is not required. The end of the message and the next
// envelope need about 100 octets and 50 for each recipient; without that much
// they cost a write of their own.
type Body struct {
	Buf      []byte // Buf[Start:] is the message: CRLF line ends only, ends in CRLF
	Start    int    // at least Headroom
	EightBit bool   // has octets over 127
	Dots     bool   // a line begins with a dot: DATA has to stuff it
}

// Fate is what became of one recipient of a Transaction.
type Fate uint8

// The fates.
const (
	NotSent Fate = iota // undecided: nothing was delivered, it can be sent again at once. Reply says why
	Sent                // the server took responsibility
	Refused             // by Reply
	Unknown             // the connection was lost after the final dot, before the reply
)

var fateNames = [...]string{"not sent", "sent", "refused", "unknown"}

func (f Fate) String() string { return fateNames[f] }

// Rcpt is one recipient of a Transaction.
type Rcpt struct {
	Addr   string // mailbox, without angle brackets; domain in A-labels unless UTF8
	Notify string // DSN NOTIFY value, "" = none (RFC 3461 §4.1)
	ORcpt  string // DSN ORCPT value, xtext-encoded, "" = none

	Fate  Fate         // set by the Session
	Reply bounce.Reply // set by the Session: why

	state rcptState
}

// rcptState is what the Session knows of a recipient while it is at work.
type rcptState uint8

const (
	rcptOpen     rcptState = iota // its RCPT is unsent or unanswered
	rcptAccepted                  // its RCPT was accepted
	rcptSettled                   // Fate and Reply are final
)

// settle makes fate and reply final.
func (r *Rcpt) settle(fate Fate, reply bounce.Reply) {
	r.Fate, r.Reply, r.state = fate, reply, rcptSettled
}

// Transaction is one message to one or more recipients (RFC 5321 §3.3).
type Transaction struct {
	From  string // reverse-path without angle brackets, "" = null
	Rcpts []Rcpt
	Body  *Body
	UTF8  bool   // an address or the header needs SMTPUTF8 (RFC 6531)
	Ret   string // DSN RET value: "FULL", "HDRS" or ""
	EnvID string // DSN ENVID value, xtext-encoded

	// Ready is asked before the end of the message may go out. An error ends the
	// session before that. nil = it may.
	Ready func() error

	Wire Wire  // set by the Session: how far it got
	Err  error // set by the Session if the connection failed under it: an *Error; nil = the session lives
}

// Wire says how much of a transaction was on the wire.
type Wire uint8

// How far a transaction got.
const (
	WireNothing Wire = iota // before MAIL
	WireMail                // MAIL was written
	WireRcpt                // RCPT was written
	WireBody                // a part of the message was written, without its end
	WireDot                 // the end of the message was written: the server may have taken it
)

var wireNames = [...]string{"before MAIL", "after MAIL", "after RCPT", "within the message", "after the end of the message"}

func (w Wire) String() string { return wireNames[w] }

// TLSMode says how much TLS is asked of a server.
type TLSMode uint8

// The modes.
const (
	TLSOpportunistic TLSMode = iota // STARTTLS if offered, any certificate
	TLSNone                         // never
	TLSRequired                     // STARTTLS or fail, any certificate
	TLSVerify                       // STARTTLS or fail, certificate verified for ServerName
	TLSImplicit                     // TLS from the first byte, certificate verified (RFC 8314)
)

// Timeouts bound each wait. A zero field means the default, which is the
// minimum that RFC 5321 §4.5.3.2 advises where it gives one. A wait is for a
// whole reply: a server that sends it octet by octet gains nothing.
type Timeouts struct {
	Greeting time.Duration // RFC 5321 §4.5.3.2.1; default 5m
	Hello    time.Duration // default 5m
	TLS      time.Duration // handshake; default 2m
	Auth     time.Duration // each reply; default 5m
	Mail     time.Duration // §4.5.3.2.2; also RSET; default 5m
	Rcpt     time.Duration // §4.5.3.2.3; default 5m
	Data     time.Duration // §4.5.3.2.4, to the 354; default 2m
	Block    time.Duration // §4.5.3.2.5, each write of at most 64 KiB; default 3m
	Dot      time.Duration // §4.5.3.2.6, to the reply after the end; default 10m
	Quit     time.Duration // default 5s
}

// withDefaults replaces zero fields.
func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Greeting: cmp.Or(t.Greeting, 5*time.Minute),
		Hello:    cmp.Or(t.Hello, 5*time.Minute),
		TLS:      cmp.Or(t.TLS, 2*time.Minute),
		Auth:     cmp.Or(t.Auth, 5*time.Minute),
		Mail:     cmp.Or(t.Mail, 5*time.Minute),
		Rcpt:     cmp.Or(t.Rcpt, 5*time.Minute),
		Data:     cmp.Or(t.Data, 2*time.Minute),
		Block:    cmp.Or(t.Block, 3*time.Minute),
		Dot:      cmp.Or(t.Dot, 10*time.Minute),
		Quit:     cmp.Or(t.Quit, 5*time.Second),
	}
}

// Memory is what is worth remembering of a server from one connection to the
// next. The zero Memory knows nothing.
type Memory struct {
	Form    Form // the form that proved itself, or the highest still allowed
	Settled bool // a higher form was tried and failed: do not raise Form
	NoTLS   bool // its TLS is broken: go in clear where the route allows it; set by the caller after a StageTLS error
	NoBDAT  bool // it announces CHUNKING and does not master it
}

// Form is how transactions are laid on the wire.
type Form uint8

// The forms. FormSerial is the safest, then FormGrouped, then FormChained.
// Without PIPELINING every transaction is serial.
const (
	FormGrouped Form = iota // MAIL RCPT DATA as one group where PIPELINING is offered, then wait (RFC 2920)
	FormSerial              // command by command although PIPELINING is offered
	FormChained             // the end of one message and the envelope of the next in one group
)

// Options of a Session. Open only reads them; they can be shared.
type Options struct {
	Hello     string                                    // EHLO name: FQDN or address literal (RFC 5321 §4.1.1.1)
	Host      string                                    // server's name: for TLS, AUTH and Reply.Host
	TLS       TLSMode                                   // how much TLS is asked
	TLSConfig *tls.Config                               // base, shared, never changed; nil = defaults. Its MinVersion is raised to TLS 1.2
	Auth      func(extAuth string) (gosmtp.Auth, error) // nil = no AUTH; gets the server's mechanisms, separated by spaces
	Timeouts  Timeouts
	Memory    Memory // what an earlier Session's Memory gave
}
