package smtp

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

// Each wait is bounded for the whole reply, by the time that the RFC gives.
func TestTimeouts(t *testing.T) {
	drip := func(s string, every string) transcript {
		var b strings.Builder
		for _, c := range s {
			b.WriteString("R: " + string(c) + "\nsleep " + every + "\n")
		}
		return transcript(b.String())
	}
	tests := []struct {
		name   string
		script transcript
		after  time.Duration
		fate   string
		fails  string
	}{
		{"MAIL", hello() + "C: MAIL~\neof", 5 * time.Minute, "not sent 0 mail", "mx.example: mail: 4.4.2 no answer in time (after MAIL)"},
		{"RCPT", hello() + "C: MAIL~\nS: 250 ok\nC: RCPT~\neof", 5 * time.Minute, "not sent 0 rcpt", "mx.example: rcpt: 4.4.2 no answer in time (after RCPT)"},
		{"DATA", hello() + "C: MAIL~\nS: 250 ok\nC: RCPT~\nS: 250 ok\nC: DATA\neof", 2 * time.Minute, "not sent 0 data", "mx.example: data: 4.4.2 no answer in time (after RCPT)"},
		{"end", hello("PIPELINING") + groupOf1 + "S: 250 ok\nS: 250 ok\nS: 354 go\n" + lines1 + "eof", 10 * time.Minute, "unknown 0 body", "mx.example: body: 4.4.2 no answer in time (after the end of the message)"},
		{"drip", hello("PIPELINING") + groupOf1 + "S: 250 ok\nS: 250 ok\nS: 354 go\n" + lines1 + drip("250 ok ok ok", "1m") + "eof", 10 * time.Minute, "unknown 0 body", "mx.example: body: 4.4.2 no answer in time (after the end of the message)"},
		{"each reply of a group has its own", hello("PIPELINING") + groupOf1 + "sleep 4m\nS: 250 ok\nsleep 4m\nS: 250 ok\nsleep 1m\nS: 354 go\n" + lines1 + "sleep 9m\nS: 250 ok\neof", 18 * time.Minute, "sent", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.script, func(conn net.Conn) {
				start := time.Now()
				tx := message(text1, "x@example.com")
				s, err := run(t, conn, options(), tx)
				assert.Equal(t, tt.after, time.Since(start))
				assert.Equal(t, tt.fate, fates(tx))
				if tt.fails == "" {
					require.NoError(t, err)
					require.NoError(t, s.Close())
					return
				}
				require.EqualError(t, err, tt.fails)
				assert.Equal(t, err, tx.Err)
				assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			})
		})
	}
}

// A group that is answered in part and then not at all was perhaps read in part.
func TestTimeoutInGroupStepsDown(t *testing.T) {
	play(t, hello("PIPELINING")+groupOf1+"S: 250 ok\neof", func(conn net.Conn) {
		s, err := run(t, conn, options(), message(text1, "x@example.com"))
		require.Error(t, err)
		assert.Equal(t, Memory{Form: FormSerial, Settled: true}, s.Memory())
	})
	play(t, hello("PIPELINING", "CHUNKING")+"C: MAIL~\nC: RCPT~\nS: 250 ok\nS: 250 ok\nC: BDAT 18 LAST\nC: Subject: x\nC:\nC: hi\neof", func(conn net.Conn) {
		s, err := run(t, conn, options(), message(text1, "x@example.com"))
		require.Error(t, err)
		assert.Equal(t, Memory{NoBDAT: true}, s.Memory())
	})
}

// So is a chained envelope that is not answered.
func TestTimeoutInChainStepsDown(t *testing.T) {
	play(t, hello("PIPELINING", "CHUNKING")+chainOf2+"S: 250 ok\neof", func(conn net.Conn) {
		o := options()
		o.Memory.Form = FormChained
		first, second := message(text1, "x@example.com"), message(text1, "y@example.com")
		s, err := run(t, conn, o, first, second)
		require.EqualError(t, err, "mx.example: mail: 4.4.2 no answer in time (after RCPT)")
		assert.Equal(t, "sent", fates(first))
		assert.Equal(t, "not sent 0 mail", fates(second))
		assert.Equal(t, Memory{Form: FormGrouped, Settled: true}, s.Memory())
	})
}

