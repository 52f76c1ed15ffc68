package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Session is one open connection. Its methods but Cut belong to one goroutine,
// and so do its fields.
type Session struct {
	wire     *wire
	host     string
	timeouts Timeouts
	tls      *tls.ConnectionState // nil in clear
	ext      extensions
	mem      Memory
	closed   bool
	broken   bool // a write failed: what the server takes the next octet for is not known

	form    Form // in use; mem.Form is what proved itself
	chained bool // a chained group was written
	bdat    bool // a BDAT was accepted
	reset   bool // an abandoned transaction is open at the server: RSET comes first
	clean   bool // the last message was accepted

	done  func(*Transaction)
	queue []*flight // taken, not handed back; in that order
	free  []*flight // for reuse

	out   []byte    // commands to be written
	base  int       // octets of the message that go before out
	marks []mark    // what will be on the wire, by octets written
	await []awaited // replies outstanding, in the order of their commands
	next  int       // await[next:] are outstanding
}

// flight is a Transaction at work.
type flight struct {
	t        *Transaction
	open     int  // recipients that were not settled before MAIL
	accepted int  // recipients accepted
	begun    bool // its envelope was written
	chained  bool // its envelope went with the end of the message before
	answered bool // MAIL was answered
	mail     bool // MAIL was accepted
	data     bool // DATA was accepted: the server waits for a message
	judged   bool // the end of the message was answered
	misfit   bool // the form was refused, not the transaction
	over     bool // it can be handed back
}

// Cut ends the session from any goroutine: at once, or after grace if the end of
// a message is on the wire and its reply outstanding. The goroutine that owns
// the session finds that its call fails; it still has to Close.
func (s *Session) Cut(grace time.Duration) { s.wire.cut(grace) }

// Quit says QUIT, waits shortly for the reply, and closes (RFC 5321 §4.1.1.10).
func (s *Session) Quit(ctx context.Context) {
	if s.closed {
		return
	}
	unwatch := s.wire.watch(ctx)
	defer unwatch()
	if _, err := s.wire.send([]byte("QUIT\r\n"), s.timeouts.Quit); err == nil {
		if _, err := s.wire.reply(s.timeouts.Quit); err == nil {
			_ = s.wire.conn.Close() // says goodbye to TLS too
		}
	}
	_ = s.Close()
}

// Close closes at once.
func (s *Session) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.wire.close()
}

// part closes after the failure e, with a QUIT that nobody waits for where the
// server takes commands: RFC 5321 §3.1 and §4.1.1.10 want one even after a 554
// greeting or a 421.
func (s *Session) part(e *Error) {
	ours := errors.Is(e, ErrNoSTARTTLS) || errors.Is(e, ErrNoAuth)
	if !s.broken && (ours || e.Reply.Code != 0 && e.Err == nil) {
		_, _ = s.wire.send([]byte("QUIT\r\n"), s.timeouts.Quit)
	}
	_ = s.Close()
}

// Alive reports whether an idle session still looks usable: the server has
// neither closed it nor said anything (such as 421) on its own. It costs a
// system call on Linux, a millisecond elsewhere.
func (s *Session) Alive() bool { return !s.closed && s.wire.quiet() }

// Memory returns what was learnt of the server. It may be asked after an error.
func (s *Session) Memory() Memory { return s.mem }

// TLS returns the state of the connection's TLS, nil if it is in clear.
func (s *Session) TLS() *tls.ConnectionState { return s.tls }

// MaxMessages returns how many messages the server takes on a connection by
// LIMITS MAILMAX (RFC 9422), 0 = it does not say. The caller keeps to it.
func (s *Session) MaxMessages() int { return s.ext.mailMax }

// MaxRcpts returns the server's RCPTMAX, 0 = it does not say. Recipients beyond
// it come back NotSent.
func (s *Session) MaxRcpts() int { return s.ext.rcptMax }

// DSN reports whether the server offers DSN (RFC 3461), and with it got what the
// transactions ask.
func (s *Session) DSN() bool { return s.ext.dsn }

// step is a command whose reply is awaited.
type step uint8

const (
	stepReset step = iota
	stepMail
	stepRcpt
	stepData
	stepBody   // the end of the message
	stepNobody // the lone dot after a DATA without recipients
)

func (st step) stage() bounce.Stage {
	return [...]bounce.Stage{bounce.StageReset, bounce.StageMail, bounce.StageRcpt, bounce.StageData, bounce.StageBody, bounce.StageBody}[st]
}

func (s *Session) timeout(st step) time.Duration {
	t := &s.timeouts
	return [...]time.Duration{t.Mail, t.Mail, t.Rcpt, t.Data, t.Dot, t.Dot}[st]
}

// awaited is a reply outstanding.
type awaited struct {
	f    *flight
	step step
	rcpt int // index, of stepRcpt
}

// mark says what is on the wire once at octets of a group were written.
type mark struct {
	f    *flight
	at   int
	wire Wire
}
