package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

// letters are n messages of a campaign to one recipient each, over so many
// domains, with a template.
func letters(from, n, domains int) []*sender.Submission {
	msgs := make([]*sender.Submission, n)
	for i := range msgs {
		k := from + i
		msgs[i] = &sender.Submission{Message: &sender.Message{ID: "spring/" + strconv.Itoa(k), Stream: "news", Campaign: "spring", From: "bounces@example.com",
			To: []string{fmt.Sprintf("user%d@domain%d.example", k, k%domains)}, Template: "spring"},
			Data: []byte(`{"name":"user","number":` + strconv.Itoa(k) + `}`), Due: t0}
	}
	return msgs
}

// BenchmarkSubmit: one op is one recipient.
func BenchmarkSubmit(b *testing.B) {
	for _, workers := range []int{1, 64} {
		b.Run(fmt.Sprintf("single/%d", workers), func(b *testing.B) {
			s := fresh(b)
			var next atomic.Int64
			var wg sync.WaitGroup
			meter := measure(b)
			for range workers {
				wg.Go(func() {
					for {
						i := int(next.Add(1))
						if i > b.N {
							return
						}
						if err := s.Submit(b.Context(), t0, letters(i, 1, 1000)...); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			meter()
		})
	}
	b.Run("batch", func(b *testing.B) {
		s := fresh(b)
		meter := measure(b)
		for i := 0; i < b.N; i += 1000 {
			require.NoError(b, s.Submit(b.Context(), t0, letters(i, min(1000, b.N-i), 1000)...))
		}
		meter()
	})
}

// measure begins the measurement, and what it returns ends it: on a machine that
// does other things too, the processor's time says more than the clock's.
func measure(b *testing.B) (end func()) {
	b.ReportAllocs()
	cpu := cpuTime(b)
	b.ResetTimer()
	return func() {
		b.StopTimer()
		b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "recipients/s")
	}
}

// filled is a spool with n recipients.
func filled(tb testing.TB, path string, n, domains int) *Spool {
	s := openAt(tb, path)
	for i := 0; i < n; i += 1000 {
		require.NoError(tb, s.Submit(tb.Context(), t0, letters(i, min(1000, n-i), domains)...))
	}
	return s
}

// BenchmarkTake: one op is one recipient, of a thousand domains.
func BenchmarkTake(b *testing.B) {
	s := filled(b, filepath.Join(b.TempDir(), "spool.db"), b.N, 1000)
	defer measure(b)()
	for got := 0; got < b.N; {
		taken, _, err := s.Take(b.Context(), "news", t0, 500, func(sender.Line) int { return 20 })
		require.NoError(b, err)
		require.NotEmpty(b, taken)
		got += len(taken)
	}
}

// BenchmarkWrite: one op is one recipient that is marked, ends and is
// acknowledged, in groups of a hundred.
func BenchmarkWrite(b *testing.B) {
	s := filled(b, filepath.Join(b.TempDir(), "spool.db"), b.N, 1000)
	var all []*sender.Taken
	for len(all) < b.N {
		taken, _, err := s.Take(b.Context(), "news", t0, 10000, anyRoom)
		require.NoError(b, err)
		all = append(all, taken...)
	}
	defer measure(b)()
	for len(all) > 0 {
		n := min(100, len(all))
		live(b, s, all[:n])
		all = all[n:]
	}
}

// BenchmarkStream: one op is one recipient from Take to the acknowledgement, as
// the Sender has it for twenty domains when mail is quick: each Write has ten
// marks, the ends of the ten before and the acknowledgements of those before.
func BenchmarkStream(b *testing.B) {
	s := filled(b, filepath.Join(b.TempDir(), "spool.db"), b.N, 20)
	defer measure(b)()
	var queue []*sender.Taken
	var marked, ended []sender.Change
	for left := b.N; left > 0 || len(marked)+len(ended) > 0; {
		if len(queue) == 0 && left > 0 {
			taken, _, err := s.Take(b.Context(), "news", t0, 500, func(sender.Line) int { return 50 })
			require.NoError(b, err)
			queue = taken
			left -= len(taken)
		}
		n := min(10, len(queue))
		var changes, marks []sender.Change
		for _, k := range queue[:n] {
			mark, end := changesOf(k)
			changes, marks = append(changes, mark), append(marks, end)
		}
		queue = queue[n:]
		for _, c := range ended {
			changes = append(changes, sender.Change{Kind: sender.Acknowledged, Seq: c.Seq})
		}
		changes = append(changes, marked...)
		require.NoError(b, s.Write(b.Context(), t0, changes))
		ended = changes[len(changes)-len(marked):]
		marked = marks
	}
}

// changesOf are the mark and the end of a recipient that is delivered.
func changesOf(k *sender.Taken) (mark, end sender.Change) {
	id := k.Recipients[0].ID
	return sender.Change{Kind: sender.Sending, ID: id},
		sender.Change{Kind: sender.EndedNow, ID: id, Result: &sender.Result{Message: k.Message, Recipient: k.Message.To[0], Outcome: sender.Sent,
			Site: "mx.domain.example", Source: "a", Attempts: 1, Elapsed: time.Second,
			Reply: bounce.Reply{Stage: bounce.StageBody, Code: 250, Status: bounce.Status{2, 0, 0}, Text: "OK queued as 4XkqP2", Host: "mx.domain.example"}}}
}

// live writes what the Sender writes of recipients that are delivered.
func live(tb testing.TB, s *Spool, taken []*sender.Taken) {
	marks := make([]sender.Change, len(taken))
	ends := make([]sender.Change, len(taken))
	acks := make([]sender.Change, len(taken))
	for i, k := range taken {
		marks[i], ends[i] = changesOf(k)
	}
	require.NoError(tb, s.Write(tb.Context(), t0, marks))
	require.NoError(tb, s.Write(tb.Context(), t0, ends))
	for i := range acks {
		acks[i] = sender.Change{Kind: sender.Acknowledged, Seq: ends[i].Seq}
	}
	require.NoError(tb, s.Write(tb.Context(), t0, acks))
}

// rss is the resident memory of this process in MB, 0 where that is not known.
func rss() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return float64(kb) / 1024
		}
	}
	return 0
}

// BenchmarkOpen opens a spool with so many recipients and takes the first.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []struct{ n, domains int }{{10_000, 1000}, {100_000, 10_000}, {1_000_000, 1000}, {1_000_000, 100_000}} {
		b.Run(fmt.Sprintf("%d/%d", size.n, size.domains), func(b *testing.B) {
			if testing.Short() && size.n > 10_000 {
				b.Skip("takes its time")
			}
			path := filepath.Join(b.TempDir(), "spool.db")
			begin := time.Now()
			require.NoError(b, filled(b, path, size.n, size.domains).Close())
			submitted := float64(size.n) / time.Since(begin).Seconds()
			info, err := os.Stat(path)
			require.NoError(b, err)
			runtime.GC()
			b.ResetTimer()
			for range b.N {
				s, err := Open(path, nil)
				require.NoError(b, err)
				taken, _, err := s.Take(b.Context(), "news", t0, 1000, anyRoom)
				require.NoError(b, err)
				require.Len(b, taken, 1000)
				b.ReportMetric(rss(), "MB-resident")
				require.NoError(b, s.Close())
			}
			b.ReportMetric(submitted, "submitted/s")
			b.ReportMetric(float64(info.Size())/float64(size.n), "B/recipient")
		})
	}
}