// The grace of a Cut is for the message whose end is out. Nothing new is begun,
// and what is chained behind it does not go.
func TestCutInChain(t *testing.T) {
	for _, answers := range []transcript{"S: 250 ok\n", "S: 250 ok\nS: 250 ok\nS: 250 ok\n"} {
		play(t, hello("PIPELINING", "CHUNKING")+chainOf2+"sleep 2s\n"+answers+"eof", func(conn net.Conn) {
			o := options()
			o.Memory.Form = FormChained
			s, err := Open(context.Background(), conn, o)
			require.NoError(t, err)
			start := time.Now()
			time.AfterFunc(time.Second, func() { s.Cut(time.Hour) })
			first, second, third := message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")
			q := &queue{todo: []*Transaction{first, second, third}}
			err = s.Run(context.Background(), q.next, q.done)
			require.ErrorIs(t, err, ErrCut)
			require.Equal(t, 2*time.Second, time.Since(start))
			require.Equal(t, []*Transaction{first, second}, q.back)
			require.Equal(t, []*Transaction{third}, q.todo)
			require.Equal(t, Sent, first.Rcpts[0].Fate)
			require.Equal(t, NotSent, second.Rcpts[0].Fate)
			require.Equal(t, WireRcpt, second.Wire)
		})
	}
}

// After a failed write nobody knows for what the server would take a QUIT: it
// could complete a BDAT.
func TestNoQuitAfterBrokenWrite(t *testing.T) {
	for _, broken := range []bool{false, true} {
		client, server := memPair(-1, -1)
		s := &Session{wire: newWire(client), timeouts: Timeouts{}.withDefaults(), broken: broken}
		s.part(s.refusal(bounce.Reply{Stage: bounce.StageBody, Code: 421}, nil))
		require.Equal(t, map[bool]string{false: "QUIT\r\n", true: ""}[broken], server.unread())
	}
}

// A server that does not read holds a write only for the time of a block.
func TestBlockTimeout(t *testing.T) {
	for _, stalled := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			client, server := memPair(-1, -1)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				(&receiver{ext: []string{"PIPELINING"}}).serve(server)
			}()
			s, err := Open(context.Background(), client, options())
			require.NoError(t, err)
			tx := message(text1+strings.Repeat("x\r\n", 100_000), "x@example.com")
			q := &queue{todo: []*Transaction{tx}}
			start := time.Now()
			err = s.Run(context.Background(), func(inFlight bool) *Transaction {
				server.in.shut(func(p *memPipe) { p.stall = stalled })
				return q.next(inFlight)
			}, q.done)
			if stalled {
				require.EqualError(t, err, "mx.example: mail: 4.4.2 no answer in time (before MAIL)")
				require.Equal(t, 3*time.Minute+time.Second, time.Since(start), "a second to read what the server said")
				require.Equal(t, "not sent 0 mail", fates(tx))
			} else {
				require.NoError(t, err)
				require.Equal(t, "sent", fates(tx))
				require.NoError(t, s.Close())
			}
			<-ended
		})
	}
}

// A server may refuse a message in the middle and close: its word counts.
func TestRefusedInTheMiddle(t *testing.T) {
	for reply, want := range map[string]string{
		"552 5.3.4 too big": "refused 552 body",
		"421 4.3.2 bye":     "refused 421 body",
		"250 2.0.0 thanks":  "not sent 250 body",
		"":                  "not sent 0 body",
	} {
		t.Run(reply, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := memPair(10_000, -1)
				go func() {
					defer server.Close()
					read := func(until string) {
						var all []byte
						b := make([]byte, 4096)
						for !strings.HasSuffix(string(all), until) {
							n, err := server.Read(b)
							if err != nil {
								return
							}
							all = append(all, b[:n]...)
						}
					}
					_, _ = io.WriteString(server, "220 mx\r\n")
					read("\r\n")
					_, _ = io.WriteString(server, "250-mx\r\n250 PIPELINING\r\n")
					read("DATA\r\n")
					_, _ = io.WriteString(server, "250 ok\r\n250 ok\r\n354 go\r\n")
					read("x\r\n")
					if reply != "" {
						_, _ = io.WriteString(server, reply+"\r\n")
					}
				}()
				tx := message(strings.Repeat("x\r\n", 100_000), "x@example.com")
				last := &lastWrite{memConn: client}
				s, err := run(t, last, options(), tx)
				require.Error(t, err)
				require.NotContains(t, last.octets, "QUIT")
				require.Equal(t, WireBody, tx.Wire)
				require.Equal(t, want, fates(tx))
				require.False(t, s.Alive())
			})
		})
	}
}

// lastWrite knows what was to be written last.
type lastWrite struct {
	*memConn
	octets string
}

func (c *lastWrite) Write(b []byte) (int, error) {
	c.octets = string(b[:min(len(b), 10)])
	return c.memConn.Write(b)
}
