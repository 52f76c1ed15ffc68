package sendertest_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/sendertest"
)

// exchange writes input and returns everything that the server says until it closes.
func exchange(t *testing.T, s *sendertest.Sandbox, h *sendertest.Host, input string) string {
	t.Helper()
	nc := dial(t, s, h)
	_, err := io.WriteString(nc, input)
	require.NoError(t, err)
	output, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("reading: %v", err) // a reset, where the server closes early
	}
	return string(output)
}

// codes are the reply codes in what a server said.
func codes(output string) string {
	var list []string
	for line := range strings.Lines(output) {
		if len(line) > 3 && line[3] == ' ' {
			list = append(list, line[:3])
		}
	}
	return strings.Join(list, " ")
}

// start makes a sandbox in memory with one host.
func start(t *testing.T, b sendertest.Behavior) (*sendertest.Sandbox, *sendertest.Host) {
	s := sendertest.Start(t, sendertest.Options{Memory: true})
	return s, s.AddHost("mx.example.com", b)
}

const (
	ehlo     = "EHLO client.example.net\r\n"
	envelope = "MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\n"
)

func bdat(text, last string) string { return fmt.Sprintf("BDAT %d%s\r\n%s", len(text), last, text) }

func TestGroups(t *testing.T) {
	for _, tc := range []struct{ name, input, want string }{
		{"data", envelope + "DATA\r\n" + hello + ".\r\nQUIT\r\n", "220 250 250 250 354 250 221"},
		{"bdat", envelope + bdat(hello, " LAST") + "QUIT\r\n", "220 250 250 250 250 221"},
		{"chunks", envelope + bdat("Subject: hel", "") + bdat("", "") + bdat("lo\r\n\r\nHello\r\n", "") + bdat("", " last") + "QUIT\r\n", "220 250 250 250 250 250 250 250 221"},
		{"chained", envelope + bdat(hello, " LAST") + envelope + bdat(hello, " LAST") + "QUIT\r\n", "220 250 250 250 250 250 250 250 221"},
		{"reset", envelope + "RSET\r\n" + envelope + bdat(hello, " LAST") + "QUIT\r\n", "220 250 250 250 250 250 250 250 221"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
				h := s.AddHost("mx.example.com", sendertest.Behavior{})
				require.Equal(t, tc.want, codes(exchange(t, s, h, ehlo+tc.input)))
				for _, m := range h.Messages() {
					require.Equal(t, hello, string(m.Data))
					require.Equal(t, tc.name != "data", m.Chunked)
				}
				require.NotEmpty(t, h.Messages())
			})
		})
	}
}

func TestExtensions(t *testing.T) {
	s, h := start(t, sendertest.Behavior{MaxRcpts: 7, MaxMessages: 9})
	lines := func(b sendertest.Behavior) []string {
		h.SetBehavior(b)
		output := exchange(t, s, h, ehlo+"QUIT\r\n")
		var list []string
		for line := range strings.Lines(output) {
			if word, ok := strings.CutPrefix(strings.TrimSpace(line)[3:], "-"); ok {
				list = append(list, word)
			} else if strings.HasPrefix(line, "250 ") {
				list = append(list, strings.TrimSpace(line[4:]))
			}
		}
		return list[1:]
	}
	all := []string{"PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 67108864", "STARTTLS"}
	require.Equal(t, all, lines(sendertest.Behavior{}))
	for i, e := range []sendertest.Extension{sendertest.Pipelining, sendertest.Chunking, sendertest.EightBitMIME,
		sendertest.SMTPUTF8, sendertest.EnhancedStatusCodes, sendertest.Size, sendertest.StartTLS} {
		require.Equal(t, slices.Delete(slices.Clone(all), i, i+1), lines(sendertest.Behavior{Without: e}))
	}
	require.Subset(t, lines(sendertest.Behavior{With: sendertest.DSN | sendertest.Limits, MaxRcpts: 7, MaxMessages: 9, MaxSize: 1000}),
		[]string{"DSN", "LIMITS MAILMAX=9 RCPTMAX=7", "SIZE 1000"})
}

