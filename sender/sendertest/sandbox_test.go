package sendertest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wneessen/go-mail"
	"go.uber.org/goleak"

	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/sender/sendertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = "Subject: hello\r\n\r\nHello\r\n"

// bothModes runs a test with sockets and in memory.
func bothModes(t *testing.T, test func(t *testing.T, s *sendertest.Sandbox)) {
	for _, memory := range []bool{false, true} {
		t.Run(fmt.Sprintf("memory=%v", memory), func(t *testing.T) {
			test(t, sendertest.Start(t, sendertest.Options{Memory: memory}))
		})
	}
}

// dial connects to a host.
func dial(t *testing.T, s *sendertest.Sandbox, h *sendertest.Host) net.Conn {
	t.Helper()
	nc, err := s.Dial(t.Context(), "tcp", netip.AddrPortFrom(h.Addr(), 25).String())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	return nc
}

// client connects and reads the greeting.
func client(t *testing.T, s *sendertest.Sandbox, h *sendertest.Host) *smtp.Client {
	t.Helper()
	c, err := smtp.NewClient(dial(t, s, h), h.Name())
	require.NoError(t, err)
	return c
}

// code is the reply code of an error of net/smtp, 0 for no such error.
func code(err error) int {
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return reply.Code
	}
	return 0
}

// deliver sends one message on a connection.
func deliver(c *smtp.Client, from string, to []string, text string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, rcpt := range to {
		if err := c.Rcpt(rcpt); err != nil {
			return errors.Join(err, c.Reset())
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close()
}

func TestGoMailDelivers(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		h := s.AddHost("mx.example.com", sendertest.Behavior{})
		pool, err := s.CertPool()
		require.NoError(t, err)
		c, err := mail.NewClient(h.Name(), mail.WithPort(25), mail.WithHELO("client.example.net"),
			mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTLSConfig(&tls.Config{RootCAs: pool, ServerName: h.Name()}),
			mail.WithDialContextFunc(func(ctx context.Context, network, _ string) (net.Conn, error) {
				return s.Dial(ctx, network, h.Addr().String()+":25")
			}))
		require.NoError(t, err)
		m := mail.NewMsg()
		require.NoError(t, m.From("a@example.net"))
		require.NoError(t, m.To("b@example.com", "c@example.com"))
		m.Subject("Grüße")
		m.SetBodyString(mail.TypeTextPlain, ".dot\n..two dots\nend")
		require.NoError(t, c.DialAndSendWithContext(t.Context(), m))

		got := h.Messages()
		require.Len(t, got, 1)
		require.Equal(t, got, s.Messages())
		require.Equal(t, "a@example.net", got[0].From)
		require.Equal(t, []string{"b@example.com", "c@example.com"}, got[0].Rcpts)
		require.Equal(t, "client.example.net", got[0].RemoteHello)
		require.Contains(t, got[0].MailOptions, "SMTPUTF8")
		require.True(t, got[0].TLS)
		var sent bytes.Buffer
		_, err = m.WriteTo(&sent)
		require.NoError(t, err)
		require.Contains(t, string(got[0].Data), "\r\n.dot\r\n..two dots\r\nend")
		require.Equal(t, len(got[0].Data), got[0].Bytes)

		stats := h.Stats()
		require.Equal(t, 1, stats.Accepted)
		require.Equal(t, 2, stats.AcceptedRcpts)
		require.Equal(t, 1, stats.TotalConns)
		require.Len(t, stats.Mails, 1)
		require.Empty(t, stats.Violations)
	})
}

func TestDial(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		refused := func(addr string) {
			t.Helper()
			_, err := s.Dial(t.Context(), "tcp", addr)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			_, ok := errors.AsType[*net.OpError](err)
			require.True(t, ok)
		}
		refused("198.18.200.200:25")
		h := s.AddHost("mx.example.com", sendertest.Behavior{Refuse: true})
		addr := h.Addr().String() + ":2525"
		refused(addr)
		h.SetBehavior(sendertest.Behavior{Drops: []sendertest.Drop{{At: sendertest.StageConnect}}})
		refused(addr)

		h.SetBehavior(sendertest.Behavior{Dead: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := s.Dial(ctx, "tcp", addr)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		netErr, ok := errors.AsType[net.Error](err)
		require.True(t, ok)
		require.True(t, netErr.Timeout())

		h.SetBehavior(sendertest.Behavior{})
		require.NoError(t, client(t, s, h).Quit())
		require.NoError(t, s.Close())
		require.NoError(t, s.Close(), "closing twice is no mistake")
		refused(addr)
		_, err = s.Dial(t.Context(), "tcp", "mx.example.com:25")
		require.Error(t, err, "names are for the resolver")
	})
}

