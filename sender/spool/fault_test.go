//go:build unix

package spool_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/spool"
	"github.com/volleymail/volley/sender/spool/internal/faultvfs"
)

// step 1 fails each call, which takes minutes.
var step = flag.Int64("step", 60, "TestFaultSweep fails one call out of so `many`")

// TestFaultSweep fails each call in turn, in a scenario that has all that a
// spool does. What the scenario was told is true when the power goes at its
// end, and the same Spool did all that was asked of it in the end.
func TestFaultSweep(t *testing.T) {
	once := func(err error, kinds ...faultvfs.Kind) func(int64) faultvfs.Rule {
		return func(n int64) faultvfs.Rule { return faultvfs.Nth(n, err, kinds...) }
	}
	for name, rule := range map[string]func(n int64) faultvfs.Rule{
		"EIO once":     once(faultvfs.ErrIO, faultvfs.Changes...),
		"ENOSPC once":  once(faultvfs.ErrNoSpace, faultvfs.Create, faultvfs.Write, faultvfs.Sync, faultvfs.Share),
		"EIO reading":  once(faultvfs.ErrIO, faultvfs.Read),
		"EIO lasts":    func(n int64) faultvfs.Rule { return lasts(n, faultvfs.ErrIO) },
		"ENOSPC lasts": func(n int64) faultvfs.Rule { return lasts(n, faultvfs.ErrNoSpace) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			every := *step
			if testing.Short() {
				every *= 4
			}
			for n := 1 + rand.Int64N(every); ; n += every {
				if !sweep(t, n, rule(n)) {
					t.Logf("%d calls", n-1)
					require.Greater(t, n, int64(100))
					return
				}
			}
		})
	}
}

// TestPowerLossOnFailingDisk is TestPowerLoss with a disk that fails now and then.
func TestPowerLossOnFailingDisk(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(seed, 0)) // guarded by mu
			manyLives(t, 1000+seed, func(op faultvfs.Op) faultvfs.Fault {
				mu.Lock()
				defer mu.Unlock()
				if rng.IntN(40) > 0 || op.Kind == faultvfs.Open {
					return faultvfs.Fault{}
				}
				return faultvfs.Fault{Err: []error{faultvfs.ErrIO, faultvfs.ErrNoSpace}[rng.IntN(2)]}
			}, func(err error) bool {
				var e *spool.Error
				return errors.As(err, &e) && e.Kind != nil
			})
		})
	}
}

// lasts fails all changes from the nth on.
func lasts(n int64, err error) faultvfs.Rule {
	var seen atomic.Int64
	return func(op faultvfs.Op) faultvfs.Fault {
		if !slices.Contains(faultvfs.Changes, op.Kind) || seen.Add(1) < n {
			return faultvfs.Fault{}
		}
		if err == faultvfs.ErrNoSpace && op.Grow <= 0 && op.Kind != faultvfs.Sync {
			return faultvfs.Fault{}
		}
		return faultvfs.Fault{Err: err}
	}
}

// patience is how often the scenario tries before the disk is mended, and then
// again before it gives up.
const patience = 3

// later is how many calls after the fault a sweep lets the power go.
const later = 20

// sweep goes through the scenario, and says whether there was a fault. The
// power goes at the first error, or soon after, or at the end.
func sweep(t *testing.T, n int64, rule faultvfs.Rule) bool {
	t.Helper()
	disk, err := faultvfs.New(t.TempDir())
	require.NoError(t, err)
	defer disk.Close()
	known := newLedger()
	var hit faultvfs.Op
	var at [3]*moment
	take := func(i int) {
		if at[i] == nil {
			at[i] = &moment{op: hit, ledger: known.clone(), state: disk.State()}
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("call %d: %+v", n, hit)
		}
	}()
	var mu sync.Mutex // hit, since, and at[1]
	since := 0
	watched := func(rule faultvfs.Rule) faultvfs.Rule {
		return func(op faultvfs.Op) faultvfs.Fault {
			fault := rule(op)
			mu.Lock()
			defer mu.Unlock()
			if since == 0 && fault.Err != nil {
				hit = op
			}
			if since > 0 || fault.Err != nil {
				since++
			}
			if since == later {
				take(1)
			}
			return fault
		}
	}
	disk.SetRule(watched(rule))
	errs := 0
	again := func(err error) bool {
		take(0)
		var e *spool.Error
		require.ErrorAs(t, err, &e)
		require.NotNil(t, e.Kind, "%v", err)
		if errs++; errs == patience {
			disk.SetRule(watched(faultvfs.Sound))
		}
		require.LessOrEqual(t, errs, 2*patience, "it does not recover: %v", err)
		return true
	}
	scenario(t, filepath.Join(disk.Dir(), fileName), known, again)
	take(2)
	m := at[n%3]
	if m == nil {
		m = at[2]
	}
	wake(t, *m, []faultvfs.Loss{faultvfs.Unsynced, faultvfs.Some}[n%2], uint64(n))
	return since > 0
}

