package spool

import (
	"errors"
	"path/filepath"
	"testing"

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
