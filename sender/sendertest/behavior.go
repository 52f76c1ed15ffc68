package sendertest

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Behavior is how a Host treats its clients. The zero Behavior is a modern
// server that accepts every message. Fields compose: a host may greylist, be
// slow and allow few connections at once. All limits are counted for each
// source address on its own, as real servers do.
//
// The functions are called from the goroutines of the connections, many at once.
type Behavior struct {
	// Without switches off extensions that the server offers by default:
	// Without: Chunking | StartTLS.
	Without Extension
	// With switches on extensions that it does not offer by default: DSN, Limits.
	With Extension

	// Dead makes Dial wait until its context ends, as a host behind a firewall
	// that drops packets does. Without a deadline, Dial fails after 127 s, as on Linux.
	Dead bool
	// Refuse makes Dial fail at once: connection refused.
	Refuse bool

	// Latency is waited before replies go out: once for all the replies to
	// commands that came together. It is the round trip time of the network.
	Latency time.Duration
	// Tarpit is waited before each single reply.
	Tarpit time.Duration
	// IdleTimeout is how long the server waits for the client before it says
	// 421 and closes. 0 means 5 minutes (RFC 5321 §4.5.3.2.7).
	IdleTimeout time.Duration

	// Rate is how many messages may be begun in a period. The zero Rate is no limit.
	Rate Rate
	// MaxConns is how many connections may be open at once; more are greeted
	// with 421 and closed. 0 means no limit.
	MaxConns int
	// MaxMessages is how many messages a connection may carry; the next MAIL
	// gets 421 and the connection is closed. 0 means no limit.
	MaxMessages int
	// MaxRcpts is how many recipients a message may have; more get 452 4.5.3,
	// which asks to send them in another transaction (RFC 5321 §4.5.3.1.10).
	// 0 means no limit.
	MaxRcpts int
	// MaxSize is the largest message accepted, in bytes; larger ones get
	// 552 5.3.4. The SIZE extension announces it (RFC 1870). 0 means 64 MiB.
	MaxSize int
	// Greylist defers the first contact: a recipient gets 451 4.7.1 until this
	// long after the first try with the same source, sender and recipient
	// (RFC 6647). 0 means no greylisting.
	Greylist time.Duration

	// Greeting replaces the 220 greeting. With a code of 400 or more the server
	// then only waits for QUIT (RFC 5321 §3.1).
	Greeting *Reply
	// Auth, if not nil, makes the host a relay for known users: it announces
	// AUTH PLAIN LOGIN (under TLS, or always without StartTLS) and refuses MAIL
	// with 530 5.7.0 from those for whom Auth was not true (RFC 4954).
	Auth func(user, password string) bool
	// Sender is asked for each MAIL command; a non-nil Reply refuses it. The
	// null sender is "".
	Sender func(from string) *Reply
	// Recipient is asked for each RCPT command; a non-nil Reply refuses it.
	Recipient func(addr string) *Reply
	// Message is asked when a message is complete; a non-nil Reply refuses it.
	// It must not change or keep the Message and its Data.
	Message func(m *Message) *Reply

	// Drops lists where the server closes the connection, or falls silent,
	// instead of answering.
	Drops []Drop
	// CutRead and CutWrite close a connection when the server has read or
	// written so many bytes of it (as they are on the wire, encrypted or not).
	// 0 means never.
	CutRead, CutWrite int64
	// BreakTLS answers STARTTLS with 220 and the handshake with garbage.
	BreakTLS bool
	// NoChain answers 503 to commands that a client has sent behind the end of
	// a message without waiting, though PIPELINING is offered. Haraka does so.
	NoChain bool
	// Script is asked for each reply: a non-nil Reader is sent, byte for byte,
	// in place of the reply. Its first digit says what the server then does:
	// with 2 or 3 it goes on as after success, with 4 or 5 as after a refusal;
	// after "421" it closes. line is the client's command without CRLF; it is
	// empty for StageGreeting and StageDot. See Raw and Endless.
	Script func(s Stage, line string) io.Reader

	// ForConn, if not nil, is asked when the nth connection (from 1) of the host
	// opens: a non-nil Behavior holds for that connection alone, and SetBehavior
	// does not change it. Limits over several connections (Rate, MaxConns,
	// Greylist) are counted together with the others'. Dead and Refuse are
	// decided before, by the Behavior of the host.
	ForConn func(n int) *Behavior
}

// Rate allows N messages in each window of length Per, wherever the window
// begins. A MAIL command too many is refused and does not count.
type Rate struct {
	N   int           // 0 = no limit
	Per time.Duration // 0 = a second

	// Reply refuses what is too much. nil means 421 4.7.0, which also closes the
	// connection. Give a 451 to keep it open.
	Reply *Reply

	// Patience is how many refused MAIL commands in one period Per are borne
	// with. After more the source is blocked: 550 5.7.1 to every MAIL for the
	// time Block. 0 means that nobody is ever blocked.
	Patience int
	// Block is how long a block lasts. 0 means an hour.
	Block time.Duration
}

