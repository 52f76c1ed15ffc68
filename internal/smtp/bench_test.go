package smtp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkSession sends 30 KB messages over one connection on loopback to a
// receiver in the same process that only counts octets.
func BenchmarkSession(b *testing.B) {
	lines := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 390)
	dotted := strings.Repeat(strings.Repeat("x", 76)+"\r\n.a {}\r\n", 350)
	for _, bb := range []struct {
		name string
		ext  string
		mem  Memory
		msg  string
	}{
		{"serial", "", Memory{}, lines},
		{"grouped", "PIPELINING", Memory{Settled: true}, lines},
		{"chained", "PIPELINING", Memory{Form: FormChained}, lines},
		{"chained-stuffed", "PIPELINING", Memory{Form: FormChained}, dotted},
		{"bdat", "PIPELINING\r\n250-CHUNKING", Memory{Settled: true}, lines},
		{"bdat-chained", "PIPELINING\r\n250-CHUNKING", Memory{Form: FormChained}, lines},
	} {
		b.Run(bb.name, func(b *testing.B) {
			conn := dialSink(b, bb.ext, false)
			o := options()
			o.Memory = bb.mem
			s, err := Open(context.Background(), conn, o)
			require.NoError(b, err)
			defer s.Quit(context.Background())
			free := []*Transaction{message(bb.msg, "x@example.com"), message(bb.msg, "y@example.com")}
			sent, n := 0, b.N
			next := func(bool) *Transaction {
				if n == 0 {
					return nil
				}
				n--
				tx := free[len(free)-1]
				free = free[:len(free)-1]
				return tx
			}
			done := func(tx *Transaction) {
				if tx.Rcpts[0].Fate == Sent {
					sent++
				}
				free = append(free, tx)
			}
			b.ReportAllocs()
			b.ResetTimer()
			require.NoError(b, s.Run(context.Background(), next, done))
			b.StopTimer()
			require.Equal(b, b.N, sent)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkPieces does the same against a receiver that sends each reply of a
// group by itself under Nagle's algorithm, as Haraka does: without an immediate
// acknowledgement every message waits 40 ms for a delayed one.
func BenchmarkPieces(b *testing.B) {
	for _, mem := range []Memory{{Settled: true}, {Form: FormChained}} {
		b.Run(map[Form]string{FormGrouped: "grouped", FormChained: "chained"}[mem.Form], func(b *testing.B) {
			conn := dialSink(b, "PIPELINING", true)
			o := options()
			o.Memory = mem
			s, err := Open(context.Background(), conn, o)
			require.NoError(b, err)
			defer s.Quit(context.Background())
			n := b.N
			require.NoError(b, s.Run(context.Background(), func(bool) *Transaction {
				if n--; n < 0 {
					return nil
				}
				return message(text1, "x@example.com")
			}, func(tx *Transaction) { require.Equal(b, Sent, tx.Rcpts[0].Fate) }))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// dialSink connects to a receiver that takes everything.
func dialSink(t testing.TB, ext string, pieces bool) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetNoDelay(!pieces)
		(&sink{conn: c, ext: ext, pieces: pieces, in: make([]byte, 64<<10)}).serve()
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		l.Close()
		conn.Close()
		<-ended
	})
	return conn
}

// sink answers each piece of input in one write, as RFC 2920 asks.
type sink struct {
	conn io.ReadWriter
	ext  string
	in   []byte

	pieces bool // send each reply by itself
	r, w   int
	out    []byte
}

func (k *sink) fill() bool {
	for k.pieces && bytes.Count(k.out, []byte("\n")) > 1 {
		n := bytes.IndexByte(k.out, '\n') + 1
		if _, err := k.conn.Write(k.out[:n]); err != nil {
			return false
		}
		k.out = append(k.out[:0], k.out[n:]...)
	}
	if len(k.out) > 0 {
		if _, err := k.conn.Write(k.out); err != nil {
			return false
		}
		k.out = k.out[:0]
	}
	k.w = copy(k.in, k.in[k.r:k.w])
	k.r = 0
	n, err := k.conn.Read(k.in[k.w:])
	k.w += n
	return err == nil
}

// until skips to behind end and returns what was before it.
func (k *sink) until(end string, keep int) ([]byte, bool) {
	for {
		if i := bytes.Index(k.in[k.r:k.w], []byte(end)); i >= 0 {
			got := k.in[k.r : k.r+i]
			k.r += i + len(end)
			return got, true
		}
		k.r = max(k.r, k.w-keep)
		if !k.fill() {
			return nil, false
		}
	}
}

func (k *sink) skip(n int) bool {
	for n > k.w-k.r {
		n -= k.w - k.r
		k.r = k.w
		if !k.fill() {
			return false
		}
	}
	k.r += n
	return true
}

func (k *sink) serve() {
	k.out = append(k.out, "220 sink\r\n"...)
	for {
		line, ok := k.until("\r\n", len(k.in))
		if !ok {
			return
		}
		switch string(line[:4]) {
		case "EHLO":
			k.out = fmt.Appendf(k.out, "250-sink\r\n250-%s\r\n250 SIZE\r\n", k.ext)
		case "DATA":
			k.out = append(k.out, "354 go\r\n"...)
			if _, ok = k.until("\r\n.\r\n", 4); !ok {
				return
			}
			k.out = append(k.out, "250 2.0.0 ok\r\n"...)
		case "BDAT":
			size, _, _ := bytes.Cut(line[5:], []byte(" "))
			n := 0
			for _, c := range size { // without an allocation
				n = 10*n + int(c-'0')
			}
			if !k.skip(n) {
				return
			}
			k.out = append(k.out, "250 2.0.0 ok\r\n"...)
		case "QUIT":
			k.out = append(k.out, "221 bye\r\n"...)
			k.fill()
			return
		default:
			k.out = append(k.out, "250 2.0.0 ok\r\n"...)
		}
	}
}