func TestUnofferedParameters(t *testing.T) {
	for _, tc := range []struct {
		without sendertest.Extension
		mail    string
		want    string
	}{
		{0, "<a@example.net> SIZE=1 BODY=8BITMIME SMTPUTF8", "250"},
		{0, "<ä@example.net> SMTPUTF8", "250"},
		{0, "<ä@example.net>", "553"},
		{0, "<> BODY=7BIT", "250"},
		{sendertest.Size, "<a@example.net> SIZE=1", "555"},
		{sendertest.EightBitMIME, "<a@example.net> BODY=8BITMIME", "555"},
		{sendertest.SMTPUTF8, "<a@example.net> SMTPUTF8", "555"},
		{0, "<a@example.net> BODY=BINARYMIME", "501"},
		{0, "<a@example.net> SIZE=x", "501"},
		{0, "<a@example.net> SIZE=99999999999", "552"},
		{0, "<a@example.net> RET=HDRS", "555"},
		{0, "<a@example.net> WHAT=EVER", "555"},
		{0, " <a@example.net>", "501"},
		{0, "a@example.net", "501"},
		{0, "<a@example.net", "501"},
		{0, "<a b@example.net>", "501"},
	} {
		t.Run(tc.mail, func(t *testing.T) {
			s, h := start(t, sendertest.Behavior{Without: tc.without})
			output := exchange(t, s, h, ehlo+"MAIL FROM:"+tc.mail+"\r\nQUIT\r\n")
			require.Equal(t, "220 250 "+tc.want+" 221", codes(output))
		})
	}
	s, h := start(t, sendertest.Behavior{With: sendertest.DSN})
	exchange(t, s, h, ehlo+"MAIL FROM:<> RET=HDRS ENVID=x\r\nRCPT TO:<b@example.com> NOTIFY=NEVER ORCPT=rfc822;b@example.com\r\n"+bdat(hello, " LAST")+"QUIT\r\n")
	m := h.Messages()[0]
	require.Equal(t, []string{"RET=HDRS", "ENVID=x"}, m.MailOptions)
	require.Equal(t, [][]string{{"NOTIFY=NEVER", "ORCPT=rfc822;b@example.com"}}, m.RcptOptions)
	require.Empty(t, h.Stats().Violations)
}

func TestEnhancedStatusCodes(t *testing.T) {
	s, h := start(t, sendertest.Behavior{})
	require.Contains(t, exchange(t, s, h, ehlo+"RSET\r\nQUIT\r\n"), "250 2.0.0 OK\r\n221 2.0.0 Bye\r\n")
	h.SetBehavior(sendertest.Behavior{Without: sendertest.EnhancedStatusCodes})
	require.Contains(t, exchange(t, s, h, ehlo+"RSET\r\nQUIT\r\n"), "250 OK\r\n221 Bye\r\n")
}

