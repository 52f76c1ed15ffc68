package spool

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
)

// crashed opens what a crash would leave.
func crashed(t *testing.T, s *Spool) *Spool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crashed.db")
	for _, part := range []string{"", "-wal", "-log"} {
		copyFile(t, s.path+part, path+part)
	}
	return openAt(t, path)
}

// TestSeqAfterRollback: a result whose transaction was tried twice has a Seq that no
// other gets when the spool is opened anew.
func TestSeqAfterRollback(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	s := filled(t, path, 2, 1)
	taken := takeAll(t, s, t0)
	_, end := changesOf(taken[0])
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{end}))
	refused := errors.New("refused")
	require.ErrorIs(t, s.write(t.Context(), &request{apply: func(*tx) error { return refused }}), refused)
	require.NoError(t, s.flush(t.Context()))
	require.NoError(t, s.Close())

	s = openAt(t, path)
	taken = takeAll(t, s, t0)
	require.Len(t, taken, 1)
	ends := make([]sender.Change, 1)
	_, ends[0] = changesOf(taken[0])
	require.NoError(t, s.Write(t.Context(), t0, ends))
	require.EqualValues(t, 2, ends[0].Seq)
	require.NoError(t, s.flush(t.Context()))
}

// TestLaterToSamePlace: a mark that Later took back does not come back with a place
// in the line that the recipient has got again.
func TestLaterToSamePlace(t *testing.T) {
	ctx := t.Context()
	for name, later := range map[string]func(s *Spool, id int64){
		"same due": func(s *Spool, id int64) {
			require.NoError(t, s.Write(ctx, t0, []sender.Change{{Kind: sender.Later, ID: id}}))
		},
		"twice": func(s *Spool, id int64) {
			require.NoError(t, s.Write(ctx, t0, []sender.Change{{Kind: sender.Later, ID: id, Due: t0.Add(time.Minute)}}))
			require.Len(t, takeAll(t, s, t0.Add(time.Hour)), 1)
			require.NoError(t, s.Write(ctx, t0, []sender.Change{{Kind: sender.Later, ID: id}}))
		},
		"Reschedule": func(s *Spool, id int64) {
			require.NoError(t, s.Write(ctx, t0, []sender.Change{{Kind: sender.Later, ID: id, Due: t0.Add(time.Minute)}}))
			n, err := s.Reschedule(ctx, sender.Selection{}, time.Time{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			require.NoError(t, s.Submit(ctx, t0, atZero("a", "ann@example.com"), mail("b", "bob@example.com")))
			taken := takeAll(t, s, t0)
			require.Len(t, taken, 2)
			mark, _ := changesOf(taken[0])
			other, _ := changesOf(taken[1])
			require.NoError(t, s.Write(ctx, t0, []sender.Change{mark, other}))
			later(s, mark.ID)
			inFlight := map[int64]bool{}
			for _, k := range takeAll(t, crashed(t, s), t0.Add(time.Hour)) {
				inFlight[k.Recipients[0].ID] = k.Recipients[0].InFlight
			}
			require.Equal(t, map[int64]bool{mark.ID: false, other.ID: true}, inFlight)
		})
	}
}

// watchedContext tells when somebody begins to wait for its end.
type watchedContext struct {
	context.Context
	once  *sync.Once
	waits chan struct{}
}

func (c watchedContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.waits) })
	return c.Context.Done()
}

// TestBackupWhileTheyEnd: whoever ends while a copy is made has ended in it, or is in
// flight.
func TestBackupWhileTheyEnd(t *testing.T) {
	s := filled(t, filepath.Join(t.TempDir(), "spool.db"), 2, 1)
	mark, end := changesOf(takeAll(t, s, t0)[0])
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{mark}))
	var idle []*reader // Backup waits for one of these
	for range readers {
		idle = append(idle, <-s.pool)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	ctx := watchedContext{t.Context(), new(sync.Once), make(chan struct{})}
	done := make(chan error, 2)
	go func() { done <- s.Backup(ctx, path) }()
	<-ctx.waits
	began, held := make(chan struct{}), make(chan struct{})
	go func() { // meanwhile nothing is applied
		done <- s.write(t.Context(), &request{apply: func(*tx) error { close(began); <-held; return nil }})
	}()
	<-began
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{end}))
	for _, r := range idle {
		s.pool <- r
	}
	require.NoError(t, <-done)
	close(held)
	require.NoError(t, <-done)
	taken := takeAll(t, openAt(t, path), t0)
	require.Len(t, taken, 2)
	require.Equal(t, mark.ID, taken[0].Recipients[0].ID)
	require.True(t, taken[0].Recipients[0].InFlight)
}

// TestViewOfMarks: a view has each mark that held, also two of one recipient: nobody
// knows which place a copy shows.
func TestViewOfMarks(t *testing.T) {
	s := filled(t, filepath.Join(t.TempDir(), "spool.db"), 1, 1)
	var want [][2]int64
	mark := func(now time.Time) sender.Change {
		m, _ := changesOf(takeAll(t, s, now)[0])
		require.NoError(t, s.Write(t.Context(), now, []sender.Change{m}))
		want = append(want, [2]int64{m.ID, nano(now)})
		return m
	}
	m := mark(t0)
	v := s.log.watch()
	m.Kind, m.Due = sender.Later, t0.Add(time.Hour)
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{m}))
	mark(m.Due)
	require.Equal(t, want, s.log.unwatch(v))
	require.Empty(t, s.log.views)
}
