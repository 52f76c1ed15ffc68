package sendertest_test

import (
	"io"
	"net/netip"
	"net/smtp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/sendertest"
)

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
		{"authentication", sendertest.Behavior{Auth: func(string, string) bool { return false }}, "220 250 530 503 503 503 221", 0, 0, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, h := start(t, tc.behavior)
			require.Equal(t, tc.want, codes(exchange(t, s, h, ehlo+two+"QUIT\r\n")))
			stats := h.Stats()
			require.Equal(t, tc.accepted, stats.Accepted, "accepted")
			require.Equal(t, tc.rcpts, stats.AcceptedRcpts, "accepted recipients")
			require.Equal(t, tc.deferred, stats.Deferred, "deferred")
			require.Equal(t, tc.refused, stats.Refused, "refused")
			require.Len(t, h.Messages(), tc.accepted)
		})
	}
}

func TestRefusedGreeting(t *testing.T) {
	s, h := start(t, sendertest.Behavior{Greeting: sendertest.Answer("554 5.7.1 Blocked")})
	output := exchange(t, s, h, ehlo+"HELO x\r\nMAIL FROM:<>\r\nQUIT\r\n")
	require.Equal(t, "554 503 503 503 221", codes(output))
	require.Contains(t, output, "554 5.7.1 Blocked\r\n")
	require.Equal(t, 1, h.Stats().Refused)
}

func TestDataSizeLimit(t *testing.T) {
	s, h := start(t, sendertest.Behavior{MaxSize: len(hello) - 1})
	require.Equal(t, "220 250 250 250 354 552 221", codes(exchange(t, s, h, ehlo+envelope+"DATA\r\n"+hello+".\r\nQUIT\r\n")))
	require.Empty(t, h.Messages())
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
		time.Sleep(time.Nanosecond)
		require.Equal(t, 0, send(), "the first is a minute old")
		require.Equal(t, 451, send())
		time.Sleep(time.Minute)

		// What was refused before does not count any more.
		require.Equal(t, []int{0, 0, 451, 451, 451, 550, 550}, []int{send(), send(), send(), send(), send(), send(), send()})
		time.Sleep(time.Hour - 1)
		require.NoError(t, c.Close()) // idle for too long
		c = client(t, s, h)
		require.Equal(t, 550, send())
		time.Sleep(time.Nanosecond)
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
		time.Sleep(time.Nanosecond)
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
