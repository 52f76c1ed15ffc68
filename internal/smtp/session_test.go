package smtp

import (
	"context"
	"errors"
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

const (
	groupOf1 = "C: MAIL FROM:<a@client.example>\nC: RCPT TO:<x@example.com>\nC: DATA\n"
	lines1   = "C: Subject: x\nC:\nC: hi\nC: .\n"
	chainOf2 = "C: MAIL~\nC: RCPT~\nS: 250 ok\nS: 250 ok\nC: BDAT~\nC: Subject: x\nC:\nC: hi\nC: MAIL~\nC: RCPT~\n"
	text1    = "Subject: x\r\n\r\nhi\r\n"
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

func TestCut(t *testing.T) {
	stop := errors.New("stop")
	beforeEnd := hello("PIPELINING") + groupOf1 + "S: 250 ok\nS: 250 ok\n"
	tests := []struct {
		name   string
		script transcript
		cut    func(s *Session, cancel func())
		after  time.Duration
		fate   string
		is     error
	}{
		{"before the message", beforeEnd + "eof", func(s *Session, _ func()) { s.Cut(time.Hour) }, 0, "not sent 0 data", ErrCut},
		{"after the message", beforeEnd + "S: 354 go\n" + lines1 + "eof", func(s *Session, _ func()) { s.Cut(0) }, 0, "unknown 0 body", ErrCut},
		{"after the message, with grace", beforeEnd + "S: 354 go\n" + lines1 + "eof", func(s *Session, _ func()) { s.Cut(3 * time.Second) }, 3 * time.Second, "unknown 0 body", ErrCut},
		{"answered within the grace", beforeEnd + "S: 354 go\n" + lines1 + "sleep 2s\nS: 250 ok\neof", func(s *Session, _ func()) { s.Cut(3 * time.Second) }, time.Second, "sent", ErrCut},
		{"twice", beforeEnd + "S: 354 go\n" + lines1 + "eof", func(s *Session, _ func()) { s.Cut(time.Hour); s.Cut(time.Second); s.Cut(time.Minute) }, time.Second, "unknown 0 body", ErrCut},
		{"by ctx", beforeEnd + "S: 354 go\n" + lines1 + "eof", func(_ *Session, cancel func()) { cancel() }, 0, "unknown 0 body", stop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.script, func(conn net.Conn) {
				s, err := Open(context.Background(), conn, options())
				require.NoError(t, err)
				ctx, cancel := context.WithCancelCause(context.Background())
				at := time.Now().Add(time.Second)
				time.AfterFunc(time.Second, func() { tt.cut(s, func() { cancel(stop) }) })
				tx := message(text1, "x@example.com")
				q := &queue{todo: []*Transaction{tx}}
				err = s.Run(ctx, q.next, q.done)
				require.ErrorIs(t, err, tt.is)
				assert.Equal(t, tt.after, time.Since(at))
				assert.Equal(t, tt.fate, fates(tx))
				assert.Equal(t, []*Transaction{tx}, q.back)
				s.Quit(context.Background())
				assert.ErrorIs(t, s.Run(ctx, q.next, q.done), ErrClosed)
			})
		})
	}
}

// A ctx that ends between two messages does no harm to the session.
func TestContextEndsIdle(t *testing.T) {
	play(t, hello("PIPELINING")+groupOf1+"S: 250 ok\nS: 250 ok\nS: 354 go\n"+lines1+"S: 250 ok\nC: QUIT\nS: 221 bye\neof", func(conn net.Conn) {
		s, err := Open(context.Background(), conn, options())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		q := &queue{todo: []*Transaction{message(text1, "x@example.com")}}
		err = s.Run(ctx, func(inFlight bool) *Transaction {
			tx := q.next(inFlight)
			if tx == nil {
				cancel()
				synctest.Wait()
			}
			return tx
		}, q.done)
		require.NoError(t, err)
		require.Equal(t, "sent", fates(q.back[0]))
		s.Quit(context.Background())
	})
}

func TestAlive(t *testing.T) {
	tests := []struct {
		name   string
		script transcript
		alive  bool
	}{
		{"silent", hello() + "sleep 1h", true},
		{"closed", hello() + "sleep 1m\nclose", false},
		{"421", hello() + "sleep 1m\nS: 421 4.4.2 idle\nsleep 1h", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.script, func(conn net.Conn) {
				s, err := Open(context.Background(), conn, options())
				require.NoError(t, err)
				require.True(t, s.Alive())
				time.Sleep(2 * time.Minute) // virtual
				start := time.Now()
				require.Equal(t, tt.alive, s.Alive())
				require.Equal(t, tt.alive, s.Alive(), "nothing is consumed")
				require.LessOrEqual(t, time.Since(start), 2*time.Millisecond)
				require.NoError(t, s.Close())
				require.False(t, s.Alive())
			})
		})
	}
}