func TestRefusals(t *testing.T) {
	no := func(bad, line string) func(string) *sendertest.Reply {
		return func(addr string) *sendertest.Reply {
			if strings.Contains(addr, bad) {
				return sendertest.Answer(line)
			}
			return nil
		}
	}
	two := "MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\n" + bdat(hello, " LAST")
	for _, tc := range []struct {
		name              string
		behavior          sendertest.Behavior
		want              string
		accepted, rcpts   int
		deferred, refused int
	}{
		{"nothing", sendertest.Behavior{}, "220 250 250 250 250 250 221", 1, 2, 0, 0},
		{"sender", sendertest.Behavior{Sender: no("a@", "550 5.1.8 No")}, "220 250 550 503 503 503 221", 0, 0, 0, 1},
		{"one recipient", sendertest.Behavior{Recipient: no("c@", "550 5.1.1 No")}, "220 250 250 250 550 250 221", 1, 1, 0, 1},
		{"all recipients", sendertest.Behavior{Recipient: no("@", "450 4.2.1 Later")}, "220 250 250 450 450 554 221", 0, 0, 2, 1},
		{"message", sendertest.Behavior{Message: func(m *sendertest.Message) *sendertest.Reply {
			if strings.Contains(string(m.Data), "Hello") {
				return sendertest.Answer("554 5.7.1 Spam")
			}
			return nil
		}}, "220 250 250 250 250 554 221", 0, 0, 0, 1},
		{"recipients", sendertest.Behavior{MaxRcpts: 1}, "220 250 250 250 452 250 221", 1, 1, 1, 0},
		{"size", sendertest.Behavior{MaxSize: len(hello) - 1}, "220 250 250 250 250 552 221", 0, 0, 0, 1},
		{"size allowed", sendertest.Behavior{MaxSize: len(hello)}, "220 250 250 250 250 250 221", 1, 2, 0, 0},
		{"greeting", sendertest.Behavior{Greeting: sendertest.Answer("554 5.7.1 Blocked")}, "554 503 503 503 503 503 500 221", 0, 0, 0, 1},
		{"authentication", sendertest.Behavior{Auth: func(string, string) bool { return false }}, "220 250 530 503 503 503 221", 0, 0, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, h := start(t, tc.behavior)
			input := two
			if tc.name == "greeting" {
				input = envelope + "DATA\r\n" + "RSET\r\n" + "BDAT 0 LAST\r\n"
				tc.want = "554 503 503 503 503 503 503 221"
			}
			require.Equal(t, tc.want, codes(exchange(t, s, h, ehlo+input+"QUIT\r\n")))
			stats := h.Stats()
			require.Equal(t, tc.accepted, stats.Accepted, "accepted")
			require.Equal(t, tc.rcpts, stats.AcceptedRcpts, "accepted recipients")
			require.Equal(t, tc.deferred, stats.Deferred, "deferred")
			require.Equal(t, tc.refused, stats.Refused, "refused")
			require.Len(t, h.Messages(), tc.accepted)
		})
	}
}

func TestDataSizeLimit(t *testing.T) {
	s, h := start(t, sendertest.Behavior{MaxSize: len(hello) - 1})
	require.Equal(t, "220 250 250 250 354 552 221", codes(exchange(t, s, h, ehlo+envelope+"DATA\r\n"+hello+".\r\nQUIT\r\n")))
	require.Empty(t, h.Messages())
}

func TestDotStuffing(t *testing.T) {
	for wire, want := range map[string]string{
		".\r\n":                                  "",
		"..\r\n.\r\n":                            ".\r\n",
		"a\r\n..b\r\n...\r\n.\r\n":               "a\r\n.b\r\n..\r\n",
		"a\n.\nb\r\n.\n\r\n.\r\n":                "a\n.\nb\r\n\n\r\n",
		"a\r.\r\nb\r\n.\r\n":                     "a\r.\r\nb\r\n",
		strings.Repeat("x", 40000) + "\r\n.\r\n": strings.Repeat("x", 40000) + "\r\n",
		// The CRLF lies on the edge of the read buffer.
		strings.Repeat("x", 32<<10-1) + "\r\n.\r\n": strings.Repeat("x", 32<<10-1) + "\r\n",
	} {
		s, h := start(t, sendertest.Behavior{})
		c := client(t, s, h)
		require.NoError(t, c.Mail("a@example.net"))
		require.NoError(t, c.Rcpt("b@example.com"))
		_, err := c.Text.Cmd("DATA")
		require.NoError(t, err)
		_, _, err = c.Text.ReadResponse(354)
		require.NoError(t, err)
		_, err = io.WriteString(c.Text.W, wire)
		require.NoError(t, err)
		require.NoError(t, c.Text.W.Flush())
		_, _, err = c.Text.ReadResponse(250)
		require.NoError(t, err)
		require.NoError(t, c.Quit())
		require.Equal(t, want, string(h.Messages()[0].Data))
	}
}

