package smtp

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	groupOf1 = "C: MAIL FROM:<a@client.example>\nC: RCPT TO:<x@example.com>\nC: DATA\n"
	lines1   = "C: Subject: x\nC:\nC: hi\nC: .\n"
	chainOf2 = "C: MAIL~\nC: RCPT~\nS: 250 ok\nS: 250 ok\nC: BDAT~\nC: Subject: x\nC:\nC: hi\nC: MAIL~\nC: RCPT~\n"
	text1    = "Subject: x\r\n\r\nhi\r\n"
)

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
