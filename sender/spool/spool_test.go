package spool

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

var t0 = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func openAt(t testing.TB, path string) *Spool {
	t.Helper()
	s, err := Open(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func fresh(t testing.TB) *Spool { return openAt(t, filepath.Join(t.TempDir(), "spool.db")) }

func mail(id string, to ...string) *sender.Submission {
	return &sender.Submission{Message: &sender.Message{ID: id, Stream: "news", Campaign: "spring", From: "bounces@example.com", To: to,
		Tags: map[string]string{"k": "v"}}, Body: []byte("Subject: hello\r\n\r\nhello\r\n"), Due: t0}
}

func anyRoom(sender.Line) int { return 1 << 30 }

func takeAll(t testing.TB, s *Spool, now time.Time) []*sender.Taken {
	t.Helper()
	taken, _, err := s.Take(t.Context(), "news", now, 1000, anyRoom)
	require.NoError(t, err)
	return taken
}

func TestLife(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	s := openAt(t, path)
	require.NoError(t, s.Submit(t.Context(), t0, mail("a", "ann@Example.com", "bob@example.com"), mail("b", "cy@example.net")))
	require.NoError(t, s.Submit(t.Context(), t0, mail("a", "ann@example.COM"), mail("b", "dee@example.net")))
	taken := takeAll(t, s, t0)
	require.Len(t, taken, 3)
	require.Empty(t, takeAll(t, s, t0.Add(time.Hour)))
	var changes []sender.Change
	var all []sender.Waiting
	for _, k := range taken {
		require.Equal(t, "v", k.Message.Tags["k"])
		var b bytes.Buffer
		_, err := k.Message.Content.WriteTo(&b)
		require.NoError(t, err)
		require.Equal(t, "Subject: hello\r\n\r\nhello\r\n", b.String())
		for i, w := range k.Recipients {
			all = append(all, w)
			changes = append(changes, sender.Change{Kind: sender.EndedNow, ID: w.ID,
				Result: &sender.Result{Message: k.Message, Recipient: k.Message.To[i], Reply: bounce.Reply{Code: 250}}})
		}
	}
	require.Len(t, all, 4)
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{{Kind: sender.Sending, ID: all[0].ID}, {Kind: sender.Sending, ID: all[1].ID}}))
	require.NoError(t, s.Close())

	s = openAt(t, path)
	taken = takeAll(t, s, t0)
	n := 0
	for _, k := range taken {
		for _, w := range k.Recipients {
			if w.InFlight {
				n++
			}
		}
	}
	require.Equal(t, 2, n)
	require.NoError(t, s.Write(t.Context(), t0, changes))
	for i := range changes {
		require.EqualValues(t, i+1, changes[i].Seq)
	}
	ended, err := s.Results(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, ended, 4)
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{{Kind: sender.Acknowledged, Seq: 1}, {Kind: sender.Acknowledged, Seq: 4}}))
	ended, err = s.Results(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, ended, 2)
	require.NoError(t, s.flush(t.Context()))
	left := 0
	require.NoError(t, s.w.c.query("SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM content) + (SELECT count(*) FROM body)+ (SELECT count(*) FROM inflight)", func(r []value) error { left = int(integer(r[0])); return nil }))
	require.Zero(t, left)
	require.NoError(t, s.Submit(t.Context(), t0, mail("a", "ann@example.com")))
	require.Empty(t, takeAll(t, s, t0.Add(time.Hour)))
}