// What waited for long is not sent into a session that ended meanwhile.
func TestRunLooksBeforeSending(t *testing.T) {
	for name, tt := range map[string]struct {
		script transcript
		fails  string
	}{
		"421":    {hello() + "sleep 1m\nS: 421 4.4.2 idle too long\nC: QUIT\neof", "mx.example: reset: 421 4.4.2 idle too long (before MAIL)"},
		"closed": {hello() + "sleep 1m\nclose", "mx.example: reset: 4.4.2 server closed the connection (before MAIL)"},
		"noise":  {hello() + "sleep 1m\nS: 250 hi\neof", "mx.example: reset: 250 hi: server speaks out of turn (before MAIL)"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, tt.script, func(conn net.Conn) {
				s, err := Open(context.Background(), conn, options())
				require.NoError(t, err)
				tx := message(text1, "x@example.com")
				q := &queue{todo: []*Transaction{tx}}
				err = s.Run(context.Background(), func(inFlight bool) *Transaction {
					time.Sleep(2 * time.Minute) // virtual
					return q.next(inFlight)
				}, q.done)
				require.EqualError(t, err, tt.fails)
				require.Equal(t, err, tx.Err)
				require.Equal(t, WireNothing, tx.Wire)
				require.Equal(t, NotSent, tx.Rcpts[0].Fate)
			})
		})
	}
}

// Quit waits, but not for long.
func TestQuit(t *testing.T) {
	play(t, hello()+"C: QUIT\neof", func(conn net.Conn) {
		s, err := Open(context.Background(), conn, options())
		require.NoError(t, err)
		start := time.Now()
		s.Quit(context.Background())
		require.Equal(t, 5*time.Second, time.Since(start))
		s.Quit(context.Background())
	})
	play(t, hello()+"C: QUIT\neof", func(conn net.Conn) {
		s, err := Open(context.Background(), conn, options())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		s.Quit(ctx)
		require.Equal(t, time.Second, time.Since(start))
	})
}

