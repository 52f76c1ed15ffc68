package sender

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"
)

// Message is one message and its envelope.
//
// Content renders the whole mail, header and body. It is called once for each
// attempt, when a connection is ready for it, from one of the Sender's
// goroutines: a million waiting recipients are a million envelopes and no
// content. For a message with several recipients it may be called for several
// destinations at once, so it must be safe for that, and it must write the
// same mail each time: a strings.Reader or bytes.Buffer is an io.WriterTo too,
// but empty at the second attempt. Before a mail goes out it is checked and
// mended: see Send.
//
// A Message must not be changed while the Sender has it.
type Message struct {
	ID       string   // the caller's key, comes back on every Result; Submit needs it: with the recipient it names a delivery
	Stream   string   // a key of Config.Streams, or ""
	Campaign string   // what it is part of: can be suspended and canceled as a whole; may be empty
	From     string   // return path: where bounces go, such as "bounces+42@example.com"; "" is the null reverse-path
	To       []string // recipients' addresses; nobody else gets the mail, whatever its header says

	Content  io.WriterTo // the mail: header, empty line, body
	Template string      // instead of Content: a key of Config.Templates, which writes the mail from Data
	Data     any         // for the Template. Submit keeps it as JSON: see Sender.Submit

	Engaged   bool              // the recipients read our mail: goes first within its stream
	NotBefore time.Time         // scheduled start, zero = at once
	Zone      string            // recipients' time zone for Stream.Hours, such as "Europe/Berlin"; "" = Hours.Zone
	DSN       *DSN              // delivery status notifications asked of the receiver, nil = its default
	Tags      map[string]string // come back on every Result and Event

	queued *Taken // nil unless it comes from the Queue
}

// DSN asks for delivery status notifications (RFC 3461). It is passed on to
// servers that offer DSN and dropped for others; the Sender itself heeds it where
// Stream.Notices are on.
type DSN struct {
	Notify string // "NEVER", or a list out of SUCCESS, FAILURE, DELAY, such as "FAILURE,DELAY"
	Return string // "FULL" or "HDRS": how much of the mail comes back with a failure
	EnvID  string // envelope identifier that comes back in notifications, up to 100 characters
}

// FromMail makes a Message out of a mail composed with go-mail: the envelope
// from its EnvelopeFrom (else From) and its To, Cc and Bcc addresses, and the
// content from the mail itself. A Message-ID and Date are set now if the mail
// has none, so that each attempt sends the same. The mail must not be changed
// afterwards.
func FromMail(m *mail.Msg) (*Message, error) {
	if m == nil {
		return nil, errors.New("sender: FromMail: the mail is nil")
	}
	from, err := m.GetSender(false)
	if err != nil {
		return nil, fmt.Errorf("sender: FromMail: no sender: set From or EnvelopeFrom: %w", err)
	}
	to, err := m.GetRecipients()
	if err != nil {
		return nil, fmt.Errorf("sender: FromMail: no recipient: set To, Cc or Bcc: %w", err)
	}
	from = bare(from)
	for i := range to {
		to[i] = bare(to[i])
	}
	if len(m.GetGenHeader(mail.HeaderDate)) == 0 {
		m.SetDate()
	}
	if m.GetMessageID() == "" {
		m.SetMessageIDWithValue(newMessageID(domainOf(from)))
	}
	return &Message{From: from, To: to, Content: &mailContent{msg: m}}, nil
}

// bare takes the angle brackets off that go-mail puts around an address.
func bare(addr string) string {
	return strings.TrimSuffix(strings.TrimPrefix(addr, "<"), ">")
}

// mailContent renders a go-mail message. Its WriteTo changes the message, so
// only one goroutine may render at a time.
type mailContent struct {
	mu  sync.Mutex
	msg *mail.Msg // guarded by mu
}

func (c *mailContent) WriteTo(w io.Writer) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.msg.WriteTo(w)
}
