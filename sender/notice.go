package sender

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/volleymail/volley/internal/notice"
)

// Notices are delivery status notifications (RFC 3464): mails that the Sender
// writes to the return path of a mail, to say what became of a recipient. There
// are three kinds:
//
//   - failure: the recipient was Rejected, was Deferred until the lifetime ended
//     (or, if it was submitted, Retry.MaxAttempts), or is Unknown, which the
//     notice says;
//   - delay: he is still tried, and the next attempt is later than Delay;
//   - success: a server took the mail that does not pass on the wish to be told
//     (RFC 3461 §5.2.2, action "relayed").
//
// Message.DSN decides for each mail. Its Notify names the kinds wanted; "" wants
// failure and delay, as RFC 3461 §4.1 has it. Its Return says whether a
// failure returns the whole mail or its header, and its EnvID is quoted.
//
// There is no notice about a mail whose return path is "", so none about a
// notice (RFC 3461 §6.1, RFC 5321 §4.5.5); and none for recipients that are
// Suppressed or Canceled, or Deferred because the caller stopped: there his own
// will was done.
type Notices struct {
	// From is the address in the notice's From. "" = postmaster at
	// Config.Hostname.
	From string

	// Delay is how long a mail may wait before its sender hears of it, once: the
	// notice is made when an attempt fails and the next one will come later than
	// that, and goes out when that time is over. 0 = 4 hours, negative = never.
	Delay time.Duration

	// MaxReturn bounds the mails that DSN.Return "FULL" returns whole, in bytes;
	// of larger ones the header is returned. 0 = 64 KiB.
	MaxReturn int

	// Stream is the stream that notices go out in. "" = that of the mail.
	Stream string

	// Handle gets each notice instead of the return path, from one of the
	// Sender's goroutines: it must be quick. After a crash it may get one again,
	// with the same Message.ID. nil = the notice is submitted to Config.Queue.
	// Mail of Send, whose caller gets the Result, has notices of failure and
	// success, and these only for Handle.
	Handle func(*Notice)
}

// Notice is one delivery status notification.
type Notice struct {
	Kind      NoticeKind
	Original  *Message // what it is about
	Recipient string   // of Original, whom it is about

	// Message is the notice as a mail: ready to be sent, to the return path of
	// Original, with a null return path of its own. Its ID is made of
	// Original.ID, Recipient and Kind; NotBefore is set for a delay notice.
	Message *Message

	body []byte
}

// NoticeKind is what a Notice tells.
type NoticeKind uint8

// The kinds.
const (
	NoticeFailure NoticeKind = iota // not delivered, and not tried any more; or nobody knows
	NoticeDelay                     // not delivered so far
	NoticeSuccess                   // given to a server that says no more
)

var noticeKinds = [...]struct {
	name   string
	notify string // RFC 3461 §4.1
	action notice.Action
}{
	NoticeFailure: {"failure", "FAILURE", notice.Failed},
	NoticeDelay:   {"delay", "DELAY", notice.Delayed},
	NoticeSuccess: {"success", "SUCCESS", notice.Relayed},
}

func (k NoticeKind) String() string {
	if int(k) < len(noticeKinds) {
		return noticeKinds[k].name
	}
	return fmt.Sprintf("notice(%d)", uint8(k))
}