func TestViolations(t *testing.T) {
	deliver := func(text string) string { return envelope + bdat(text, " LAST") }
	for _, tc := range []struct {
		name, input, want string
		without           sendertest.Extension
	}{
		{"none", deliver(hello), "", 0},
		{"8 bit allowed", "MAIL FROM:<a@example.net> BODY=8BITMIME\r\nRCPT TO:<b@example.com>\r\n" + bdat("ä\r\n", " LAST"), "", 0},
		{"8 bit", deliver("Subject: aaaaaaaaaä\r\n"), "message has octets over 127 without BODY=8BITMIME", 0},
		{"bare LF", deliver("a\nb\r\n"), "message has a bare CR or LF", 0},
		{"bare CR", deliver("a\rb\r\n"), "message has a bare CR or LF", 0},
		{"no end", deliver("a"), "message does not end in CRLF", 0},
		{"line length", deliver(strings.Repeat("x", 999) + "\r\n"), "message has a line of more than 998 octets", 0},
		{"line length allowed", deliver(strings.Repeat("x", 998) + "\r\n"), "", 0},
		{"pipelining", "RSET\r\nRSET\r\n", "commands are grouped without PIPELINING", sendertest.Pipelining},
		{"group", "NOOP\r\n", "NOOP is not the last of its group", 0},
		{"unknown", "HELP ME\r\n", `unknown command "HELP ME"`, 0},
		{"sequence", envelope + "MAIL FROM:<a@example.net>\r\n", "MAIL out of sequence", 0},
		{"bdat", deliver(hello), "BDAT without CHUNKING", sendertest.Chunking},
		{"command LF", "RSET\n", "a command ends in a bare LF", 0},
		{"command length", "MAIL FROM:<" + strings.Repeat("a", 2100) + "@example.net>\r\n", "a line is too long", 0},
		{"recipient", "MAIL FROM:<>\r\nRCPT TO:<b>\r\n", `bad syntax: RCPT "TO:<b>"`, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, h := start(t, sendertest.Behavior{Without: tc.without})
			nc := dial(t, s, h)
			r := bufio.NewReader(nc)
			_, err := r.ReadString('\n')
			require.NoError(t, err)
			_, err = io.WriteString(nc, ehlo)
			require.NoError(t, err)
			for line := ""; !strings.HasPrefix(line, "250 "); {
				line, err = r.ReadString('\n')
				require.NoError(t, err)
			}
			_, err = io.WriteString(nc, tc.input+"QUIT\r\n")
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, r)
			if tc.want == "" {
				require.Empty(t, h.Stats().Violations)
				return
			}
			require.Contains(t, h.Stats().Violations, "connection 1: "+tc.want)
		})
	}
}

func TestTLS(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		h := s.AddHost("mx.example.com", sendertest.Behavior{})
		pool, err := s.CertPool()
		require.NoError(t, err)
		c := client(t, s, h)
		require.Error(t, c.StartTLS(&tls.Config{RootCAs: pool, ServerName: "other.example.com"}))
		c = client(t, s, h)
		require.NoError(t, c.StartTLS(&tls.Config{RootCAs: pool, ServerName: h.Name()}))
		ok, _ := c.Extension("STARTTLS")
		require.False(t, ok)
		require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
		require.NoError(t, c.Quit())
		require.True(t, h.Messages()[0].TLS)

		h.SetBehavior(sendertest.Behavior{BreakTLS: true})
		c = client(t, s, h)
		err = c.StartTLS(&tls.Config{RootCAs: pool, ServerName: h.Name()})
		require.Error(t, err)
		require.Zero(t, code(err), "the handshake failed, not the command")
	})
}

