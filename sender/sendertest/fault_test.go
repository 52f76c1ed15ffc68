package sendertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/sendertest"
)

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

func TestSilence(t *testing.T) {
	for _, at := range []sendertest.Stage{sendertest.StageConnect, sendertest.StageGreeting, sendertest.StageMail, sendertest.StageBody, sendertest.StageDot} {
		t.Run(string(at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, h := start(t, sendertest.Behavior{Drops: []sendertest.Drop{{At: at, Silent: true}}})
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				nc, err := s.Dial(ctx, "tcp", h.Addr().String()+":25")
				if at == sendertest.StageConnect {
					require.ErrorIs(t, err, syscall.ETIMEDOUT)
					return
				}
				require.NoError(t, err)
				require.NoError(t, nc.SetDeadline(begin.Add(time.Hour)))
				_, err = io.WriteString(nc, ehlo+envelope+bdat(hello, " LAST"))
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, nc)
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.Equal(t, time.Hour, time.Since(begin))
				require.Equal(t, at == sendertest.StageDot, len(h.Messages()) == 1)
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
	synctest.Test(t, func(t *testing.T) {
		s, h := start(t, sendertest.Behavior{NoChain: true})
		chained := ehlo + envelope + bdat(hello, " LAST") + envelope
		require.Equal(t, "220 250 250 250 250 503 503 421", codes(exchange(t, s, h, chained)))
		require.Len(t, h.Messages(), 1)
	})
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
