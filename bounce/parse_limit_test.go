package bounce

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// repeated reads head, then line again and again up to size octets.
func repeated(head, line string, size int64) io.Reader {
	return io.MultiReader(strings.NewReader(head), io.LimitReader(&cycle{line: line}, size))
}

type cycle struct {
	line string
	at   int
}

func (c *cycle) Read(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(p[n:], c.line[c.at:])
		n += m
		c.at = (c.at + m) % len(c.line)
	}
	return n, nil
}

const bomb = 5 << 20

func TestParse50MB(t *testing.T) {
	rep, err := Parse(repeated("From: MAILER-DAEMON@example.com\nX-Failed-Recipients: b@example.com\n\nnot delivered\n", "a line of text as it comes in mails\n", 50<<20))
	require.Equal(t, &LimitError{What: "size", Max: 32 << 20}, err)
	require.Equal(t, Bounce, rep.Class)
}

func TestParseBombs(t *testing.T) {
	DefaultRules() // reading them, at first use, is not in the account
	report := "From: MAILER-DAEMON@example.com\nSubject: Returned mail\nContent-Type: multipart/report; boundary=b\n\n"
	for name, r := range map[string]io.Reader{
		"text":       repeated("From: a@example.com\n\n", "hello\n", bomb),
		"report":     repeated("From: MAILER-DAEMON@example.com\nSubject: Returned mail\n\n", "<a@example.com>: 550 unknown\n", bomb),
		"addresses":  repeated("From: MAILER-DAEMON@example.com\nSubject: Returned mail\n\n", "@a@b@c.d ", bomb),
		"header":     repeated("", "X-Spam: yes\n", bomb),
		"folded":     repeated("Subject: x\n", " =?utf-8?q?x?=\n", bomb),
		"long line":  repeated("", "Subject: ", bomb),
		"no end":     repeated("Subject: x\n\n", "x", bomb),
		"blank":      repeated("Subject: x\n\n", "\n", bomb),
		"cr":         repeated("Subject: x\r\r", "\r", bomb),
		"recipients": repeated(report+"--b\nContent-Type: message/delivery-status\n\n", "Final-Recipient: rfc822;a@example.com\nAction: failed\n\n", bomb),
		"parts":      repeated(report, "--b\nContent-Type: text/plain\n\nx\n", bomb),
		"base64":     repeated("From: MAILER-DAEMON@example.com\nContent-Transfer-Encoding: base64\n\n", "PGFAZXhhbXBsZS5jb20+OiA1NTAgdW5rbm93bgo=\n", bomb),
		"html":       repeated("From: MAILER-DAEMON@example.com\nContent-Type: text/html\n\n", "<b><", bomb),
		"dashes":     repeated(report, "--xxxxxxxxxxxx\n", bomb),
		"original":   repeated(report+"--b\nContent-Type: message/rfc822\n\n", "X: y\n", bomb),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p := Parser{MaxSize: 4 << 20}
			rep, err := p.Parse(r)
			runtime.ReadMemStats(&after)
			var limit *LimitError
			require.ErrorAs(t, err, &limit)
			require.Contains(t, []string{"size", "parts"}, limit.What)
			require.NotNil(t, rep)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(24<<20), "much less than some 64 KB of it can cost")
		})
	}
}

func TestParseDepth(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	_, err := Parse(strings.NewReader(b.String()))
	var limit *LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, LimitError{What: "depth", Max: 20}, *limit)
	require.EqualError(t, err, "bounce: mail exceeds the limit of 20 for its depth")
}

func TestParserLimits(t *testing.T) {
	mail := "From: a@example.com\n\nhello\n"
	p := Parser{MaxSize: int64(len(mail))}
	_, err := p.Parse(strings.NewReader(mail))
	require.NoError(t, err)
	_, err = p.Parse(strings.NewReader(mail + "x"))
	require.Error(t, err)
}

func TestParseEmpty(t *testing.T) {
	rep, err := Parse(strings.NewReader(""))
	require.ErrorIs(t, err, ErrEmpty)
	require.Nil(t, rep)
	for _, mail := range []string{"\n", "\r", "x", "\n\n\n", ":", "--", "From x\n", "Content-Type: multipart/report; boundary=\"\"\n\n--\n--\n"} {
		rep, err := Parse(strings.NewReader(mail))
		require.NoError(t, err)
		require.Equal(t, NotReport, rep.Class, "%q", mail)
	}
}

func TestParseReadError(t *testing.T) {
	broken := errors.New("broken")
	mail := "From: MAILER-DAEMON@example.com\nX-Failed-Recipients: b@example.com\nSubject: Returned mail\n\nnot delivered\n"
	rep, err := Parse(io.MultiReader(strings.NewReader(mail), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	require.Equal(t, Bounce, rep.Class, "what was read counts")
}

// TestParseOneByte reads as a slow connection delivers.
func TestParseOneByte(t *testing.T) {
	for _, s := range samples(t) {
		rep, err := Parse(iotest.OneByteReader(strings.NewReader(s.mail)))
		require.NoError(t, err)
		require.Equal(t, s.class, rep.Class.String(), s.name)
	}
}