func TestAddHostAgain(t *testing.T) {
	s := sendertest.Start(t, sendertest.Options{Memory: true})
	h := s.AddHost("MX.example.com.", sendertest.Behavior{Refuse: true})
	require.Same(t, h, s.AddHost("mx.example.com", sendertest.Behavior{}))
	require.Same(t, h, s.Host("mx.example.com"))
	require.Nil(t, s.Host("other.example.com"))
	require.NotEqual(t, h.Addr(), s.AddHost("mx2.example.com", sendertest.Behavior{}).Addr())
	require.NoError(t, client(t, s, h).Quit())
}

func TestListen(t *testing.T) {
	s := sendertest.Start(t, sendertest.Options{})
	addr, err := s.AddHost("relay.example.com", sendertest.Behavior{}).Listen()
	require.NoError(t, err)
	c, err := smtp.Dial(addr)
	require.NoError(t, err)
	require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
	require.NoError(t, c.Quit())
	require.Len(t, s.Messages(), 1)

	memory := sendertest.Start(t, sendertest.Options{Memory: true})
	_, err = memory.AddHost("relay.example.com", sendertest.Behavior{}).Listen()
	require.Error(t, err)
}

func TestDialFrom(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		h := s.AddHost("mx.example.com", sendertest.Behavior{})
		source := netip.MustParseAddr("127.0.0.1")
		nc, err := s.DialFrom(source)(t.Context(), "tcp", h.Addr().String()+":25")
		require.NoError(t, err)
		defer nc.Close()
		c, err := smtp.NewClient(nc, h.Name())
		require.NoError(t, err)
		require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
		require.Equal(t, source, h.Messages()[0].Source)
	})
}

func TestKeepBodies(t *testing.T) {
	for _, tc := range []struct {
		name     string
		options  sendertest.Options
		messages int
		bodies   []string
	}{
		{"all", sendertest.Options{}, 5, []string{"0", "1", "2", "3", "4"}},
		{"last", sendertest.Options{KeepBodies: 2}, 5, []string{"3", "4"}},
		{"none", sendertest.Options{KeepBodies: -1}, 5, nil},
		{"count", sendertest.Options{CountOnly: true}, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.options.Memory = true
			s := sendertest.Start(t, tc.options)
			h := s.AddHost("mx.example.com", sendertest.Behavior{})
			c := client(t, s, h)
			for i := range 5 {
				require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, fmt.Sprintf("Subject: %d\r\n\r\n", i)))
			}
			require.NoError(t, c.Quit())
			var bodies []string
			for _, m := range s.Messages() {
				if m.Data != nil {
					bodies = append(bodies, strings.TrimSpace(strings.TrimPrefix(string(m.Data), "Subject: ")))
				}
				require.Equal(t, len("Subject: 0\r\n\r\n"), m.Bytes)
			}
			require.Len(t, s.Messages(), tc.messages)
			require.Equal(t, tc.bodies, bodies)
			require.Equal(t, 5, h.Stats().Accepted)
		})
	}
}

func TestCloseEndsEverything(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		idle := s.AddHost("idle.example.com", sendertest.Behavior{})
		slow := s.AddHost("slow.example.com", sendertest.Behavior{Latency: time.Hour})
		dead := s.AddHost("dead.example.com", sendertest.Behavior{Dead: true})
		c := client(t, s, idle)
		nc := dial(t, s, slow)
		failed := make(chan error)
		go func() {
			_, err := s.Dial(t.Context(), "tcp", dead.Addr().String()+":25")
			failed <- err
		}()
		require.NoError(t, s.Close())
		require.Error(t, <-failed)
		require.Error(t, c.Noop())
		_, err := nc.Read(make([]byte, 1))
		require.Error(t, err)
	})
}

