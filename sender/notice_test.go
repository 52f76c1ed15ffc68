package sender

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

var (
	noticeBorn = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	userGone   = bounce.Reply{Stage: bounce.StageRcpt, Code: 550, Status: bounce.Status{5, 1, 1}, Text: "no such user", Host: "mx.a.example"}
	greylist   = bounce.Reply{Stage: bounce.StageRcpt, Code: 451, Status: bounce.Status{4, 7, 1}, Text: "greylisted", Host: "mx.a.example"}
	taken      = bounce.Reply{Stage: bounce.StageBody, Code: 250, Text: "ok", Host: "mx.a.example"}
)

const noticed = "From: shop@sender.example\r\nMessage-ID: <42@sender.example>\r\nSubject: x\r\n\r\nThe body.\r\n"

// noticeSender has what notices need.
func noticeSender(n *Notices) *Sender {
	return &Sender{cfg: &config{Config: Config{Hostname: "mail.sender.example", MaxMessageSize: 1 << 20,
		Streams: map[string]Stream{"receipts": {Notices: n}}, Retry: Retry{Lifetime: 5 * 24 * time.Hour}}}, nonce: "NONCE"}
}

func noticedMessage(notify string) *Message {
	return &Message{ID: "42", Stream: "receipts", Campaign: "spring", From: "bounces+42@sender.example", To: []string{"u@a.example"},
		Content: rawMail(noticed), DSN: &DSN{Notify: notify, EnvID: "e 42"}}
}

// ended is an occasion of a recipient of m that has ended.
func ended(m *Message, o Outcome, reply bounce.Reply, cause error) occasion {
	r := &Result{Message: m, Recipient: m.To[0], Outcome: o, Reply: reply}
	if o != Sent {
		r.Class = bounce.Classify(reply)
		r.Err = &Error{Recipient: r.Recipient, Host: reply.Host, Stage: reply.Stage, Reply: reply, Err: cause}
	}
	now := noticeBorn.Add(26 * time.Hour)
	return occasion{Result: r, now: now, born: noticeBorn, tried: now, number: 7}
}

// waiting is an occasion of a recipient of m that failed after a while and is tried
// again later.
func waiting(m *Message, after, later time.Duration) occasion {
	o := ended(m, Deferred, greylist, nil)
	o.now = noticeBorn.Add(after)
	o.tried, o.next = o.now, o.now.Add(later)
	return o
}

func parsedNotice(t *testing.T, n *Notice) *bounce.Report {
	t.Helper()
	require.NotNil(t, n)
	rep, err := bounce.Parse(bytes.NewReader(n.body))
	require.NoError(t, err)
	require.Len(t, rep.Recipients, 1)
	return rep
}

