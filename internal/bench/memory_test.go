//go:build unix

package bench

import (
	"context"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/internal/bench/msg"
	"github.com/volleymail/volley/internal/bench/sink"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/throttle"
)

// patience bounds each wait.
const patience = 2 * time.Minute

// inUse is the memory in use after a collection: heap and stacks.
func inUse() float64 {
	runtime.GC()
	runtime.GC() // the second empties what the first left in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// until polls done, with a bound.
func until(b testing.TB, what string, done func() bool) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// start sends the messages in the background. The func it returns ends that
// and returns how many results there were.
func start(s *sender.Sender, msgs []*sender.Message) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan int)
	go func() {
		n := 0
		for range s.Send(ctx, slices.Values(msgs)) {
			n++
		}
		results <- n
	}()
	return func() int {
		cancel()
		return <-results
	}
}

// BenchmarkWaiting is the memory held for each recipient that waits, beyond the
// caller's message: a million, as its destination takes one message a month.
func BenchmarkWaiting(b *testing.B) {
	n := scale(1_000_000)
	msgs := campaign(n)
	limits := throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: 30 * 24 * time.Hour}}}
	for range b.N {
		r := startSink(b, sink.Options{})
		before := inUse()
		s := newSender(b, r.addr, limits, nil)
		stop := start(s, msgs)
		until(b, "the queue", func() bool {
			queued := 0
			for _, d := range s.Snapshot().Destinations {
				queued += d.Queued
			}
			return queued >= n-1
		})
		held := inUse() - before
		require.Equal(b, n, stop())
		shutdown(b, s)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(held/float64(n), "B/recipient")
		runtime.KeepAlive(msgs)
	}
}

// bodyConn tells once that a body went out on it.
type bodyConn struct {
	net.Conn
	written atomic.Int64
	told    atomic.Bool
	bodies  *atomic.Int64 // connections that have told
}

func (c *bodyConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.written.Add(int64(n)) > msg.Size && c.told.CompareAndSwap(false, true) {
		c.bodies.Add(1)
	}
	return n, err
}

// BenchmarkConnection is the memory for each open connection that waits for
// the answer to a message.
func BenchmarkConnection(b *testing.B) {
	conns := scale(500)
	msgs := campaign(20 * conns)
	for range b.N {
		r := startSink(b, sink.Options{RTT: 2 * time.Second})
		before := inUse()
		var bodies atomic.Int64
		cfg := config(r.addr, throttle.Limits{Conns: conns, Messages: -1}, nil)
		cfg.Window = 2 * conns
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dial(ctx, network, addr)
			return &bodyConn{Conn: nc, bodies: &bodies}, err
		}
		s, err := sender.New(cfg)
		require.NoError(b, err)
		stop := start(s, msgs)
		until(b, "a body on each connection", func() bool { return bodies.Load() == int64(conns) })
		held := inUse() - before
		stop()
		shutdown(b, s)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(held/float64(conns), "B/conn")
		runtime.KeepAlive(msgs)
	}
}

// BenchmarkAllocations is the number of allocations for each message, from
// Send to its Result.
func BenchmarkAllocations(b *testing.B) {
	for _, tt := range []struct {
		name   string
		signer sender.Signer
	}{{"unsigned", nil}, {"signed", newSigner(b)}} {
		b.Run(tt.name, func(b *testing.B) {
			n := scale(5_000)
			msgs := campaign(n)
			r := startSink(b, sink.Options{})
			for range b.N {
				s := newSender(b, r.addr, fast(10), tt.signer)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				sendAll(b, s, msgs)
				runtime.ReadMemStats(&after)
				shutdown(b, s)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(n), "allocs/msg")
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n), "B/msg")
			}
		})
	}
}