func TestTrace(t *testing.T) {
	var lines []string
	s := sendertest.Start(t, sendertest.Options{Memory: true, Trace: func(host string, conn uint64, line string) {
		lines = append(lines, fmt.Sprintf("%s %d %s", host, conn, line)) // one connection: one goroutine
	}})
	h := s.AddHost("mx.example.com", sendertest.Behavior{Without: sendertest.ESMTP})
	c := client(t, s, h)
	require.NoError(t, c.Hello("client.example.net"))
	require.NoError(t, deliver(c, "a@example.net", []string{"b@example.com"}, hello))
	require.NoError(t, c.Quit())
	require.NoError(t, s.Close())
	require.Equal(t, []string{
		"mx.example.com 1 S: 220 mx.example.com ESMTP sandbox",
		"mx.example.com 1 C: EHLO client.example.net",
		"mx.example.com 1 S: 502 EHLO not implemented",
		"mx.example.com 1 C: HELO client.example.net",
		"mx.example.com 1 S: 250 mx.example.com",
		"mx.example.com 1 C: MAIL FROM:<a@example.net>",
		"mx.example.com 1 S: 250 Sender OK",
		"mx.example.com 1 C: RCPT TO:<b@example.com>",
		"mx.example.com 1 S: 250 Recipient OK",
		"mx.example.com 1 C: DATA",
		"mx.example.com 1 S: 354 Go ahead, end with a dot on a line",
		"mx.example.com 1 S: 250 Accepted as 1-1",
		"mx.example.com 1 C: QUIT",
		"mx.example.com 1 S: 221 Bye",
	}, lines)
}

func TestResolver(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		one := s.AddHost("mx1.example.com", sendertest.Behavior{})
		two := s.AddHost("mx2.example.com", sendertest.Behavior{})
		s.AddDomain("Example.com", "mx1.example.com", "mx2.example.com")
		s.AddDomain("bücher.example", "mx1.example.com")
		s.AddDomain("hostless.example", "gone.example.com")
		s.SetDomain("null.example", sendertest.Domain{NullMX: true})
		s.SetDomain("broken.example", sendertest.Domain{Fail: true})
		s.SetDomain("plain.example", sendertest.Domain{Address: "mx2.example.com"})
		s.AddDomain("empty.example")
		r := s.Resolver()

		route, err := r.Lookup(t.Context(), "example.com")
		require.NoError(t, err)
		require.Equal(t, []mx.Host{
			{Name: "mx1.example.com", Preference: 10, Addrs: []netip.Addr{one.Addr()}},
			{Name: "mx2.example.com", Preference: 20, Addrs: []netip.Addr{two.Addr()}},
		}, route.Hosts)
		route, err = r.Lookup(t.Context(), "bücher.example")
		require.NoError(t, err)
		require.Equal(t, "xn--bcher-kva.example", route.Domain)
		route, err = r.Lookup(t.Context(), "plain.example")
		require.NoError(t, err)
		require.True(t, route.Implicit)
		require.Equal(t, []netip.Addr{two.Addr()}, route.Hosts[0].Addrs)

		for domain, want := range map[string]mx.Failure{
			"unknown.example":  mx.NoDomain,
			"hostless.example": mx.NoHosts,
			"null.example":     mx.NullMX,
			"broken.example":   mx.Temporary,
			"empty.example":    mx.NoHosts,
		} {
			_, err := r.Lookup(t.Context(), domain)
			failure, ok := errors.AsType[*mx.Error](err)
			require.True(t, ok, domain)
			require.Equal(t, want, failure.Failure, domain)
		}
	})
}

func TestSlowDNS(t *testing.T) {
	bothModes(t, func(t *testing.T, s *sendertest.Sandbox) {
		s.AddHost("mx.example.com", sendertest.Behavior{})
		s.SetDomain("slow.example", sendertest.Domain{Delay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := s.Resolver().Lookup(ctx, "slow.example")
		require.Error(t, err)
	})
}