func TestAuth(t *testing.T) {
	s, h := start(t, sendertest.Behavior{Auth: func(user, password string) bool {
		return user == "ann" && password == "secret"
	}})
	pool, err := s.CertPool()
	require.NoError(t, err)
	for _, mech := range []string{"PLAIN", "LOGIN"} {
		for password, want := range map[string]int{"secret": 0, "wrong": 535} {
			c := client(t, s, h)
			ok, _ := c.Extension("AUTH")
			require.False(t, ok, "not in clear")
			require.NoError(t, c.StartTLS(&tls.Config{RootCAs: pool, ServerName: h.Name()}))
			require.Equal(t, 530, code(c.Mail("a@example.net")))
			auth := smtp.PlainAuth("", "ann", password, h.Name())
			if mech == "LOGIN" {
				auth = loginAuth{"ann", password}
			}
			err := c.Auth(auth)
			require.Equal(t, want, code(err), "%s %s: %v", mech, password, err)
			if want != 0 {
				continue // net/smtp has closed the connection
			}
			require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
			require.NoError(t, c.Quit())
		}
	}
	require.Len(t, h.Messages(), 2)
	require.Equal(t, "ann", h.Messages()[0].User)
}

// loginAuth is AUTH LOGIN.
type loginAuth struct{ user, password string }

func (a loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a loginAuth) Next(prompt []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case string(prompt) == "Username:":
		return []byte(a.user), nil
	}
	return []byte(a.password), nil
}

func TestMaxConns(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		h := s.AddHost("mx.example.com", sendertest.Behavior{MaxConns: 2})
		one, _ := client(t, s, h), client(t, s, h)
		for range 2 {
			_, err := smtp.NewClient(dial(t, s, h), h.Name())
			require.Equal(t, 421, code(err))
		}
		require.NoError(t, one.Quit())
		client(t, s, h)
		stats := h.Stats()
		require.Equal(t, 2, stats.Conns)
		require.Equal(t, 3, stats.MaxConns)
		require.Equal(t, 5, stats.TotalConns)
		require.Equal(t, 2, stats.SlowedDown)
	})
}

func TestMaxConnsCountsSources(t *testing.T) {
	s, h := start(t, sendertest.Behavior{MaxConns: 1})
	for _, source := range []string{"192.0.2.1", "192.0.2.2"} {
		nc, err := s.DialFrom(netip.MustParseAddr(source))(t.Context(), "tcp", h.Addr().String()+":25")
		require.NoError(t, err)
		c, err := smtp.NewClient(nc, h.Name())
		require.NoError(t, err)
		require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
		require.Equal(t, source, h.Messages()[len(h.Messages())-1].Source.String())
		defer nc.Close()
	}
	// A connection that the client just closes is gone at once, too.
	nc := dial(t, s, h)
	_, err := smtp.NewClient(nc, h.Name())
	require.NoError(t, err)
	require.NoError(t, nc.Close())
	client(t, s, h)
}

func TestMaxMessages(t *testing.T) {
	s, h := start(t, sendertest.Behavior{MaxMessages: 2})
	c := client(t, s, h)
	send := func() error { return deliver(c, "a@example.net", []string{"b@example.com"}, hello) }
	require.NoError(t, send())
	require.NoError(t, send())
	require.Equal(t, 421, code(send()))
	_, err := c.Text.ReadLine()
	require.ErrorIs(t, err, io.EOF)
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := start(t, sendertest.Behavior{Rate: sendertest.Rate{
			N: 2, Per: time.Minute, Reply: sendertest.Answer("451 4.7.1 Slow down"), Patience: 3, Block: time.Hour,
		}})
		c := client(t, s, h)
		send := func() int { return code(deliver(c, "a@example.net", []string{"b@example.com"}, hello)) }
		require.Equal(t, 0, send())
		time.Sleep(30 * time.Second)
		require.Equal(t, 0, send())
		time.Sleep(30*time.Second - 1)
		require.Equal(t, 451, send(), "two in less than a minute")
		time.Sleep(1)
		require.Equal(t, 0, send(), "the first is a minute old")
		require.Equal(t, 451, send())
		time.Sleep(time.Minute)

		// What was refused before does not count any more.
		require.Equal(t, []int{0, 0, 451, 451, 451, 550, 550}, []int{send(), send(), send(), send(), send(), send(), send()})
		time.Sleep(time.Hour - 1)
		require.NoError(t, c.Close()) // idle for too long
		c = client(t, s, h)
		require.Equal(t, 550, send())
		time.Sleep(1)
		require.Equal(t, 0, send(), "the block is over")
		stats := h.Stats()
		require.Equal(t, 5+1, stats.Accepted)
		require.Equal(t, 2+6, stats.SlowedDown)
		require.Len(t, stats.Mails, stats.Accepted+stats.SlowedDown)
	})
}