// MarshalText gives the kind's name.
func (k NoticeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

const (
	defaultNoticeDelay = 4 * time.Hour // RFC 5321 names none; what mail systems use
	defaultMaxReturn   = 64 << 10
)

func (n *Notices) check(stream string, c *Config, bad func(string, ...any)) {
	if n == nil {
		return
	}
	field := fmt.Sprintf("Streams[%q].Notices", stream)
	if n.From != "" {
		if m, err := parseMailbox(n.From); err != nil {
			bad("%s.From %q: %w", field, n.From, err)
		} else if m.utf8 {
			bad("%s.From %q: not every server takes an address in UTF-8: use one in ASCII", field, n.From)
		}
	}
	if n.MaxReturn < 0 {
		bad("%s.MaxReturn is %d: it must be positive, or 0 for %d", field, n.MaxReturn, defaultMaxReturn)
	}
	if _, ok := c.Streams[n.Stream]; !ok && n.Stream != "" {
		bad("%s.Stream %q is not in Config.Streams: add it there", field, n.Stream)
	}
	if n.Handle == nil && c.Queue == nil {
		bad("%s: there is no way for notices: set its Handle, or Config.Queue", field)
	}
}

// occasion is what a notice may be due for: a recipient that has ended, or
// that failed and is tried again.
type occasion struct {
	*Result            // of one that is tried again: how the last attempt failed; no Outcome
	now      time.Time // of the end, or of the failure
	born     time.Time // when the Sender took the message
	tried    time.Time // the last attempt, zero if there was none
	next     time.Time // the next attempt, zero if it has ended
	number   uint64    // of the message: makes its Message-ID
	warned   bool      // a delay notice went out
	promised bool      // Sent, to a server that offers DSN
}

// notice returns the notice that is due, nil if none is.
func (s *Sender) notice(o occasion) *Notice {
	n := s.cfg.Streams[o.Message.Stream].Notices
	kind, due := o.kind()
	if n == nil || !due || o.Message.From == "" || !o.Message.DSN.wants(kind) {
		return nil
	}
	var notBefore time.Time
	if kind == NoticeDelay {
		delay := n.Delay
		setDefault(&delay, defaultNoticeDelay)
		at := o.born.Add(delay)
		if delay < 0 || o.warned || !o.next.After(at) {
			return nil
		}
		notBefore = latest(o.now, at)
	}
	m := &Message{ // of no Campaign: it goes out though that is canceled
		ID:        "notice/" + kind.String() + "/" + o.Recipient + "/" + o.Message.ID,
		Stream:    n.Stream,
		To:        []string{o.Message.From},
		NotBefore: notBefore,
		DSN:       &DSN{Notify: "NEVER"}, // RFC 3461 §6.1
	}
	if m.Stream == "" {
		m.Stream = o.Message.Stream
	}
	body := s.compose(n, kind, o, m.ID)
	m.Content = noticeBody(body)
	return &Notice{Kind: kind, Original: o.Message, Recipient: o.Recipient, Message: m, body: body}
}

// noticeBody writes the same each time.
type noticeBody []byte

func (b noticeBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}

// submission is the notice as the Queue takes it.
func (n *Notice) submission(now time.Time) *Submission {
	return &Submission{Message: n.Message, Body: n.body, Due: latest(now, n.Message.NotBefore)}
}

// handle gives a notice to who wants them himself, if anybody does.
func (s *Sender) handle(n *Notice) bool {
	h := s.cfg.Streams[n.Original.Stream].Notices.Handle
	if h == nil {
		return false
	}
	_ = s.guard(func() error { h(n); return nil }) // a panic is logged
	return true
}

// noticeOfSend makes the notice of a recipient of Send that has ended, for those
// who handle them.
func (s *Sender) noticeOfSend(it *item, r Result, promised bool, now time.Time) {
	o := occasion{Result: &r, now: now, born: time.Unix(0, it.born), number: it.id, promised: promised}
	if r.Attempts > 0 {
		o.tried = now
	}
	if n := s.notice(o); n != nil {
		s.handle(n)
	}
}

// kind says what there is to tell, if anything.
func (o occasion) kind() (kind NoticeKind, due bool) {
	if !o.next.IsZero() {
		return NoticeDelay, true
	}
	switch o.Outcome {
	case Rejected, Unknown:
		return NoticeFailure, true
	case Deferred:
		return NoticeFailure, !o.stoppedByCaller()
	case Sent: // a server with DSN sends its own (RFC 3461 §5.2.2)
		return NoticeSuccess, !o.promised
	}
	return 0, false
}

// stoppedByCaller reports whether a Deferred ended though the Sender had gone on.
func (o occasion) stoppedByCaller() bool {
	causes := []error{ErrShutdown, ErrStopped, context.Canceled, context.DeadlineExceeded}
	if o.Message.queued == nil {
		causes = append(causes, ErrAttempts) // the caller tries again himself
	}
	return slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(o.Err, cause) })
}

// wants reads Notify (RFC 3461 §4.1).
func (d *DSN) wants(kind NoticeKind) bool {
	if d == nil || d.Notify == "" {
		return kind != NoticeSuccess
	}
	return slices.Contains(strings.Split(strings.ToUpper(d.Notify), ","), noticeKinds[kind].notify)
}

// compose writes the notice.
func (s *Sender) compose(n *Notices, kind NoticeKind, o occasion, id string) []byte {
	host := s.cfg.Hostname
	r := notice.Report{
		ID:         noticeMessageID(id, o.born, host),
		From:       n.From,
		To:         wireAddress(o.Message.From),
		Date:       o.now,
		Host:       host,
		Arrival:    o.born,
		Recipient:  wireAddress(o.Recipient),
		Original:   o.Recipient,
		Action:     noticeKinds[kind].action,
		Unsure:     o.next.IsZero() && o.Outcome == Unknown,
		GivenUp:    o.next.IsZero() && o.Outcome == Deferred,
		Reply:      o.Reply,
		Class:      o.Class,
		Tried:      o.tried,
		RetryUntil: o.born.Add(s.stream(o.Message).Lifetime),
		Mail:       s.original(o),
		MaxReturn:  n.MaxReturn,
	}
	setDefault(&r.From, "postmaster@"+host)
	r.From = wireAddress(r.From)
	setDefault(&r.MaxReturn, defaultMaxReturn)
	if d := o.Message.DSN; d != nil {
		r.EnvelopeID, r.Full = d.EnvID, strings.EqualFold(d.Return, "FULL")
	}
	if r.Reply.Code == 0 && r.Reply.Text == "" && kind != NoticeSuccess {
		r.Reply.Text = causeOf(o.Err)
	}
	return r.Compose()
}

// causeOf says why where no server did.
func causeOf(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e) && e.Err != nil:
		return e.Err.Error()
	}
	return err.Error()
}

// noticeMessageID makes the same Message-ID for the same notice.
func noticeMessageID(id string, born time.Time, host string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", id, born.UnixNano(), host))
	return fmt.Sprintf("%x.notice@%s", sum[:12], host)
}

// wireAddress is an address as MAIL and RCPT carry it, or as it stands if it is
// none.
func wireAddress(addr string) string {
	m, err := parseMailbox(addr)
	if err != nil {
		return addr
	}
	return m.wire(addr)
}

// original renders the mail once more, unsigned; nil if that is not possible.
func (s *Sender) original(o occasion) []byte {
	b, _, err := s.render(o.Message, nil, []string{o.Recipient}, o.number, o.born, o.now)
	if err != nil {
		return nil
	}
	defer freeBody(b)
	return bytes.Clone(b.Buf[b.Start:])
}