// TestNoticeDue is the table of RFC 3461 §4.1: what each NOTIFY wants of each event.
func TestNoticeDue(t *testing.T) {
	const none = "none"
	s := noticeSender(&Notices{})
	for _, event := range []struct {
		name string
		make func(*Message) occasion
		// by NOTIFY: absent, NEVER, SUCCESS, FAILURE, DELAY, all
		want [6]string
	}{
		{"rejected", func(m *Message) occasion { return ended(m, Rejected, userGone, nil) }, [6]string{"failure", none, none, "failure", none, "failure"}},
		{"unknown", func(m *Message) occasion { return ended(m, Unknown, bounce.Reply{}, errLost) }, [6]string{"failure", none, none, "failure", none, "failure"}},
		{"expired", func(m *Message) occasion { return ended(m, Deferred, greylist, ErrExpired) }, [6]string{"failure", none, none, "failure", none, "failure"}},
		{"expired, joined", func(m *Message) occasion { return ended(m, Deferred, greylist, errors.Join(ErrExpired, errLost)) }, [6]string{"failure", none, none, "failure", none, "failure"}},
		{"no attempts left", func(m *Message) occasion { m.queued = &Taken{}; return ended(m, Deferred, greylist, ErrAttempts) }, [6]string{"failure", none, none, "failure", none, "failure"}},
		{"no attempts left, of Send", func(m *Message) occasion { return ended(m, Deferred, greylist, ErrAttempts) }, [6]string{none, none, none, none, none, none}},
		{"pointless", func(m *Message) occasion { return ended(m, Deferred, greylist, nil) }, [6]string{"failure", none, none, "failure", none, "failure"}},
		{"shut down", func(m *Message) occasion { return ended(m, Deferred, greylist, ErrShutdown) }, [6]string{none, none, none, none, none, none}},
		{"loop left", func(m *Message) occasion { return ended(m, Deferred, greylist, ErrStopped) }, [6]string{none, none, none, none, none, none}},
		{"ctx ended", func(m *Message) occasion { return ended(m, Deferred, greylist, errors.Join(context.Canceled, errLost)) }, [6]string{none, none, none, none, none, none}},
		{"suppressed", func(m *Message) occasion { return ended(m, Suppressed, bounce.Reply{}, ErrSuppressed) }, [6]string{none, none, none, none, none, none}},
		{"canceled", func(m *Message) occasion { return ended(m, Canceled, bounce.Reply{}, ErrCanceled) }, [6]string{none, none, none, none, none, none}},
		{"relayed", func(m *Message) occasion { return ended(m, Sent, taken, nil) }, [6]string{none, none, "success", none, none, "success"}},
		{"passed on", func(m *Message) occasion { o := ended(m, Sent, taken, nil); o.promised = true; return o }, [6]string{none, none, none, none, none, none}},
		{"delayed", func(m *Message) occasion { return waiting(m, 3*time.Hour, 2*time.Hour) }, [6]string{"delay", none, none, none, "delay", "delay"}},
		{"tried again soon", func(m *Message) occasion { return waiting(m, time.Hour, time.Hour) }, [6]string{none, none, none, none, none, none}},
		{"warned", func(m *Message) occasion { o := waiting(m, 5*time.Hour, time.Hour); o.warned = true; return o }, [6]string{none, none, none, none, none, none}},
	} {
		for i, notify := range []string{"", "NEVER", "success", "FAILURE", "DELAY", "SUCCESS,FAILURE,DELAY"} {
			m := noticedMessage(notify)
			require.NoError(t, m.DSN.check())
			got := none
			if n := s.notice(event.make(m)); n != nil {
				got = n.Kind.String()
			}
			require.Equal(t, event.want[i], got, "%s with NOTIFY=%s", event.name, notify)

			m.From = "" // RFC 5321 §4.5.5
			require.Nil(t, s.notice(event.make(m)), event.name)
		}
		m := noticedMessage("")
		m.DSN = nil
		n := s.notice(event.make(m))
		require.Equal(t, event.want[0] != none, n != nil, "%s without DSN", event.name)
		m = noticedMessage("SUCCESS,FAILURE,DELAY")
		require.Nil(t, noticeSender(nil).notice(event.make(m)), "off by default")
		m.Stream = ""
		require.Nil(t, s.notice(event.make(m)), "another stream")
	}
}

func TestNoticeDelay(t *testing.T) {
	for _, tt := range []struct {
		delay, after, later time.Duration
		due                 time.Duration // after the start; 0 = none
	}{
		{0, 3 * time.Hour, 2 * time.Hour, 4 * time.Hour}, // the last attempt before the time is over
		{0, 3 * time.Hour, time.Hour, 0},
		{0, 6 * time.Hour, time.Minute, 6 * time.Hour},
		{time.Hour, 0, 2 * time.Hour, time.Hour},
		{-1, 6 * time.Hour, 2 * time.Hour, 0},
	} {
		o := waiting(noticedMessage(""), tt.after, tt.later)
		n := noticeSender(&Notices{Delay: tt.delay}).notice(o)
		if tt.due == 0 {
			require.Nil(t, n)
			continue
		}
		rep := parsedNotice(t, n)
		require.Equal(t, bounce.Delayed, rep.Class)
		require.True(t, rep.Recipients[0].WillRetryUntil.Equal(noticeBorn.Add(5*24*time.Hour)))
		require.Equal(t, noticeBorn.Add(tt.due), n.Message.NotBefore)
		require.Equal(t, noticeBorn.Add(tt.due), n.submission(o.now).Due)
	}
}

