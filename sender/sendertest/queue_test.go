package sendertest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

func plenty(sender.Line) int { return 1000 }

func queued(t *testing.T, q *sendertest.Queue, now time.Time, to ...string) {
	t.Helper()
	require.NoError(t, q.Submit(t.Context(), now, &sender.Submission{
		Message: &sender.Message{ID: to[0], To: to}, Body: []byte("Hello"), Due: now}))
}

func TestQueueReopen(t *testing.T) {
	now := time.Now()
	q := sendertest.NewQueue()
	queued(t, q, now, "a@x.example", "b@x.example")
	taken, next, err := q.Take(t.Context(), "", now, 10, plenty)
	require.NoError(t, err)
	require.Zero(t, next)
	require.Len(t, taken, 1)
	require.Equal(t, []string{"a@x.example", "b@x.example"}, taken[0].Message.To)
	require.NoError(t, q.Write(t.Context(), now, []sender.Change{{Kind: sender.Sending, ID: taken[0].Recipients[1].ID}}))

	again := q.Reopen()
	require.ErrorIs(t, q.Write(t.Context(), now, nil), sendertest.ErrReopened)
	var b strings.Builder
	_, err = taken[0].Message.Content.WriteTo(&b)
	require.ErrorIs(t, err, sendertest.ErrReopened)

	taken, _, err = again.Take(t.Context(), "", now, 10, plenty)
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.False(t, taken[0].Recipients[0].InFlight)
	require.True(t, taken[0].Recipients[1].InFlight)
	_, err = taken[0].Message.Content.WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, "Hello", b.String())
}

func TestQueueFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the disk is full")
		q, now, ctx := sendertest.NewQueue(), time.Now(), t.Context()
		q.Fail(sendertest.QueueSubmit, 1, full)
		m := &sender.Submission{Message: &sender.Message{ID: "1", To: []string{"a@x.example"}}, Due: now}
		require.ErrorIs(t, q.Submit(ctx, now, m), full)
		require.NoError(t, q.Submit(ctx, now, m))

		q.Fail(sendertest.QueueTake, -1, full)
		for range 3 {
			_, _, err := q.Take(ctx, "", now, 1, plenty)
			require.ErrorIs(t, err, full)
		}
		q.Fail(sendertest.QueueTake, 0, nil)
		taken, _, err := q.Take(ctx, "", now, 1, plenty)
		require.NoError(t, err)

		q.Delay(sendertest.QueueWrite, time.Minute)
		sending := []sender.Change{{Kind: sender.Sending, ID: taken[0].Recipients[0].ID}}
		require.NoError(t, q.Write(ctx, now, sending))
		require.Equal(t, time.Minute, time.Since(now))
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, q.Write(short, now, sending), context.DeadlineExceeded)
		q.Delay(sendertest.QueueWrite, 0)

		q.Fail(sendertest.QueueBody, 1, full)
		_, err = taken[0].Message.Content.WriteTo(&strings.Builder{})
		require.ErrorIs(t, err, full)

		var seen []sender.Change
		q.OnWrite(func(c []sender.Change) error {
			seen = append(seen, c...)
			return full
		})
		require.ErrorIs(t, q.Write(ctx, now, sending), full)
		require.Equal(t, sending, seen)
	})
}

func TestQueueViolations(t *testing.T) {
	q, now, ctx := sendertest.NewQueue(), time.Now(), t.Context()
	queued(t, q, now, "a@x.example")
	list, err := q.List(ctx, sender.Selection{}, 0, 1)
	require.NoError(t, err)
	id := list[0].ID
	require.NoError(t, q.Write(ctx, now, []sender.Change{{Kind: sender.Sending, ID: id}, {Kind: sender.Later, ID: id + 1}}))
	_, _, err = q.Take(ctx, "", now, 1, plenty)
	require.NoError(t, err)
	require.NoError(t, q.Write(ctx, now, []sender.Change{{Kind: sender.EndedNow, ID: id}}))
	require.Len(t, q.Violations(), 3)
	left, err := q.List(ctx, sender.Selection{}, 0, 10)
	require.NoError(t, err)
	require.Equal(t, list, left, "what is wrong changes nothing")
}
