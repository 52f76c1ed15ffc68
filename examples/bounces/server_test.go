package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/bounce/unsubscribe"
)

func TestSMTP(t *testing.T) {
	p := start(t, &env{}, "-smtp", "127.0.0.1:0")
	c := connect(t, p.addr["-smtp"])
	for i := range 3 {
		body := dsn("b@bounces.example", fmt.Sprintf("user%d@example.com", i), unknownUser)
		require.NoError(t, send(c, "", "b@bounces.example", []byte(body)))
		got := events(t, p.stdout.String()) // accepted means delivered
		require.Len(t, got, i+1)
		ev := got[i]
		require.Equal(t, "bounce", ev.Class)
		require.Equal(t, []string{"b@bounces.example"}, ev.To[:1])
		require.Equal(t, "<77@shop.example>", ev.MessageID)
		require.Equal(t, "mx.example.com", ev.ReportingMTA)
		require.Len(t, ev.Recipients, 1)
		require.Equal(t, fmt.Sprintf("user%d@example.com", i), ev.Recipients[0].Address)
		require.Equal(t, 550, ev.Recipients[0].Code)
		require.Equal(t, "5.1.1", ev.Recipients[0].Status)
		require.Equal(t, "hard", ev.Recipients[0].Outcome)
		require.Equal(t, []string{ev.Recipients[0].Address}, ev.Suppressed)
	}
	require.NoError(t, c.Quit())
	require.Equal(t, exitDone, p.end())
}

func TestLMTP(t *testing.T) {
	file := folder(t, nil)
	for _, addr := range []string{"127.0.0.1:0", "unix:" + file("socket")} {
		p := start(t, &env{}, "-lmtp", addr)
		network, _, _ := strings.Cut(addr, ":")
		if network != "unix" {
			network = "tcp"
		}
		conn, err := net.Dial(network, p.addr["-lmtp"])
		require.NoError(t, err)
		tp := textproto.NewConn(conn)
		say := func(code int, format string, args ...any) {
			t.Helper()
			require.NoError(t, tp.PrintfLine(format, args...))
			_, _, err := tp.ReadResponse(code)
			require.NoError(t, err)
		}
		_, _, err = tp.ReadResponse(220)
		require.NoError(t, err)
		say(250, "LHLO client.example")
		say(250, "MAIL FROM:<>")
		say(250, "RCPT TO:<b1@bounces.example>")
		say(250, "RCPT TO:<b2@bounces.example>")
		say(354, "DATA")
		w := tp.DotWriter()
		_, err = io.WriteString(w, dsn("b1@bounces.example", "ann@example.com", unknownUser))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		for range 2 { // a reply for each recipient (RFC 2033 §4.2)
			_, _, err = tp.ReadResponse(250)
			require.NoError(t, err)
		}
		say(221, "QUIT")
		require.NoError(t, tp.Close())
		got := events(t, p.stdout.String())
		require.Len(t, got, 1)
		require.Equal(t, "lmtp", got[0].Source)
		require.Equal(t, []string{"b1@bounces.example", "b2@bounces.example"}, got[0].To[:2])
		require.Equal(t, exitDone, p.end())
	}
}

func TestServerLimits(t *testing.T) {
	p := start(t, &env{}, "-smtp", "127.0.0.1:0", "-max-size", "5000", "-domain", "bounces.example,other.example", "-max-conns", "1")
	c := connect(t, p.addr["-smtp"])
	require.NoError(t, c.Mail(""))
	err := c.Rcpt("ann@example.com")
	var reply *textproto.Error
	require.ErrorAs(t, err, &reply)
	require.Equal(t, 550, reply.Code)
	require.NoError(t, c.Rcpt("b@BOUNCES.example"))
	w, err := c.Data()
	require.NoError(t, err)
	_, err = io.WriteString(w, dsn("b@bounces.example", "ann@example.com", unknownUser)+strings.Repeat("x\n", 3000))
	require.NoError(t, err)
	require.ErrorAs(t, w.Close(), &reply)
	require.Equal(t, 552, reply.Code)
	require.Empty(t, p.stdout.String())

	// It goes on with the next mail; a second client has to wait for it.
	second, err := net.Dial("tcp", p.addr["-smtp"])
	require.NoError(t, err)
	defer second.Close()
	require.NoError(t, second.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, send(c, "", "b@other.example", []byte("Subject: hello\n\nhello\n")))
	require.NoError(t, c.Quit())
	require.NoError(t, second.SetReadDeadline(time.Now().Add(10*time.Second)))
	greeting, err := bufio.NewReader(second).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(greeting, "220 "))

	got := events(t, p.stdout.String())
	require.Len(t, got, 1)
	require.Equal(t, "not-a-report", got[0].Class)
	require.Empty(t, got[0].Suppressed)
}

