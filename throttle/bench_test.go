package throttle

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func twoWindows() Controller {
	return MustNew(Limits{Rates: []Rate{{20, time.Second}, {5000, time.Hour}}})
}

func TestNoAllocations(t *testing.T) {
	c := All(twoWindows(), MustNew(Limits{Rates: []Rate{{50, time.Second}}, Burst: 5, ConnRate: Rate{9, time.Second}}))
	now := noon
	work := func() {
		now = c.Next(now)
		c.Take(now)
		c.Conns(now)
		c.Observe(now, Feedback{Event: Opening})
		c.(Settler).Settled(now)
	}
	for range 10_000 { // until the budgets have their size
		work()
	}
	require.Zero(t, testing.AllocsPerRun(1000, work))
}

func BenchmarkNextTake(b *testing.B) {
	b.ReportAllocs()
	c, now := twoWindows(), time.Now()
	for b.Loop() {
		now = c.Next(now)
		c.Take(now)
	}
}

func BenchmarkNext(b *testing.B) {
	b.ReportAllocs()
	c, now := twoWindows(), time.Now()
	c.Take(now)
	for b.Loop() {
		c.Next(now)
	}
}

// BenchmarkMemory reports the bytes that a Controller holds: new, and when the
// budget of an hour has its full size.
func BenchmarkMemory(b *testing.B) {
	for _, starts := range []int{1, 5000} {
		b.Run(fmt.Sprintf("starts=%d", starts), func(b *testing.B) {
			const count = 1000
			controllers := make([]Controller, count)
			for b.Loop() {
				clear(controllers)
				before := heap()
				for i := range controllers {
					controllers[i] = twoWindows()
					run(controllers[i], starts)
				}
				b.ReportMetric(float64(heap()-before)/count, "B/destination")
			}
			runtime.KeepAlive(controllers)
		})
	}
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