func TestNoticeMessage(t *testing.T) {
	s := noticeSender(&Notices{})
	o := ended(noticedMessage("FAILURE"), Rejected, userGone, nil)
	n := s.notice(o)
	require.Equal(t, o.Message, n.Original)
	require.Equal(t, "u@a.example", n.Recipient)
	m := n.Message
	require.Equal(t, "notice/failure/u@a.example/42", m.ID)
	require.Equal(t, "receipts", m.Stream)
	require.Empty(t, m.Campaign)
	require.Empty(t, m.From)
	require.Equal(t, []string{"bounces+42@sender.example"}, m.To)
	require.Equal(t, "NEVER", m.DSN.Notify)
	require.Nil(t, s.notice(ended(m, Rejected, userGone, nil)), "no notice of a notice")
	sub := n.submission(o.now)
	require.Equal(t, o.now, sub.Due)
	require.Same(t, m, sub.Message)

	// What is stored can be sent as it is, and is the same after a crash.
	content, _, utf8, err := rendered(m, nil)
	require.NoError(t, err)
	require.False(t, utf8)
	require.Equal(t, string(sub.Body), content)
	require.Equal(t, n.body, s.notice(o).body)

	rep := parsedNotice(t, n)
	require.Equal(t, bounce.Bounce, rep.Class)
	require.Equal(t, "postmaster@mail.sender.example", rep.From)
	require.Equal(t, "e 42", rep.EnvelopeID)
	require.Equal(t, "<42@sender.example>", rep.MessageID)
	require.Equal(t, "u@a.example", rep.Recipients[0].Address)
	require.Equal(t, bounce.InvalidMailbox, rep.Recipients[0].Class.Category)
	require.NotContains(t, content, "The body.")
	require.Contains(t, content, "Auto-Submitted: auto-replied\r\n")

	s = noticeSender(&Notices{From: "mailer-daemon@BÜCHER.example", Stream: "notices"})
	n = s.notice(o)
	require.Equal(t, "notices", n.Message.Stream)
	require.Equal(t, "mailer-daemon@xn--bcher-kva.example", parsedNotice(t, n).From)
}

// TestNoticeReturns looks at what of the mail comes back.
func TestNoticeReturns(t *testing.T) {
	gone := rawMail("no mail at all")
	for name, tt := range map[string]struct {
		ret     string
		content io.WriterTo
		max     int
		kind    string // of the last part
		id      string
	}{
		"header by default":  {"", rawMail(noticed), 0, "text/rfc822-headers", "<42@sender.example>"},
		"HDRS":               {"HDRS", rawMail(noticed), 0, "text/rfc822-headers", "<42@sender.example>"},
		"FULL":               {"full", rawMail(noticed), 0, "message/rfc822", "<42@sender.example>"},
		"FULL, too large":    {"FULL", rawMail(noticed), 50, "text/rfc822-headers", "<42@sender.example>"},
		"the added id":       {"", rawMail("From: a@b.example\r\n\r\n"), 0, "text/rfc822-headers", "<0000000000000007.NONCE@sender.example>"},
		"cannot be rendered": {"FULL", gone, 0, "message/delivery-status", ""},
	} {
		m := noticedMessage("")
		m.DSN.Return, m.Content = tt.ret, tt.content
		n := noticeSender(&Notices{MaxReturn: tt.max}).notice(ended(m, Rejected, userGone, nil))
		require.Equal(t, tt.id, parsedNotice(t, n).MessageID, name)
		last := strings.LastIndex(string(n.body), "Content-Type: ")
		require.Contains(t, string(n.body[last:]), tt.kind, name)
	}
}

