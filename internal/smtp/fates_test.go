package smtp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// receiver is a server that keeps to the rules and remembers what it took.
type receiver struct {
	ext    []string
	taken  map[string]int  // by recipient: messages it said 250 to, or tried to
	ended  map[string]bool // by recipient: the end of its message arrived
	refuse string          // recipients that contain this get 550
	think  time.Duration   // before the answer to a message
}

func (v *receiver) serve(conn net.Conn) {
	defer conn.Close()
	v.taken, v.ended = map[string]int{}, map[string]bool{}
	in := bufio.NewReader(conn)
	var out strings.Builder
	say := func(s string) { out.WriteString(s + "\r\n") }
	defer func() { _, _ = io.WriteString(conn, out.String()) }()
	var rcpts []string
	finish := func() {
		for _, r := range rcpts {
			v.ended[r] = true
			v.taken[r]++
		}
		time.Sleep(v.think) // virtual
		rcpts = nil
		say("250 2.0.0 queued")
	}
	say("220 mx.example ESMTP")
	for {
		if in.Buffered() == 0 {
			if _, err := io.WriteString(conn, out.String()); err != nil {
				return
			}
			out.Reset()
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case "EHLO":
			say("250-mx.example")
			for _, e := range v.ext {
				say("250-" + e)
			}
			say("250 HELP")
		case "RCPT":
			if v.refuse != "" && strings.Contains(arg, v.refuse) {
				say("550 5.1.1 no such user")
				continue
			}
			rcpts = append(rcpts, strings.TrimSuffix(strings.TrimPrefix(arg, "TO:<"), ">"))
			say("250 2.1.5 ok")
		case "DATA":
			if len(rcpts) == 0 {
				say("503 5.5.1 RCPT first")
				continue
			}
			say("354 go")
			if _, err := io.WriteString(conn, out.String()); err != nil {
				return
			}
			out.Reset()
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			finish()
		case "BDAT":
			n, _ := strconv.Atoi(strings.Fields(arg)[0])
			if _, err := io.CopyN(io.Discard, in, int64(n)); err != nil {
				return
			}
			if len(rcpts) == 0 {
				say("503 5.5.1 RCPT first")
				continue
			}
			finish()
		case "RSET":
			rcpts = nil
			say("250 2.0.0 ok")
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// fateForms are all ways in which a transaction can go.
var fateForms = []struct {
	name string
	ext  []string
	mem  Memory
}{
	{"serial", nil, Memory{}},
	{"grouped", []string{"PIPELINING"}, Memory{Settled: true}},
	{"raised", []string{"PIPELINING"}, Memory{}},
	{"chained", []string{"PIPELINING"}, Memory{Form: FormChained}},
	{"serial BDAT", []string{"CHUNKING"}, Memory{}},
	{"grouped BDAT", []string{"PIPELINING", "CHUNKING"}, Memory{Settled: true}},
	{"chained BDAT", []string{"PIPELINING", "CHUNKING"}, Memory{Form: FormChained}},
}

// fateTransactions has a refused recipient, and a transaction of only that.
func fateTransactions() []*Transaction {
	return []*Transaction{
		message("Subject: 1\r\n\r\nx\r\n", "a1@e.example", "no1@e.example"),
		message(".dot\r\n", "no2@e.example"),
		message("Subject: 3\r\n\r\n.y\r\n", "a3@e.example", "b3@e.example"),
		message("Subject: 4\r\n\r\nz\r\n", "a4@e.example"),
	}
}

// TestCutAnywhere breaks the connection after every octet, in both directions,
// and compares the fates with what the server took.
func TestCutAnywhere(t *testing.T) {
	for _, form := range fateForms {
		for _, dir := range []string{"up", "down"} {
			t.Run(form.name+" "+dir, func(t *testing.T) {
				for at := 0; ; at++ {
					whole := false
					synctest.Test(t, func(t *testing.T) {
						up, down := at, -1
						if dir == "down" {
							up, down = -1, at
						}
						v := &receiver{ext: form.ext, refuse: "no", think: time.Minute}
						whole = cutAt(t, v, form.mem, up, down)
					})
					if whole {
						return
					}
					require.Less(t, at, 5000)
				}
			})
		}
	}
}

// cutAt runs one session that breaks. It reports that it did not.
func cutAt(t *testing.T, v *receiver, mem Memory, up, down int) bool {
	client, server := memPair(up, down)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.serve(server)
	}()
	o := options()
	o.Memory = mem
	s, err := Open(context.Background(), client, o)
	if err != nil {
		<-ended
		return false
	}
	txs := fateTransactions()
	q := &queue{todo: txs}
	err = s.Run(context.Background(), q.next, q.done)
	s.Quit(context.Background())
	<-ended

	require.Equal(t, txs[:len(txs)-len(q.todo)], q.back, "each comes back once, in order")
	require.LessOrEqual(t, q.held, 2)
	for i, tx := range q.back {
		for _, r := range tx.Rcpts {
			at := fmt.Sprintf("up %d down %d: transaction %d to %s, %s, %v", up, down, i, r.Addr, tx.Wire, tx.Err)
			switch r.Fate {
			case Sent:
				require.Equal(t, 1, v.taken[r.Addr], at)
			case NotSent:
				require.Zero(t, v.taken[r.Addr], at)
				require.Error(t, tx.Err, at)
			case Refused:
				require.Contains(t, r.Addr, "no", at)
				require.Equal(t, 550, r.Reply.Code, at)
			case Unknown:
				require.Equal(t, -1, up, "the answer can still be read; "+at)
				require.Equal(t, WireDot, tx.Wire, at)
				require.True(t, v.ended[r.Addr], at)
				require.Error(t, tx.Err, at)
			}
		}
		if tx.Wire == WireDot {
			require.True(t, v.ended[tx.Rcpts[0].Addr], "transaction %d", i)
		}
	}
	return err == nil && len(q.back) == len(txs)
}
