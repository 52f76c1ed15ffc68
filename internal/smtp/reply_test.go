package smtp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

func TestReply(t *testing.T) {
	long := strings.Repeat("x", maxReplyLine)
	tests := []struct {
		in     string
		code   int
		status string
		text   string
		fails  string
	}{
		{in: "250 2.0.0 ok\r\n", code: 250, status: "2.0.0", text: "ok"},
		{in: "250 ok\n", code: 250, text: "ok"},
		{in: "250\r\n", code: 250},
		{in: "250 \r\n", code: 250},
		{in: "250 2.1.5\r\n", code: 250, status: "2.1.5"},
		{in: "421 5.7.32 wrong class\r\n", code: 421, status: "5.7.32", text: "wrong class"},
		{in: "550-5.1.1 no\r\n550-5.1.1  such\r\n550 user\r\n", code: 550, status: "5.1.1", text: "no\nsuch\nuser"},
		{in: "550-no\r\n550 5.1.1 user\r\n", code: 550, status: "5.1.1", text: "no\nuser"},
		{in: "250-\r\n250-\r\n250 \r\n", code: 250},
		{in: "550 5.1 no status\r\n", code: 550, text: "5.1 no status"},
		{in: "550 5.1.1000 no status\r\n", code: 550, text: "5.1.1000 no status"},
		{in: "550 5.1.1: no status\r\n", code: 550, text: "5.1.1: no status"},
		{in: "550 3.1.1 no status\r\n", code: 550, text: "3.1.1 no status"},
		{in: "550 5..1 no status\r\n", code: 550, text: "5..1 no status"},
		{in: "550 \x1b[31mred\x07\t\xff caf\xc3\xa9 \xc2\x9b\r\n", code: 550, text: "?[31mred??? café ?"},
		{in: "250 " + long[6:] + "\r\n", code: 250, text: long[6:]},
		{in: "250 " + long[5:] + "\r\n", fails: "server breaks the protocol: reply line too long"},
		{in: long + long, fails: "server breaks the protocol: reply line too long"},
		{in: strings.Repeat("250-x\r\n", 99) + "250 x\r\n", code: 250, text: strings.Repeat("x\n", 99) + "x"},
		{in: strings.Repeat("250-x\r\n", 100) + "250 x\r\n", fails: "server breaks the protocol: reply too long"},
		{in: strings.Repeat("250-"+long[:2000]+"\r\n", 17) + "250 x\r\n", fails: "server breaks the protocol: reply too long"},
		{in: "250-x\r\n251 x\r\n", fails: "server breaks the protocol: reply with codes 250 and 251"},
		{in: "250-x\r\n\r\n", fails: `server breaks the protocol: "" is no reply`},
		{in: "\r\n", fails: `server breaks the protocol: "" is no reply`},
		{in: "25 x\r\n", fails: `server breaks the protocol: "25 x" is no reply`},
		{in: "2500\r\n", fails: `server breaks the protocol: "2500" is no reply`},
		{in: "150 x\r\n", fails: `server breaks the protocol: "150 x" is no reply`},
		{in: "600 x\r\n", fails: `server breaks the protocol: "600 x" is no reply`},
		{in: "2x0 x\r\n", fails: `server breaks the protocol: "2x0 x" is no reply`},
		{in: "250", fails: "EOF"},
		{in: "250-x\r\n250", fails: "EOF"},
	}
	for _, tt := range tests {
		for name, wrap := range map[string]func(io.Reader) io.Reader{"whole": same, "octets": iotest.OneByteReader, "error with data": iotest.DataErrReader} {
			in := &reader{fillFrom: wrap(strings.NewReader(tt.in))}
			r, err := in.reply()
			if tt.fails != "" {
				require.EqualError(t, err, tt.fails, "%s %.40q", name, tt.in)
				continue
			}
			require.NoError(t, err, "%s %.40q", name, tt.in)
			got := r.bounce(bounce.StageRcpt, "mx.example")
			assert.Equal(t, bounce.Reply{Stage: bounce.StageRcpt, Code: tt.code, Status: got.Status, Text: tt.text, Host: "mx.example"}, got)
			assert.Equal(t, tt.status, got.Status.String(), "%s %.40q", name, tt.in)
			assert.Zero(t, in.buffered())
		}
	}
}

func same(r io.Reader) io.Reader { return r }

func TestReplyGivesUpOnEmptyReads(t *testing.T) {
	_, err := (&reader{fillFrom: emptyReader{}}).reply()
	require.ErrorIs(t, err, io.ErrNoProgress)
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

// What can be read must be the same whatever pieces it comes in, bounded, safe
// to print, and survive the way through go-mail's client.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"250 2.0.0 ok\r\n", "550-5.1.1 a\r\n550 5.1.1 b\r\n", "250-x\r\n251 y\r\n", "220\n", "354 \xff\x00\r\n", "421 4.7.0 x\r\n421 4.7.0 y\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := &reader{fillFrom: bytes.NewReader(in)}
		pieces := &reader{fillFrom: iotest.OneByteReader(bytes.NewReader(in))}
		for {
			a, errA := whole.reply()
			b, errB := pieces.reply()
			if errA != nil || errB != nil {
				require.Equal(t, errors.Is(errA, ErrProtocol), errors.Is(errB, ErrProtocol), "%v, %v", errA, errB)
				return
			}
			require.Equal(t, a, b)
			require.True(t, 200 <= a.code && a.code < 600)
			require.LessOrEqual(t, len(a.text), maxReplyText+maxReplyLine)
			again, err := (&reader{fillFrom: bytes.NewReader(a.lines())}).reply()
			require.NoError(t, err)
			require.Equal(t, a.code, again.code)
			require.Equal(t, string(a.text), string(again.text))
			text := a.bounce(bounce.StageMail, "").Text
			require.True(t, utf8.ValidString(text))
			require.False(t, strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }))
		}
	})
}

func TestReplyWithoutAllocation(t *testing.T) {
	in := &reader{fillFrom: endless("250 2.1.5 ok\r\n")}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if r, err := in.reply(); err != nil || r.code != 250 {
			t.Fatal(err)
		}
	}))
}

// endless repeats itself.
type endless string

func (e endless) Read(b []byte) (int, error) { return copy(b, e), nil }
