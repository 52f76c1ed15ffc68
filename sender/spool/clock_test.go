package spool_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/spool"
)

// The clock of the machine was a day ahead for a moment, and was set right:
// what is submitted after that is due at once, not in a day.
func TestClockSetBack(t *testing.T) {
	s, err := spool.Open(filepath.Join(t.TempDir(), "x.db"), nil)
	require.NoError(t, err)
	defer s.Close()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	wrong := now.Add(24 * time.Hour)
	plenty := func(sender.Line) int { return 100 }
	submit := func(id string, due time.Time) {
		t.Helper()
		require.NoError(t, s.Submit(t.Context(), due, &sender.Submission{
			Message: &sender.Message{ID: id, To: []string{"a@example.com"}}, Body: []byte("x"), Due: due}))
	}
	submit("one", wrong)
	taken, _, err := s.Take(t.Context(), "", wrong, 10, plenty)
	require.NoError(t, err)
	require.Len(t, taken, 1)

	submit("two", now)
	taken, next, err := s.Take(t.Context(), "", now.Add(time.Minute), 10, plenty)
	require.NoError(t, err)
	require.Len(t, taken, 1, "next is %v", next)
}