// TestNoticeWithoutReply says what happened where no server said a word.
func TestNoticeWithoutReply(t *testing.T) {
	s := noticeSender(&Notices{})
	m := noticedMessage("")
	for _, tt := range []struct {
		o    occasion
		want string
	}{
		{ended(m, Deferred, bounce.Reply{}, ErrExpired), "X-Volley; the lifetime is over"},
		{ended(m, Unknown, bounce.Reply{}, errLost), "X-Volley; the connection was lost"},
		{ended(m, Rejected, bounce.Local(bounce.StageDNS, bounce.StatusNoDomain, "no such domain"), errLost), "X-Volley; 5.1.2 no such domain"},
	} {
		rep := parsedNotice(t, s.notice(tt.o))
		require.Equal(t, tt.want, rep.Recipients[0].Diagnostic)
	}
	o := waiting(m, time.Hour, 24*time.Hour) // not tried itself
	o.Reply, o.Err, o.tried = bounce.Reply{}, nil, time.Time{}
	rep := parsedNotice(t, s.notice(o))
	require.Equal(t, bounce.Delayed, rep.Class)
	require.Zero(t, rep.Recipients[0].LastAttempt)
}

func TestNoticeAddresses(t *testing.T) {
	s := noticeSender(&Notices{})
	for _, tt := range []struct{ to, address, original string }{
		{"u@BÜCHER.example", "u@xn--bcher-kva.example", "u@BÜCHER.example"},
		{"jürgen@A.example", "jürgen@a.example", ""},
		{`"a b"@a.example`, `"a b"@a.example`, ""},
		{"u+x=y@[192.0.2.1]", "u+x=y@[192.0.2.1]", ""},
	} {
		m := noticedMessage("")
		m.To[0] = tt.to
		rc := parsedNotice(t, s.notice(ended(m, Rejected, userGone, nil))).Recipients[0]
		require.Equal(t, tt.address, rc.Address)
		require.Equal(t, tt.original, rc.Original)
	}
	m := noticedMessage("") // a return path in UTF-8 makes the notice need SMTPUTF8
	m.From = "büro@sender.example"
	_, _, utf8, err := rendered(s.notice(ended(m, Rejected, userGone, nil)).Message, nil)
	require.NoError(t, err)
	require.True(t, utf8)
}

func TestNoticesChecked(t *testing.T) {
	handle := func(*Notice) {}
	for want, n := range map[string]*Notices{
		`Config.Streams["a"].Notices: there is no way for notices: set its Handle, or Config.Queue`: {},
		`Config.Streams["a"].Notices.From "x"`:                                                      {From: "x", Handle: handle},
		`Config.Streams["a"].Notices.From "ü@b.example"`:                                            {From: "ü@b.example", Handle: handle},
		`Config.Streams["a"].Notices.MaxReturn is -1`:                                               {MaxReturn: -1, Handle: handle},
		`Config.Streams["a"].Notices.Stream "b"`:                                                    {Stream: "b", Handle: handle},
		"":                                                                                          {Handle: handle, Stream: "a", Delay: -1},
	} {
		_, err := Config{Hostname: "mail.sender.example", Streams: map[string]Stream{"a": {Notices: n}}}.check()
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestNoticeKindNames(t *testing.T) {
	text, err := NoticeDelay.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "delay", string(text))
	require.Equal(t, "notice(9)", NoticeKind(9).String())
}

// FuzzNotice makes notices of whatever a caller and a server may write; each must
// be a mail that goes out unchanged.
func FuzzNotice(f *testing.F) {
	f.Add("u@a.example", "bounces@b.example", noticed, "no such user", "mx.a.example", "FULL")
	f.Add("jürgen@bücher.example", "büro@b.example", "From: ü@b.example\nMessage-ID: <ü>\n\n.\n", "nein\r\n\r\n--x", "::1", "HDRS")
	f.Add("a\r\nb", "b@c.example", "", "", "", "")
	f.Fuzz(func(t *testing.T, to, from, content, text, host, ret string) {
		if _, err := parseMailbox(from); err != nil {
			return // refused before
		}
		m := &Message{ID: content, Stream: "receipts", From: from, To: []string{to}, Content: rawMail(content), DSN: &DSN{Return: ret}}
		s := noticeSender(&Notices{})
		for _, outcome := range []Outcome{Rejected, Unknown} {
			n := s.notice(ended(m, outcome, bounce.Reply{Code: 550, Text: text, Host: host}, nil))
			require.NotNil(t, n)
			got, _, utf8, err := rendered(n.Message, nil)
			require.NoError(t, err)
			require.Equal(t, string(n.body), got)
			require.Equal(t, !isASCIIString(wireAddress(from)), utf8)
		}
	})
}