func TestRateClosesByDefault(t *testing.T) {
	s, h := start(t, sendertest.Behavior{Rate: sendertest.Rate{N: 1, Per: time.Hour}})
	c := client(t, s, h)
	require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
	require.Equal(t, 421, code(c.Mail("a@example.net")))
	_, err := c.Text.ReadLine()
	require.ErrorIs(t, err, io.EOF)
}

func TestGreylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := start(t, sendertest.Behavior{Greylist: 5 * time.Minute})
		send := func(to string) int {
			c := client(t, s, h)
			defer c.Close()
			return code(deliver(c, "a@example.net", []string{to}, hello))
		}
		require.Equal(t, 451, send("b@example.com"))
		time.Sleep(5*time.Minute - 1)
		require.Equal(t, 451, send("b@example.com"))
		require.Equal(t, 451, send("c@example.com"))
		time.Sleep(1)
		require.Equal(t, 0, send("b@example.com"))
		require.Equal(t, 451, send("c@example.com"))
		require.Equal(t, 3+1, h.Stats().Deferred)
	})
}

func TestLatencyAndTarpit(t *testing.T) {
	group := ehlo + envelope + bdat(hello, " LAST") + "QUIT\r\n"
	took := func(b sendertest.Behavior) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s, h := start(t, b)
			begin := time.Now()
			require.Equal(t, "220 250 250 250 250 221", codes(exchange(t, s, h, group)))
			d = time.Since(begin)
		})
		return d
	}
	require.Equal(t, time.Duration(0), took(sendertest.Behavior{}))
	require.Equal(t, 2*time.Second, took(sendertest.Behavior{Latency: time.Second}), "greeting, then the group")
	require.Equal(t, 6*time.Second, took(sendertest.Behavior{Tarpit: time.Second}))
}

func TestDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := start(t, sendertest.Behavior{Dead: true})
		begin := time.Now()
		_, err := s.Dial(t.Context(), "tcp", h.Addr().String()+":25")
		timeout, ok := errors.AsType[net.Error](err)
		require.True(t, ok && timeout.Timeout())
		require.Equal(t, 127*time.Second, time.Since(begin))
	})
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := start(t, sendertest.Behavior{IdleTimeout: time.Minute})
		begin := time.Now()
		require.Equal(t, "220 250 421", codes(exchange(t, s, h, ehlo)))
		require.Equal(t, time.Minute, time.Since(begin))
	})
}

func TestDrops(t *testing.T) {
	for _, tc := range []struct {
		at         sendertest.Stage
		data, bdat string
		accepted   int
	}{
		{sendertest.StageGreeting, "", "", 0},
		{sendertest.StageHello, "220", "220", 0},
		{sendertest.StageMail, "220 250", "220 250", 0},
		{sendertest.StageRcpt, "220 250 250", "220 250 250", 0},
		{sendertest.StageData, "220 250 250 250", "220 250 250 250", 0},
		{sendertest.StageBody, "220 250 250 250 354", "220 250 250 250", 0},
		{sendertest.StageDot, "220 250 250 250 354", "220 250 250 250 250", 1},
		{sendertest.StageReset, "220 250 250 250 354 250", "220 250 250 250 250 250", 1},
	} {
		t.Run(string(tc.at), func(t *testing.T) {
			bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
				h := s.AddHost("mx.example.com", sendertest.Behavior{Drops: []sendertest.Drop{{At: tc.at}}})
				for form, want := range map[string]string{"data": tc.data, "bdat": tc.bdat} {
					require.Equal(t, want, stepwise(t, s, h, form), form)
				}
				stats := h.Stats()
				require.Equal(t, 2*tc.accepted, stats.Accepted)
				require.Equal(t, 2, stats.TotalConns)
				for _, m := range h.Messages() {
					require.Equal(t, tc.at == sendertest.StageDot, m.Dropped)
				}
			})
		})
	}
}

