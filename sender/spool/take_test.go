package spool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
)

// atZero is mail that is due at once, by the zero time.
func atZero(id, to string) *sender.Submission {
	m := mail(id, to)
	m.Due = time.Time{}
	return m
}

// TestTakeWhileTheyLeave: whoever ends, or comes later, while a Take has an older view
// of the file is not handed out by it.
func TestTakeWhileTheyLeave(t *testing.T) {
	ctx := t.Context()
	for name, change := range map[string]sender.Change{
		"ended": {Kind: sender.EndedNow, Result: &sender.Result{}},
		"later": {Kind: sender.Later, Due: t0.Add(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			require.NoError(t, s.Submit(ctx, t0, atZero("other", "dee@example.org"), atZero("early", "cy@example.com"), atZero("a", "ann@example.com"), mail("b", "bob@example.com")))
			taken := takeAll(t, s, t0)
			require.Len(t, taken, 4)
			change.ID = taken[2].Recipients[0].ID
			require.NoError(t, s.Submit(ctx, t0, atZero("first", "dee@example.net"))) // the view begins with it
			// Behind the cursor, which is set back for it.
			require.NoError(t, s.Write(ctx, t0, []sender.Change{{Kind: sender.Later, ID: taken[1].Recipients[0].ID}}))
			asked := 0
			got, _, err := s.Take(ctx, "news", t0, 10, func(l sender.Line) int {
				if asked++; asked == 2 {
					require.Equal(t, "example.com", l.Domain)
					require.NoError(t, s.Write(ctx, t0, []sender.Change{change}))
					require.NoError(t, s.flush(ctx))
				}
				return 10
			})
			require.NoError(t, err)
			require.Equal(t, 2, asked)
			for _, k := range got {
				require.NotEqual(t, change.ID, k.Recipients[0].ID)
			}
			require.Len(t, got, 2)
		})
	}
}

// TestTakeFirstAgain: the first recipient of all comes again, though the cursor is set
// back as far as that can be.
func TestTakeFirstAgain(t *testing.T) {
	s := fresh(t)
	require.NoError(t, s.Submit(t.Context(), t0, atZero("a", "ann@example.com"), mail("b", "bob@example.com")))
	taken := takeAll(t, s, t0)
	require.Len(t, taken, 2)
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{{Kind: sender.Later, ID: taken[0].Recipients[0].ID}}))
	require.Len(t, takeAll(t, s, t0), 1)
}
