//go:build unix

// Package bench compares Volley with what it is measured by, in one run, so
// that the ratios hold on any machine. See CONTRIBUTING.md for the command.
package bench

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/internal/bench/sink"
)

// scale returns full, or a fiftieth of it with -short, where the figures mean
// nothing and only the working counts.
func scale(full int) int {
	if testing.Short() {
		return max(1, full/50)
	}
	return full
}

// median of the values.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// compare runs ours and theirs in turn, nine rounds after one that does not
// count, and reports the medians of their rates and of the rounds' ratios:
// what else the machine does then falls on both.
func compare(b *testing.B, ours, theirs func() float64) {
	b.Helper()
	rounds := 9
	if testing.Short() {
		rounds = 1
	} else {
		ours()
		theirs()
	}
	var a, z, ratios []float64
	for i := range rounds {
		runtime.GC()
		a = append(a, ours())
		runtime.GC()
		z = append(z, theirs())
		ratios = append(ratios, a[i]/z[i])
	}
	b.Logf("ours %.0f, theirs %.0f, ratios %.2f", a, z, ratios)
	b.ReportMetric(0, "ns/op") // says nothing here
	b.ReportMetric(median(a), "msg/s")
	b.ReportMetric(median(z), "reference/s")
	b.ReportMetric(median(ratios), "ratio")
}

// receivers by what they offer.
var receivers = []struct {
	name    string
	without []string
}{
	{"CHUNKING", nil},
	{"PIPELINING", []string{"CHUNKING"}},
	{"neither", []string{"CHUNKING", "PIPELINING"}},
}

// BenchmarkUnsigned is the rate of Send over ten connections against that of
// smtp-source -d -s 10, into the same sink.
func BenchmarkUnsigned(b *testing.B) {
	for _, tt := range receivers {
		b.Run(tt.name, func(b *testing.B) {
			n := scale(10_000)
			r := startSink(b, sink.Options{Without: tt.without})
			msgs := campaign(n)
			for range b.N {
				compare(b, func() float64 {
					s := newSender(b, r.addr, fast(10), nil)
					defer shutdown(b, s)
					return r.measure(b, n, func() { sendAll(b, s, msgs) })
				}, func() float64 {
					return r.measure(b, n, func() { smtpSource(b, r.addr, n) })
				})
			}
		})
	}
}

// BenchmarkSigned is the rate of Send with RSA-2048 against the rate at which
// crypto/rsa alone signs on all processors.
func BenchmarkSigned(b *testing.B) {
	n := scale(1_000)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	signer := newSigner(b)
	r := startSink(b, sink.Options{})
	msgs := campaign(n)
	for range b.N {
		compare(b, func() float64 {
			s := newSender(b, r.addr, fast(10), signer)
			defer shutdown(b, s)
			return r.measure(b, n, func() { sendAll(b, s, msgs) })
		}, func() float64 { return signRate(b, key, n) })
	}
}

// signRate makes n bare signatures on all processors and returns their rate.
func signRate(b *testing.B, key *rsa.PrivateKey, n int) float64 {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var workers sync.WaitGroup
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			digest := make([]byte, crypto.SHA256.Size())
			for left.Add(-1) >= 0 {
				if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkRoundTrip is how many messages one connection carries for each
// round trip of 50 ms.
func BenchmarkRoundTrip(b *testing.B) {
	const rtt = 50 * time.Millisecond
	for _, tt := range receivers {
		b.Run(tt.name, func(b *testing.B) {
			n := scale(200)
			r := startSink(b, sink.Options{RTT: rtt, Without: tt.without})
			msgs := campaign(n)
			for range b.N {
				s := newSender(b, r.addr, fast(1), nil)
				rate := r.measure(b, n, func() { sendAll(b, s, msgs) })
				shutdown(b, s)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(rate, "msg/s")
				b.ReportMetric(rate*rtt.Seconds(), "msg/rtt")
			}
		})
	}
}