func TestServerTimeout(t *testing.T) {
	p := start(t, &env{}, "-smtp", "127.0.0.1:0", "-timeout", "1s") // each write must be in time, too
	conn, err := net.Dial("tcp", p.addr["-smtp"])
	require.NoError(t, err)
	defer conn.Close()
	all, err := io.ReadAll(conn) // the server ends it
	require.NoError(t, err)
	require.Contains(t, string(all), "421 ")
}

// Ctrl-C: a mail under way is finished, a connection without one is closed.
func TestInterrupt(t *testing.T) {
	p := start(t, &env{}, "-smtp", "127.0.0.1:0")
	idle, busy := connect(t, p.addr["-smtp"]), connect(t, p.addr["-smtp"])
	require.NoError(t, idle.Noop())
	require.NoError(t, busy.Mail(""))
	require.NoError(t, busy.Rcpt("b@bounces.example"))
	w, err := busy.Data()
	require.NoError(t, err)
	p.stop()
	_, err = idle.Text.R.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	_, err = io.WriteString(w, dsn("b@bounces.example", "ann@example.com", unknownUser))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	begin := time.Now()
	require.Equal(t, exitDone, p.end())
	require.Less(t, time.Since(begin), grace)
	require.Len(t, events(t, p.stdout.String()), 1)
	_, err = smtp.Dial(p.addr["-smtp"])
	require.Error(t, err)
}

// Only what a signed return path vouches for counts.
func TestSignedReturnPath(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	file := folder(t, map[string]string{"keys": key + "\n"})
	codec, err := bounce.NewCodec(bounce.CodecConfig{Keys: [][]byte{[]byte(key)}, Domain: "bounces.example", Streams: []string{"news"}})
	require.NoError(t, err)
	path := func(recipient string, at time.Time) string {
		p, err := codec.ReturnPath(bounce.Ref{Campaign: "7", Recipient: recipient, Stream: "news"}, at)
		require.NoError(t, err)
		return p
	}
	now := time.Now()
	p := start(t, &env{}, "-smtp", "127.0.0.1:0", "-domain", "bounces.example", "-keys", file("keys"), "-streams", "news")
	c := connect(t, p.addr["-smtp"])
	genuine := path(codec.Key("ann@example.com"), now)
	for i, tt := range []struct {
		name, to, recipient string
		verified            bool
		suppressed          []string
	}{
		{"genuine", genuine, "ann@example.com", true, []string{"ann@example.com"}},
		{"unsigned", "bounces@bounces.example", "bob@example.com", false, nil},
		{"forged", strings.Replace(genuine, "@", "a@", 1), "bob@example.com", false, nil},
		{"expired", path(codec.Key("bob@example.com"), now.AddDate(-1, 0, 0)), "bob@example.com", false, nil},
		{"about somebody else", genuine, "bob@example.com", true, nil},
		{"a number", path("42", now), "bob@example.com", true, nil},
	} {
		require.NoError(t, send(c, "", tt.to, []byte(dsn(tt.to, tt.recipient, unknownUser))), tt.name)
		got := events(t, p.stdout.String())
		require.Len(t, got, i+1)
		require.Equal(t, tt.verified, got[i].Verified, tt.name)
		require.Equal(t, tt.suppressed, got[i].Suppressed, tt.name)
		if tt.verified {
			require.Equal(t, "7", got[i].Campaign)
			require.Equal(t, "news", got[i].Stream)
		}
	}
}

// A mail to the address in List-Unsubscribe, from whatever address.
func TestUnsubscribeMail(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	file := folder(t, map[string]string{"keys": "a new secret of 32 octets or more\n\n" + secret + "\n"})
	keys, err := unsubscribe.NewKeyring([]byte(secret))
	require.NoError(t, err)
	token, err := keys.Seal(unsubscribe.Token{Address: "ann@example.com", Stream: "news"})
	require.NoError(t, err)
	p := start(t, &env{}, "-smtp", "127.0.0.1:0", "-domain", "shop.example", "-keys", file("keys"), "-unsubscribe-keys", file("keys"))
	c := connect(t, p.addr["-smtp"])
	for i, tt := range []struct {
		subject    string
		suppressed []string
	}{
		{"unsubscribe " + token, []string{"ann@example.com"}},
		{"unsubscribe " + token[1:], nil},
		{"unsubscribe", nil},
	} {
		mail := "From: other@example.net\nTo: unsubscribe@shop.example\nSubject: " + tt.subject + "\n\n"
		require.NoError(t, send(c, "other@example.net", "unsubscribe@shop.example", []byte(mail)))
		got := events(t, p.stdout.String())
		require.Len(t, got, i+1)
		require.Equal(t, tt.suppressed, got[i].Suppressed)
		require.Equal(t, tt.suppressed != nil, got[i].Verified)
	}
}
