package smtp

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/volleymail/volley/bounce"
)

// Causes that Error.Err can have, for errors.Is. A wait that was too long is
// os.ErrDeadlineExceeded; an ended ctx is its cause.
var (
	ErrCut         = errors.New("session was cut")
	ErrNoSTARTTLS  = errors.New("STARTTLS is demanded and not offered")
	ErrNoAuth      = errors.New("AUTH is demanded and not offered")
	ErrProtocol    = errors.New("server breaks the protocol")
	ErrUnsolicited = errors.New("server speaks out of turn")
	ErrClosed      = errors.New("session is closed")
)

// Error is a failed connection or session.
type Error struct {
	Stage bounce.Stage
	Reply bounce.Reply // Code 0 if the server said nothing; then Status and Text are our own
	Wire  Wire         // of the transaction that failed, or of the first of them
	Err   error        // cause, may be nil
}

// Error says host, stage, the server's reply or the cause, and what was on the wire.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Reply.Host != "" {
		b.WriteString(e.Reply.Host + ": ")
	}
	b.WriteString(e.Stage.String() + ": ")
	switch {
	case e.Reply.Code != 0 && e.Err != nil:
		b.WriteString(e.Reply.String() + ": " + e.Err.Error())
	case e.Err != nil && e.Reply.Text == "":
		b.WriteString(e.Err.Error())
	default:
		b.WriteString(e.Reply.String())
	}
	if e.Stage >= bounce.StageMail {
		b.WriteString(" (" + e.Wire.String() + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

var (
	statusLost     = bounce.Status{4, 4, 2}  // bad connection
	statusProtocol = bounce.Status{4, 5, 0}  // other or undefined protocol status
	statusCrypto   = bounce.Status{4, 7, 5}  // cryptographic failure
	statusNoTLS    = bounce.Status{4, 7, 10} // encryption needed
	statusNoAuth   = bounce.Status{4, 7, 0}  // other or undefined security status
)

// refusal is the Error for a reply that ends the session.
func (s *Session) refusal(r bounce.Reply, cause error) *Error {
	return &Error{Stage: r.Stage, Reply: r, Err: cause}
}

// failure is the Error for what happened instead of a reply.
func (s *Session) failure(stage bounce.Stage, status bounce.Status, err error) *Error {
	r := bounce.Reply{Stage: stage, Status: status, Text: err.Error(), Host: s.host}
	return &Error{Stage: stage, Reply: r, Err: err}
}

// lost is the Error for a read or write that failed.
func (s *Session) lost(stage bounce.Stage, err error) *Error {
	status := statusLost
	cause := s.wire.cause()
	switch {
	case cause != nil:
		err = cause
	case errors.Is(err, ErrProtocol) || errors.Is(err, ErrUnsolicited):
		status = statusProtocol
	}
	e := s.failure(stage, status, err)
	switch {
	case cause != nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Reply.Text = "no answer in time"
	case errors.Is(err, io.EOF):
		e.Reply.Text = "server closed the connection"
	}
	return e
}
