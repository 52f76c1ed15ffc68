package sender

import (
	"bytes"
	"errors"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/internal/smtp"
)

type rawMail string

func (m rawMail) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(m))
	return int64(n), err
}

// rendered gives what goes out for a mail.
func rendered(m *Message, signer Signer) (string, *smtp.Body, bool, error) {
	s := &Sender{cfg: &config{Config: Config{Hostname: "mail.sender.example", MaxMessageSize: 1 << 20}}, nonce: "NONCE"}
	b, utf8, err := s.render(m, signer, m.To, 7, time.Unix(1e9, 0).UTC(), time.Unix(2e9, 0).UTC())
	if err != nil {
		return "", nil, false, err
	}
	return string(b.Buf[b.Start:]), b, utf8, nil
}

func plain(content string) *Message {
	return &Message{From: "bounce@return.example", To: []string{"u@a.example"}, Content: rawMail(content)}
}

func TestRenderMends(t *testing.T) {
	const added = "Date: Sun, 09 Sep 2001 01:46:40 +0000\r\nMessage-ID: <0000000000000007.NONCE@return.example>\r\n"
	for name, tt := range map[string]struct{ in, want string }{
		"adds Date and Message-ID": {"From: a@b.example\r\n\r\nx\r\n", added + "From: a@b.example\r\n\r\nx\r\n"},
		"keeps them":               {"from: a@b.example\r\nDATE: d\r\nmessage-id: <i>\r\n\r\nx\r\n", "from: a@b.example\r\nDATE: d\r\nmessage-id: <i>\r\n\r\nx\r\n"},
		"bare LF":                  {"From: a@b.example\n\nx\r\ny\n", added + "From: a@b.example\r\n\r\nx\r\ny\r\n"},
		"no last line end":         {"From: a@b.example\r\n\r\nx", added + "From: a@b.example\r\n\r\nx\r\n"},
		"header alone":             {"From: a@b.example", added + "From: a@b.example\r\n\r\n"},
		"Bcc goes":                 {"Bcc: x@y.example,\r\n\tz@y.example\r\nFrom: a@b.example\r\nRETURN-PATH: <q>\r\nresent-bcc: q\r\n\r\nBcc: stays\r\n", added + "From: a@b.example\r\n\r\nBcc: stays\r\n"},
		"long line of 998":         {"From: a@b.example\r\n\r\n" + strings.Repeat("x", 998) + "\n", added + "From: a@b.example\r\n\r\n" + strings.Repeat("x", 998) + "\r\n"},
		"folded":                   {"From: a@b.example\r\nSubject: x\r\n y\r\n\tz\r\n\r\n", added + "From: a@b.example\r\nSubject: x\r\n y\r\n\tz\r\n\r\n"},
	} {
		got, _, _, err := rendered(plain(tt.in), nil)
		require.NoError(t, err, name)
		require.Equal(t, tt.want, got, name)
	}
}

func TestRenderTellsTheWire(t *testing.T) {
	for in, want := range map[string]struct{ dots, eight, utf8 bool }{
		"From: a@b.example\r\n\r\nx\r\n":                  {},
		"From: a@b.example\r\n\r\n.x\r\n":                 {dots: true},
		"From: a@b.example\n\n.x\n":                       {dots: true},
		"From: a@b.example\r\n\r\nsch\xc3\xb6n\r\n":       {eight: true},
		"From: a@b.example\r\n\r\nlatin \xf6\r\n":         {eight: true},
		"From: a@b.example\r\nSubject: \xc3\xb6\r\n\r\nx": {eight: true, utf8: true},
	} {
		_, b, utf8, err := rendered(plain(in), nil)
		require.NoError(t, err)
		require.Equal(t, want.dots, b.Dots, in)
		require.Equal(t, want.eight, b.EightBit, in)
		require.Equal(t, want.utf8, utf8, in)
		require.GreaterOrEqual(t, b.Start, smtp.Headroom)
	}
}

type stamp struct {
	field string
	err   error
	saw   string
}