// stepwise delivers a message command by command and returns the reply codes
// that came before the server closed.
func stepwise(t *testing.T, s *sendertest.Sandbox, h *sendertest.Host, form string) string {
	t.Helper()
	nc := dial(t, s, h)
	defer nc.Close()
	text := textproto.NewConn(nc)
	steps := []string{"", ehlo, "MAIL FROM:<a@example.net>\r\n", "RCPT TO:<b@example.com>\r\n"}
	if form == "data" {
		steps = append(steps, "DATA\r\n", hello+".\r\n")
	} else {
		steps = append(steps, bdat(hello, ""), bdat(hello, " LAST"))
	}
	var got []string
	for _, step := range append(steps, "QUIT\r\n") {
		if _, err := io.WriteString(nc, step); err != nil {
			break
		}
		code, _, err := text.ReadResponse(0)
		if err != nil {
			break
		}
		got = append(got, fmt.Sprint(code))
	}
	return strings.Join(got, " ")
}

func TestDropsByChance(t *testing.T) {
	fates := func(seed uint64) string {
		s := sendertest.Start(t, sendertest.Options{Memory: true, Seed: seed})
		h := s.AddHost("mx.example.com", sendertest.Behavior{Drops: []sendertest.Drop{{At: sendertest.StageMail, P: 0.5}}})
		var b strings.Builder
		for range 100 {
			b.WriteByte("-+"[len(codes(exchange(t, s, h, ehlo+envelope+"QUIT\r\n")))/len("220 250 250 250 221")])
		}
		return b.String()
	}
	require.Equal(t, fates(1), fates(1))
	require.NotEqual(t, fates(1), fates(2))
	require.InDelta(t, 50, strings.Count(fates(1), "+"), 25)
}

// Wherever a connection is cut, the client sees 250 for the message only if it
// was accepted, and the message is whole or not there.
func TestCutsAtEveryByte(t *testing.T) {
	input := ehlo + envelope + bdat(hello, " LAST") + "QUIT\r\n"
	s, h := start(t, sendertest.Behavior{})
	whole := exchange(t, s, h, input)
	complete := strings.Index(input, "QUIT")
	for n := 1; n <= len(input); n++ {
		s, h := start(t, sendertest.Behavior{CutRead: int64(n)})
		output := exchange(t, s, h, input)
		require.True(t, strings.HasPrefix(whole, output), "cut at %d: %q", n, output)
		require.Equal(t, n >= complete, len(h.Messages()) == 1, "cut at %d", n)
		require.Equal(t, n >= complete, strings.Contains(output, "Accepted"), "cut at %d", n)
	}
	for n := 1; n <= len(whole); n++ {
		s, h := start(t, sendertest.Behavior{CutWrite: int64(n)})
		require.Equal(t, whole[:n], exchange(t, s, h, input))
	}
}

