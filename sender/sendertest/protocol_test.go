package sendertest_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/sendertest"
)

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
	require.Equal(t, []string{"connection 1: EHLO is not the last of its group"}, h.Stats().Violations)
}

func TestEnhancedStatusCodes(t *testing.T) {
	s, h := start(t, sendertest.Behavior{})
	require.Contains(t, exchange(t, s, h, ehlo+"RSET\r\nQUIT\r\n"), "250 2.0.0 OK\r\n221 2.0.0 Bye\r\n")
	h.SetBehavior(sendertest.Behavior{Without: sendertest.EnhancedStatusCodes})
	require.Contains(t, exchange(t, s, h, ehlo+"RSET\r\nQUIT\r\n"), "250 OK\r\n221 Bye\r\n")
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
		require.NoError(t, c.Text.PrintfLine("DATA"))
		_, _, err := c.Text.ReadResponse(354)
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

func TestAnswer(t *testing.T) {
	require.Equal(t, &sendertest.Reply{Code: 550, Status: "5.1.1", Text: "No such user"}, sendertest.Answer("550 5.1.1 No such user"))
	require.Equal(t, &sendertest.Reply{Code: 421, Text: "mx.example.com closing"}, sendertest.Answer("421 mx.example.com closing"))
	require.Equal(t, &sendertest.Reply{Code: 250}, sendertest.Answer("250"))
	require.Panics(t, func() { sendertest.Answer("no such user") })
	require.Panics(t, func() { sendertest.Answer("99 problems") })
}

func TestMistakes(t *testing.T) {
	auth := func(user, password string) bool { return user == "ann" && password == "secret" }
	for _, tc := range []struct {
		name, input, want string
		behavior          sendertest.Behavior
	}{
		{"no hello", "MAIL FROM:<>\r\n", "503", sendertest.Behavior{}},
		{"nameless hello", "EHLO\r\nHELO \r\n", "501 501", sendertest.Behavior{}},
		{"data argument", ehlo + envelope + "DATA now\r\n", "250 250 250 501", sendertest.Behavior{}},
		{"data without mail", ehlo + "DATA\r\n", "250 503", sendertest.Behavior{}},
		{"data without recipient", ehlo + "MAIL FROM:<>\r\nDATA\r\n", "250 250 554", sendertest.Behavior{}},
		{"data after bdat", ehlo + envelope + "BDAT 0\r\nDATA\r\nRCPT TO:<c@example.com>\r\n", "250 250 250 250 503 503", sendertest.Behavior{}},
		{"bdat size", ehlo + envelope + "BDAT x\r\n", "250 250 250 501", sendertest.Behavior{}},
		{"recipient", ehlo + "MAIL FROM:<>\r\nRCPT TO:<ä@example.com>\r\nRCPT TO:<a@example.com> WHAT\r\nRCPT TO:<PostMaster>\r\n", "250 250 553 555 250", sendertest.Behavior{}},
		{"starttls off", ehlo + "STARTTLS\r\n", "250 502", sendertest.Behavior{Without: sendertest.StartTLS}},
		{"starttls early", "HELO x\r\nSTARTTLS\r\n", "250 503", sendertest.Behavior{}},
		{"auth off", ehlo + "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "250 503", sendertest.Behavior{}},
		{"auth in clear", ehlo + "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "250 503", sendertest.Behavior{Auth: auth}},
		{"auth", ehlo + "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n" + envelope, "250 235 250 250", sendertest.Behavior{Auth: auth, Without: sendertest.StartTLS}},
		{"auth prompt", ehlo + "AUTH PLAIN\r\nAGFubgBzZWNyZXQ=\r\n", "250 334 235", sendertest.Behavior{Auth: auth, Without: sendertest.StartTLS}},
		{"auth cancelled", ehlo + "AUTH LOGIN\r\n*\r\n", "250 334 501", sendertest.Behavior{Auth: auth, Without: sendertest.StartTLS}},
		{"auth unknown", ehlo + "AUTH MAGIC\r\n", "250 504", sendertest.Behavior{Auth: auth, Without: sendertest.StartTLS}},
		{"auth syntax", ehlo + "AUTH PLAIN YQ==\r\n", "250 501", sendertest.Behavior{Auth: auth, Without: sendertest.StartTLS}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, h := start(t, tc.behavior)
				want := "220 " + tc.want + " 221"
				if tc.name == "bdat size" {
					want = "220 " + tc.want // the connection can't go on
				}
				require.Equal(t, want, codes(exchange(t, s, h, tc.input+"QUIT\r\n")))
				require.Empty(t, h.Messages())
			})
		})
	}
}