func (s *stamp) Sign(now time.Time, from string, to []string, msg []byte) ([]byte, error) {
	s.saw = now.UTC().Format(time.DateOnly) + " " + from + " " + strings.Join(to, ",") + " " + string(msg)
	return []byte(s.field), s.err
}

func TestSignerSeesWhatGoesOut(t *testing.T) {
	s := &stamp{field: "DKIM-Signature: " + strings.Repeat("x", 5000) + "\r\n"} // more than the room that is kept
	got, b, _, err := rendered(plain("Message-ID: <i>\nDate: d\nBcc: no\nFrom: a@b.example\n\nx"), s)
	require.NoError(t, err)
	const mail = "Message-ID: <i>\r\nDate: d\r\nFrom: a@b.example\r\n\r\nx\r\n"
	require.Equal(t, "2033-05-18 bounce@return.example u@a.example "+mail, s.saw)
	require.Equal(t, s.field+mail, got)
	require.GreaterOrEqual(t, b.Start, smtp.Headroom)
	s.err = errors.New("the key is locked")
	_, _, _, err = rendered(plain("From: a@b.example\r\n\r\n"), s)
	require.ErrorIs(t, err, s.err)
}

func TestMessageIDDomain(t *testing.T) {
	for from, want := range map[string]string{"x@return.example": "return.example", "": "from.example"} {
		m := plain("From: \"a@nowhere.example\" <b@from.example>\r\n\r\n")
		m.From = from
		got, _, _, err := rendered(m, nil)
		require.NoError(t, err)
		require.Contains(t, got, "NONCE@"+want+">")
	}
}

func TestMaxMessageSize(t *testing.T) {
	_, _, _, err := rendered(plain("From: a@b.example\r\n\r\n"+strings.Repeat("0123456789\r\n", 100_000)), nil)
	require.ErrorIs(t, err, errTooLarge)
}

// Whatever a Content writes, what goes out is clean or is refused, and a
// reader of mail finds in it what was written.
func FuzzRender(f *testing.F) {
	for _, s := range []string{"From: a@b.example\r\n\r\nx\r\n", "From: a@b.example\nBcc: x\n y\n\n.\n", "From:a@b\r\rx", "\r\n", ".", " From: a@b.example", "From: a@b.example\r\nX : y\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, b, _, err := rendered(plain(string(in)), &stamp{field: "X-Sig: 1\r\n"})
		if err != nil {
			return
		}
		require.True(t, strings.HasSuffix(got, "\r\n"))
		clean := strings.ReplaceAll(got, "\r\n", "")
		require.NotContains(t, clean, "\r")
		require.NotContains(t, clean, "\n")
		require.NotContains(t, clean, "\x00")
		dots := got[0] == '.'
		for line := range strings.SplitSeq(got, "\r\n") {
			require.LessOrEqual(t, len(line), maxLine+len("X-Sig: 1"))
			dots = dots || strings.HasPrefix(line, ".")
		}
		require.False(t, dots && !b.Dots, "a dot that the wire does not know of")
		require.False(t, !isASCII([]byte(got)) && !b.EightBit, "8-bit octets that the wire does not know of")
		header, _, found := strings.Cut("\r\n"+got, "\r\n\r\n")
		require.True(t, found)
		lower := "\r\n" + strings.ToLower(header)
		require.NotContains(t, lower, "\r\nbcc:")
		for _, once := range []string{"\r\nfrom:", "\r\ndate:", "\r\nmessage-id:"} {
			require.Equal(t, 1, strings.Count(strings.NewReplacer(" :", ":", "\t:", ":").Replace(lower), once), "%q", once)
		}
		if m, err := mail.ReadMessage(strings.NewReader(got)); err == nil && utf8Free(header) {
			require.Contains(t, m.Header.Get("From"), "@")
		}
		require.Equal(t, bytes.Count([]byte(got), []byte("\n")), bytes.Count([]byte(got), []byte("\r\n")))
	})
}

func utf8Free(s string) bool { return isASCII([]byte(s)) }
