package spool

import (
	"errors"
	"path/filepath"
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