// What can't or needn't be asked is settled without a word on the wire.
func TestLocal(t *testing.T) {
	set := func(f func(*Transaction)) *Transaction {
		tx := message(text1, "x@example.com")
		f(tx)
		return tx
	}
	tests := []struct {
		name   string
		tx     *Transaction
		status bounce.Status
		text   string
	}{
		{"size", message(strings.Repeat("x", 100)+"\r\n", "x@example.com"), bounce.Status{5, 3, 4}, "message has 102 octets, the server takes 100"},
		{"8bit", message("caf\xc3\xa9\r\n", "x@example.com"), bounce.Status{5, 6, 3}, "message has 8-bit octets, the server does not take them"},
		{"utf8", set(func(tx *Transaction) { tx.UTF8 = true }), bounce.Status{5, 6, 7}, "message needs SMTPUTF8, the server does not offer it"},
		{"sender", set(func(tx *Transaction) { tx.From = "a@b>\r\nDATA" }), bounce.Status{5, 1, 7}, "sender address can't be sent"},
		{"recipient", set(func(tx *Transaction) { tx.Rcpts[0].Addr = "a@b>\r\nDATA" }), bounce.Status{5, 1, 3}, "recipient address can't be sent"},
		{"no recipient", set(func(tx *Transaction) { tx.Rcpts[0].Addr = "" }), bounce.Status{5, 1, 3}, "recipient address can't be sent"},
		{"8-bit recipient", set(func(tx *Transaction) { tx.Rcpts[0].Addr = "é@b" }), bounce.Status{5, 1, 3}, "recipient address can't be sent"},
		{"notify", set(func(tx *Transaction) { tx.Rcpts[0].Notify = "NEVER X=1" }), bounce.Status{5, 5, 4}, "DSN parameter can't be sent"},
		{"envid", set(func(tx *Transaction) { tx.EnvID = "a\r\n" }), bounce.Status{5, 5, 4}, "DSN parameter can't be sent"},
		{"no end", message("hi\n", "x@example.com"), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
		{"empty", message("", "x@example.com"), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
		{"no body", set(func(tx *Transaction) { tx.Body = nil }), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
		{"no headroom", set(func(tx *Transaction) { tx.Body.Start-- }), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, hello("SIZE 100")+"C: QUIT\nS: 221 bye\neof", func(conn net.Conn) {
				s, err := run(t, conn, options(), tt.tx)
				require.NoError(t, err)
				s.Quit(context.Background())
				want := bounce.Reply{Stage: bounce.StageLocal, Status: tt.status, Text: tt.text, Host: "mx.example"}
				assert.Equal(t, []Rcpt{{Addr: tt.tx.Rcpts[0].Addr, Notify: tt.tx.Rcpts[0].Notify, Fate: Refused, Reply: want, state: rcptSettled}}, tt.tx.Rcpts)
				assert.Equal(t, WireNothing, tt.tx.Wire)
			})
		})
	}
}

func TestParameters(t *testing.T) {
	tx := message("caf\xc3\xa9\r\n", "é@example.com", "y@example.com")
	tx.From, tx.UTF8, tx.Ret, tx.EnvID = "", true, "HDRS", "QQ1"
	tx.Rcpts[0].Notify, tx.Rcpts[0].ORcpt = "SUCCESS,FAILURE", "utf-8;x"
	play(t, hello("SIZE", "8BITMIME", "SMTPUTF8", "DSN", "LIMITS RCPTMAX=1")+`
		C: MAIL FROM:<> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ1
		S: 250 ok
		C: RCPT TO:<é@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;x
		S: 250 ok
		C: DATA
		S: 354 go
		C: café
		C: .
		S: 250 ok
		C: QUIT
		S: 221 bye
		eof`, func(conn net.Conn) {
		s, err := run(t, conn, options(), tx)
		require.NoError(t, err)
		s.Quit(context.Background())
		require.Equal(t, "sent, not sent 0 local", fates(tx))
		require.Equal(t, bounce.Status{4, 5, 3}, tx.Rcpts[1].Reply.Status)
		require.Equal(t, 1, s.MaxRcpts())
	})
	// DSN is not asked of a server that does not know it (RFC 3461 §4.1).
	tx = message(text1, "x@example.com")
	tx.Ret, tx.EnvID, tx.Rcpts[0].Notify, tx.Rcpts[0].ORcpt = "FULL", "1", "NEVER", "rfc822;x"
	play(t, hello("PIPELINING")+groupOf1+"S: 250 ok\nS: 550 no\nS: 503 no\neof", func(conn net.Conn) {
		s, err := run(t, conn, options(), tx)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}

// A transaction with more recipients than a group may have goes in groups, not
// chained.
func TestManyRecipients(t *testing.T) {
	many := message(text1)
	for range 300 {
		many.Rcpts = append(many.Rcpts, Rcpt{Addr: "x@example.com"})
	}
	script := hello("PIPELINING", "CHUNKING") + "C: MAIL~\nC: RCPT~\nS: 250 ok\nS: 250 ok\nC: BDAT~\nC: Subject: x\nC:\nC: hi\n--\nS: 250 ok\nC: MAIL~\n"
	replies := transcript("S: 250 ok\n")
	for i := range 300 {
		if i == maxGroup-1 || i == 2*maxGroup-1 {
			script += "--\n" + replies
			replies = ""
		}
		script += "C: RCPT~\n"
		replies += "S: 250 ok\n"
	}
	script += "--\n" + replies + "C: BDAT~\nC: Subject: x\nC:\nC: hi\nS: 250 ok\neof"
	play(t, script, func(conn net.Conn) {
		o := options()
		o.Memory.Form = FormChained
		s, err := run(t, conn, o, message(text1, "x@example.com"), many)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		for i := range many.Rcpts {
			require.Equal(t, Sent, many.Rcpts[i].Fate)
		}
	})
}

// A transaction that was taken for the chain and settled at once still comes
// back in its turn.
func TestLocalInChain(t *testing.T) {
	play(t, hello("PIPELINING", "CHUNKING")+"C: MAIL~\nC: RCPT~\nS: 250 ok\nS: 250 ok\nC: BDAT~\nC: Subject: x\nC:\nC: hi\n--\nS: 250 ok\neof", func(conn net.Conn) {
		o := options()
		o.Memory.Form = FormChained
		bad := message(text1, "<>")
		s, err := run(t, conn, o, message(text1, "x@example.com"), bad, &Transaction{Body: body(text1)})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.Equal(t, "refused 0 local", fates(bad))
	})
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
				s, err := run(t, client, options(), tx)
				require.Error(t, err)
				require.Equal(t, WireBody, tx.Wire)
				require.Equal(t, want, fates(tx))
				require.False(t, s.Alive())
			})
		})
	}
}