func TestScript(t *testing.T) {
	s, h := start(t, sendertest.Behavior{Script: sendertest.Raw(map[sendertest.Stage]string{
		sendertest.StageGreeting: "220-hello\r\n250 there\r\n250 too early\r\n",
		sendertest.StageRcpt:     "550 no\r\n",
	})})
	output := exchange(t, s, h, ehlo+envelope+bdat(hello, " LAST")+"QUIT\r\n")
	require.True(t, strings.HasPrefix(output, "220-hello\r\n250 there\r\n250 too early\r\n250-"))
	require.True(t, strings.HasSuffix(output, "\r\n550 no\r\n554 5.5.1 No valid recipients\r\n221 2.0.0 Bye\r\n"))

	h.SetBehavior(sendertest.Behavior{Script: sendertest.Raw(map[sendertest.Stage]string{sendertest.StageMail: "421 bye\r\n"})})
	require.Equal(t, "220 250 421", codes(exchange(t, s, h, ehlo+envelope)))

	h.SetBehavior(sendertest.Behavior{Script: func(_ sendertest.Stage, line string) io.Reader {
		if strings.HasPrefix(line, "EHLO") {
			return sendertest.Endless("250-more\r\n")
		}
		return nil
	}})
	nc := dial(t, s, h)
	_, err := io.WriteString(nc, ehlo)
	require.NoError(t, err)
	n, err := io.CopyN(io.Discard, nc, 1<<20)
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, n)
}

func TestNoChain(t *testing.T) {
	s, h := start(t, sendertest.Behavior{NoChain: true})
	chained := ehlo + envelope + bdat(hello, " LAST") + envelope
	require.Equal(t, "220 250 250 250 250 503 503", codes(exchange(t, s, h, chained)))
	require.Len(t, h.Messages(), 1)
}

func TestForConn(t *testing.T) {
	s, h := start(t, sendertest.Behavior{ForConn: func(n int) *sendertest.Behavior {
		if n == 1 {
			return &sendertest.Behavior{Greeting: sendertest.Answer("554 not yet")}
		}
		return nil
	}})
	_, err := smtp.NewClient(dial(t, s, h), h.Name())
	require.Equal(t, 554, code(err))
	require.NoError(t, client(t, s, h).Quit())
}

func TestSetBehaviorLive(t *testing.T) {
	s, h := start(t, sendertest.Behavior{})
	c := client(t, s, h)
	require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
	h.SetBehavior(sendertest.Behavior{Sender: func(string) *sendertest.Reply { return sendertest.Answer("550 5.7.1 No more") }})
	require.Equal(t, 550, code(deliver(c, "a@example.net", []string{"b@example.com"}, hello)))
}

func TestAnswer(t *testing.T) {
	require.Equal(t, &sendertest.Reply{Code: 550, Status: "5.1.1", Text: "No such user"}, sendertest.Answer("550 5.1.1 No such user"))
	require.Equal(t, &sendertest.Reply{Code: 421, Text: "mx.example.com closing"}, sendertest.Answer("421 mx.example.com closing"))
	require.Equal(t, &sendertest.Reply{Code: 250}, sendertest.Answer("250"))
	require.Panics(t, func() { sendertest.Answer("no such user") })
	require.Panics(t, func() { sendertest.Answer("99 problems") })
}

func TestManyConnections(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		h := s.AddHost("mx.example.com", sendertest.Behavior{})
		failed := make(chan error)
		for range 20 {
			go func() {
				failed <- func() error {
					nc, err := s.Dial(t.Context(), "tcp", h.Addr().String()+":25")
					if err != nil {
						return err
					}
					c, err := smtp.NewClient(nc, h.Name())
					if err != nil {
						return err
					}
					for range 20 {
						if err := deliver(c, "a@example.net", []string{"b@example.com"}, hello); err != nil {
							return err
						}
					}
					return c.Quit()
				}()
			}()
		}
		for range 20 {
			require.NoError(t, <-failed)
		}
		require.Len(t, h.Messages(), 400)
		require.Equal(t, 400, h.Stats().Accepted)
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := start(t, sendertest.Behavior{Latency: time.Hour})
		nc := dial(t, s, h)
		begin := time.Now()
		require.NoError(t, nc.SetReadDeadline(begin.Add(time.Minute)))
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(begin))
	})
}