func (r Rate) per() time.Duration {
	if r.Per == 0 {
		return time.Second
	}
	return r.Per
}

// Drop is a place at which a client gets no answer any more.
type Drop struct {
	At Stage
	// P is the probability, from 0 to 1, drawn from Options.Seed. 0 means always.
	P float64
	// Silent keeps the connection open, and nothing more is ever said on it. At
	// StageConnect it is as with Behavior.Dead. Otherwise the connection is closed.
	Silent bool
}

// Stage is a point in the conversation between a client and a Host.
type Stage string

// The stages. The names are those of package bounce, with one more: StageDot.
const (
	StageConnect  Stage = "connect"  // Dial; a Drop here is a refused connection
	StageGreeting Stage = "greeting" // before the client may talk
	StageHello    Stage = "hello"    // EHLO or HELO
	StageTLS      Stage = "tls"      // STARTTLS
	StageAuth     Stage = "auth"     // AUTH
	StageMail     Stage = "mail"     // MAIL FROM
	StageRcpt     Stage = "rcpt"     // RCPT TO
	StageData     Stage = "data"     // DATA, or BDAT other than the last
	StageBody     Stage = "body"     // in the middle of the message; Drop only
	StageDot      Stage = "dot"      // after the message's final dot or its last BDAT
	StageReset    Stage = "reset"    // RSET, NOOP, QUIT and what is not a command
)

// Extension is a set of SMTP service extensions.
type Extension uint16

// The extensions. All but the last two are offered by default.
const (
	ESMTP               Extension = 1 << iota // EHLO itself: without it there is only HELO, and no extension
	Pipelining                                // RFC 2920
	Chunking                                  // BDAT, RFC 3030
	EightBitMIME                              // RFC 6152
	SMTPUTF8                                  // RFC 6531
	EnhancedStatusCodes                       // RFC 2034
	Size                                      // RFC 1870
	StartTLS                                  // RFC 3207
	DSN                                       // delivery status notifications, RFC 3461; off by default
	Limits                                    // LIMITS with RCPTMAX and MAILMAX, RFC 9422; off by default
)

const defaultExtensions = ESMTP | Pipelining | Chunking | EightBitMIME | SMTPUTF8 | EnhancedStatusCodes | Size | StartTLS

// offers reports whether the server offers e.
func (b *Behavior) offers(e Extension) bool {
	on := (defaultExtensions | b.With) &^ b.Without
	return on&ESMTP != 0 && on&e != 0
}

func (b *Behavior) maxSize() int {
	if b.MaxSize == 0 {
		return 64 << 20
	}
	return b.MaxSize
}

func (b *Behavior) idleTimeout() time.Duration {
	if b.IdleTimeout == 0 {
		return 5 * time.Minute
	}
	return b.IdleTimeout
}

// Reply is what a server answers (RFC 5321 §4.2).
type Reply struct {
	Code   int    // three digits; 4yz = try later, 5yz = never. 421 also closes the connection
	Status string // enhanced status code such as "5.1.1" (RFC 3463), "" = none
	Text   string // for people; lines are separated by "\n"
}

// Answer makes a Reply of a line such as "550 5.1.1 No such user". The enhanced
// status code may be missing. It panics if the line does not begin with a code.
func Answer(line string) *Reply {
	head, text, _ := strings.Cut(line, " ")
	code, err := strconv.Atoi(head)
	if err != nil || code < 200 || code > 599 {
		panic(fmt.Sprintf("sendertest: Answer(%q): no reply code", line))
	}
	r := &Reply{Code: code, Text: text}
	if status, rest, _ := strings.Cut(text, " "); isStatus(status) {
		r.Status, r.Text = status, rest
	}
	return r
}

func isStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return false
	}
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 10); err != nil {
			return false
		}
	}
	return true
}

// appendWire appends the reply as it is on the wire.
func (r *Reply) appendWire(b []byte, statusCodes bool) []byte {
	text := r.Text
	for more := true; more; {
		var line string
		line, text, more = strings.Cut(text, "\n")
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if more {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if statusCodes && r.Status != "" {
			b = append(append(b, r.Status...), ' ')
		}
		b = append(append(b, line...), "\r\n"...)
	}
	return b
}

// Raw makes a Behavior.Script of fixed answers. Line ends are not added.
func Raw(replies map[Stage]string) func(Stage, string) io.Reader {
	return func(s Stage, _ string) io.Reader {
		if raw, ok := replies[s]; ok {
			return strings.NewReader(raw)
		}
		return nil
	}
}

// Endless repeats s without end: Endless("250-more\r\n") is a reply that never
// comes to its last line, Endless("x") a line that never ends.
func Endless(s string) io.Reader { return &endless{text: s, rest: s} }

type endless struct{ text, rest string }

func (e *endless) Read(b []byte) (n int, err error) {
	if e.text == "" {
		return 0, io.EOF
	}
	for n < len(b) {
		k := copy(b[n:], e.rest)
		n += k
		if e.rest = e.rest[k:]; e.rest == "" {
			e.rest = e.text
		}
	}
	return n, nil
}
