package smtp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

// A transcript is what a scripted server hears and says, one step a line:
//
//	C: text     the client sends this line; ~ at its end stands for anything
//	S: text     the server sends this line; lines in a row go in one write
//	R: text     the server sends these octets, with Go's escapes
//	--          the client is quiet now: it has sent nothing more
//	sleep 5m    the server waits
//	close       the server closes
//	eof         the client has closed
type transcript string

// serve plays the server. It runs in a synctest bubble.
func (tr transcript) serve(t *testing.T, conn *memConn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	var out strings.Builder
	send := func() {
		_, _ = conn.Write([]byte(out.String()))
		out.Reset()
	}
	for n, line := range strings.Split(strings.TrimSpace(string(tr)), "\n") {
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verb != "S:" && verb != "" {
			send()
		}
		switch verb {
		case "":
		case "S:":
			out.WriteString(arg + "\r\n")
		case "R:":
			raw, err := strconv.Unquote(`"` + arg + `"`)
			assert.NoError(t, err)
			_, _ = conn.Write([]byte(raw))
		case "C:":
			got, err := in.ReadString('\n')
			if !assert.NoError(t, err, "line %d: wanted %q, got %q", n+1, arg, got) {
				return
			}
			got = strings.TrimSuffix(got, "\r\n")
			if prefix, open := strings.CutSuffix(arg, "~"); open && strings.HasPrefix(got, prefix) {
				continue
			}
			if !assert.Equal(t, arg, got, "line %d", n+1) {
				return
			}
		case "--":
			synctest.Wait()
			peeked, _ := in.Peek(in.Buffered())
			assert.Empty(t, string(peeked)+conn.unread(), "line %d: client is not quiet", n+1)
		case "sleep":
			d, err := time.ParseDuration(arg)
			assert.NoError(t, err)
			time.Sleep(d) // virtual
		case "close":
			return
		case "eof":
			rest, err := in.ReadString('\n')
			assert.Error(t, err, "line %d: client still says %q", n+1, rest)
		default:
			assert.Fail(t, "bad step", "%s", line)
		}
	}
	send()
}

// play runs client against a server that follows the transcript.
func play(t *testing.T, tr transcript, client func(conn net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, s := memPair(-1, -1)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			tr.serve(t, s)
		}()
		client(c)
		_ = c.Close()
		<-ended
	})
}

// hello is the beginning of a transcript, of a server with these extensions.
func hello(extensions ...string) transcript {
	s := "S: 220 mx.example ESMTP\nC: EHLO client.example\n"
	lines := append([]string{"mx.example"}, extensions...)
	for i, e := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		s += "S: 250" + sep + e + "\n"
	}
	return transcript(s)
}

func options() *Options {
	return &Options{Hello: "client.example", Host: "mx.example"}
}

// body makes a Body of a message.
func body(msg string) *Body {
	b := &Body{Buf: make([]byte, Headroom, Headroom+len(msg)+512), Start: Headroom}
	b.Buf = append(b.Buf, msg...)
	b.Dots = strings.HasPrefix(msg, ".") || strings.Contains(msg, "\n.")
	for _, c := range []byte(msg) {
		b.EightBit = b.EightBit || c > 127
	}
	return b
}

// message makes a Transaction from a@client.example.
func message(msg string, to ...string) *Transaction {
	tx := &Transaction{From: "a@client.example", Body: body(msg)}
	for _, a := range to {
		tx.Rcpts = append(tx.Rcpts, Rcpt{Addr: a})
	}
	return tx
}

// queue gives transactions to Run and takes them back.
type queue struct {
	todo []*Transaction
	back []*Transaction
	held int // the most that were out at a time
	out  int
}

func (q *queue) next(bool) *Transaction {
	if len(q.todo) == 0 {
		return nil
	}
	tx := q.todo[0]
	q.todo = q.todo[1:]
	q.out++
	q.held = max(q.held, q.out)
	return tx
}

func (q *queue) done(tx *Transaction) {
	q.out--
	q.back = append(q.back, tx)
}

// run opens a session and runs the transactions, which must all come back once
// and in order.
func run(t *testing.T, conn net.Conn, o *Options, txs ...*Transaction) (*Session, error) {
	t.Helper()
	s, err := Open(context.Background(), conn, o)
	require.NoError(t, err)
	q := &queue{todo: txs}
	err = s.Run(context.Background(), q.next, q.done)
	require.Equal(t, txs[:len(txs)-len(q.todo)], q.back)
	return s, err
}

// fates says in short what became of the recipients.
func fates(tx *Transaction) string {
	var b []string
	for _, r := range tx.Rcpts {
		s := r.Fate.String()
		if r.Fate != Sent {
			s += fmt.Sprintf(" %d", r.Reply.Code)
			if r.Reply.Stage != bounce.StageNone {
				s += " " + r.Reply.Stage.String()
			}
		}
		b = append(b, s)
	}
	return strings.Join(b, ", ")
}
