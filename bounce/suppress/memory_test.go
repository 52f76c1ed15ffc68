package suppress_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/bounce/suppress"
	"github.com/volleymail/volley/bounce/suppress/suppresstest"
	"github.com/volleymail/volley/sender"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The Sender can ask a List.
var _ sender.Suppression = (*suppress.List)(nil)

func TestMemory(t *testing.T) {
	suppresstest.TestStore(t, func(*testing.T) suppress.Store { return suppress.NewMemory() })
}

func TestMemoryLen(t *testing.T) {
	m := suppress.NewMemory()
	l, err := suppress.New(m, nil)
	require.NoError(t, err)
	for _, a := range []string{"a@b.example", "A@b.example", "c@b.example"} {
		require.NoError(t, l.Add(t.Context(), suppress.Entry{Address: a, Cause: suppress.Manual}))
	}
	require.Equal(t, 2, m.Len())
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// BenchmarkMemory says what a million entries take.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		before := heap()
		m := suppress.NewMemory()
		batch := make([]suppress.Entry, 0, 1000)
		for i := range n {
			batch = append(batch, suppress.Entry{Address: fmt.Sprintf("firstname.lastname%d@example%d.com", i, i%1000),
				Cause: suppress.HardBounce, Category: bounce.InvalidMailbox, Source: "generic/user-unknown", Time: time.Unix(int64(i), 0)})
			if len(batch) == cap(batch) {
				require.NoError(b, m.Put(b.Context(), batch))
				batch = batch[:0]
			}
		}
		b.ReportMetric(float64(heap()-before)/n, "B/entry")
		require.Equal(b, n, m.Len())
	}
}

func benchmarkList(b *testing.B) *suppress.List {
	l, err := suppress.New(suppress.NewMemory(), nil)
	require.NoError(b, err)
	for i := range 100_000 {
		require.NoError(b, l.Add(b.Context(), suppress.Entry{Address: fmt.Sprintf("user%d@example.com", i), Cause: suppress.Manual}))
	}
	return l
}

func BenchmarkSuppressed(b *testing.B) {
	l := benchmarkList(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, yes, err := l.Suppressed(b.Context(), "somebody.else@example.com", "news"); yes || err != nil {
			b.Fatal(yes, err)
		}
	}
}
