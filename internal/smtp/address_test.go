package smtp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValidPath(t *testing.T) {
	for _, addr := range []string{
		"", "a@b.example", "postmaster", "a+b=c@b.example", "o'neil@b.example", "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]",
		`"a b"@b.example`, `"a<b>c"@b.example`, `"a\"b"@b.example`, `"a\\"@b.example`, `""@b.example`,
	} {
		assert.True(t, validPath(addr, false), "%q", addr)
	}
	for _, addr := range []string{
		"a@b.example>", "a@b.example> SIZE=1", "<a@b.example", "a b@b.example", "a@b.example\r\nRCPT TO:<x@y.example", "a\n", "a\x00b@c.example",
		"a\x7f", "a\tb", `"a@b.example`, `"a\"@b.example`, `"a"b@c.example`, `a"b c"@d.example`, `"a"`, "\"a\r\nb\"@c.example", `a\@b.example`,
		"ä@b.example", strings.Repeat("x", 501),
	} {
		assert.False(t, validPath(addr, false), "%q", addr)
	}
	assert.True(t, validPath("ä@bücher.example", true))
	assert.True(t, validPath(`"ä b"@bücher.example`, true))
	assert.False(t, validPath("ä@b.example\r\n", true))
}

func TestValidParam(t *testing.T) {
	for _, p := range []string{"", "SUCCESS,FAILURE", "rfc822;a+2Bb@c.example", "HDRS"} {
		assert.True(t, validParam(p), "%q", p)
	}
	for _, p := range []string{"a b", "a=b", "a\r\nDATA", "ä", strings.Repeat("x", 501)} {
		assert.False(t, validParam(p), "%q", p)
	}
}

// Whatever the strings are, a command is one line and has one path.
func FuzzCommand(f *testing.F) {
	f.Add("a@b.example", "c@d.example", "NEVER", true)
	f.Add("\"a\\\" b\"@b.example", "\"<>\"@d.example", "x y", false)
	f.Add("a\r\nb", "c>", "\x00", true)
	f.Fuzz(func(t *testing.T, from, to, param string, utf8 bool) {
		s := &Session{ext: extensions{dsn: true, utf8: true, eightBit: true}}
		tx := &Transaction{From: from, UTF8: utf8, EnvID: param, Body: body("x\r\n"), Rcpts: []Rcpt{{Addr: to, Notify: param}}}
		if s.take(tx).open == 0 {
			return
		}
		s.appendMail(tx)
		s.appendRcpt(&tx.Rcpts[0])
		lines := strings.Split(string(s.out), "\r\n")
		require.Len(t, lines, 3)
		require.Empty(t, lines[2])
		for i, line := range lines[:2] {
			require.False(t, strings.ContainsAny(line, "\r\n\x00"))
			rest, ok := strings.CutPrefix(line, []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">"}[i])
			require.True(t, ok)
			require.True(t, rest == "" || rest[0] == ' ', "%q", rest)
			require.LessOrEqual(t, strings.Count(rest, "="), strings.Count(rest, " "))
		}
	})
}