// scenario does in turn all that one does with a spool, twice.
func scenario(t *testing.T, path string, known *ledger, again func(error) bool) {
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(1, 1))
	open := func() *spool.Spool {
		for {
			s, err := spool.Open(path, nil)
			if err == nil {
				return s
			}
			again(err)
		}
	}
	for round := range 2 {
		s := open()
		l := &load{q: s, ledger: known, life: fmt.Sprint("round", round), again: again}
		k := &keeper{load: l, rng: rng}
		turns := func(n int) func() bool { return func() bool { n--; return n < 0 } }
		l.produce(ctx, "a", rng, turns(2))
		for range 2 {
			k.now = known.pass(time.Hour)
			for _, step := range []func(context.Context) bool{k.take, k.mark, k.end, k.acknowledge} {
				require.True(t, step(ctx))
			}
			l.produce(ctx, fmt.Sprint("b", k.now.Hour()), rng, turns(1))
		}
		l.cancel(ctx, rng, turns(1))
		l.save(ctx, turns(2))
		l.reschedule(ctx, rng)
		if err := s.Close(); err != nil {
			again(err)
		}
	}
}

// TestFullDisk: while the disk is full all that would write says so, and the
// same Spool goes on when there is room. Nothing that it accepted is lost.
func TestFullDisk(t *testing.T) {
	disk, err := faultvfs.New(t.TempDir())
	require.NoError(t, err)
	defer disk.Close()
	path := filepath.Join(disk.Dir(), fileName)
	s, err := spool.Open(path, nil)
	require.NoError(t, err)
	known := newLedger()
	var mu sync.Mutex
	var full, turns int
	l := &load{q: s, ledger: known, life: "full", again: func(err error) bool {
		mu.Lock()
		defer mu.Unlock()
		if full++; full == 20 {
			disk.SetRule(faultvfs.Sound) // there is room
		}
		if !errors.Is(err, spool.ErrFull) {
			t.Errorf("not a full disk: %v", err)
		}
		return !t.Failed()
	}}
	disk.SetRule(faultvfs.Space(400_000))
	l.run(t.Context(), 1, func() bool {
		mu.Lock()
		defer mu.Unlock()
		if full >= 20 {
			turns++
		}
		return turns > 60
	})
	require.GreaterOrEqual(t, full, 20)
	wake(t, moment{ledger: known.clone(), state: disk.State()}, faultvfs.Unsynced, 1)
	require.NoError(t, s.Close())
}

// TestReadsWhileFull: what needs no room works, and the errors say what is wrong.
func TestReadsWhileFull(t *testing.T) {
	for name, test := range map[string]struct {
		rule faultvfs.Rule
		kind error
		says string
	}{
		"full":      {faultvfs.Space(0), spool.ErrFull, "disk is full"},
		"failing":   {lasts(1, faultvfs.ErrIO), spool.ErrIO, "disk failed"},
		"read-only": {faultvfs.ReadOnly, spool.ErrIO, "disk failed"}, // SQLite does not say that it is EROFS
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			disk, err := faultvfs.New(t.TempDir())
			require.NoError(t, err)
			defer disk.Close()
			path := filepath.Join(disk.Dir(), fileName)
			s, err := spool.Open(path, nil)
			require.NoError(t, err)
			rng := rand.New(rand.NewPCG(1, 1))
			known := newLedger()
			l := &load{q: s, ledger: known, life: name}
			require.True(t, l.submit(ctx, submission("one", "", rng)))
			require.NoError(t, s.Save(ctx, saveName, []byte("7")))
			known.done(known.begin(true, map[pair]fate{savePair: {stage: saved, seq: 7}}), nil)
			k := &keeper{load: l, rng: rng, now: known.pass(5 * time.Hour)}
			require.True(t, k.take(ctx))
			require.NotEmpty(t, k.held)

			disk.SetRule(test.rule)
			fails := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, test.kind)
				require.ErrorContains(t, err, path)
				require.ErrorContains(t, err, test.says)
			}
			fails(s.Submit(ctx, start, submission("two", "", rng)))
			fails(s.Write(ctx, start, []sender.Change{{Kind: sender.Sending, ID: k.held[0].ID}}))
			fails(s.Save(ctx, saveName, []byte("8")))
			list, err := s.List(ctx, sender.Selection{}, 0, 10)
			require.NoError(t, err)
			require.Len(t, list, len(k.held))
			value, err := s.Load(ctx, saveName)
			require.NoError(t, err)
			require.Equal(t, "7", string(value))
			wake(t, moment{ledger: known.clone(), state: disk.State()}, faultvfs.Unsynced, 1)

			disk.SetRule(faultvfs.Sound)
			require.True(t, l.submit(ctx, submission("two", "", rng)))
			require.True(t, k.mark(ctx))
			wake(t, moment{ledger: known.clone(), state: disk.State()}, faultvfs.Unsynced, 1)
			require.NoError(t, s.Close())
		})
	}
}

// TestOpenReadOnly: a file that cannot be written is refused, and not touched.
func TestOpenReadOnly(t *testing.T) {
	disk, err := faultvfs.New(t.TempDir())
	require.NoError(t, err)
	defer disk.Close()
	path := filepath.Join(disk.Dir(), fileName)
	s, err := spool.Open(path, nil)
	require.NoError(t, err)
	require.NoError(t, s.Save(t.Context(), saveName, []byte("7")))
	require.NoError(t, s.Close())
	disk.SetRule(faultvfs.ReadOnly)
	_, err = spool.Open(path, nil)
	var e *spool.Error
	require.ErrorAs(t, err, &e)
	require.ErrorContains(t, err, path)
	disk.SetRule(faultvfs.Sound)
	s, err = spool.Open(path, nil)
	require.NoError(t, err)
	value, err := s.Load(t.Context(), saveName)
	require.NoError(t, err)
	require.Equal(t, "7", string(value))
	require.NoError(t, s.Close())
}
