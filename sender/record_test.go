package sender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

var recordReply = bounce.Reply{Stage: bounce.StageRcpt, Code: 550, Status: bounce.Status{5, 1, 1}, Text: "no \"such\"\nuser ü", Host: "mx.example.net"}

func recordResult() Result {
	at := time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.UTC)
	return Result{
		Message: &Message{ID: "a/1", Stream: "news", Campaign: "spring", From: "bounces@example.com", To: []string{"ann@example.net"}, Template: "spring",
			Engaged: true, NotBefore: at, Zone: "Europe/Berlin", DSN: &DSN{Notify: "FAILURE", Return: "HDRS", EnvID: "e<1>"}, Tags: map[string]string{"k": "v", "\"": "<"}},
		Recipient: "ann@example.net", Outcome: Rejected, Reply: recordReply,
		Class: bounce.Class{Category: bounce.InvalidMailbox, Scope: bounce.ScopeRecipient, Permanent: true, Action: bounce.ActionSuppress,
			RetryAfter: 90*time.Second + 1, Rule: "x/y", Confidence: 0.9},
		RetryAt: at, Err: &Error{Recipient: "ann@example.net", Host: "mx.example.net", Source: "a", Stage: bounce.StageRcpt, Reply: recordReply, TLS: true, Dot: true},
		Site: "mx.example.net", Source: "a", Attempts: 3, Elapsed: 1500*time.Millisecond + 1,
	}
}

func TestResultRecord(t *testing.T) {
	full := recordResult()
	other := full
	other.Err = &Error{Recipient: "Ann@example.net", Source: "b", Err: errors.New("the cable is cut")}
	raw := Result{Message: &Message{ID: "b", To: []string{"\xff@example.net"}}, Recipient: "\xff@example.net", Outcome: Canceled,
		Err: &Error{Recipient: "\xff@example.net", Stage: bounce.StageLocal, Err: ErrCanceled}}
	for name, r := range map[string]Result{
		"full": full, "other error": other, "zero": {}, "not UTF-8": raw,
		"no recipient": {Message: &Message{ID: "c"}, Outcome: Rejected, Err: &Error{Err: ErrExpired}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(r)
			require.NoError(t, err)
			var got Result
			require.NoError(t, json.Unmarshal(data, &got), string(data))
			if e, ok := errors.AsType[*Error](r.Err); ok && name == "not UTF-8" {
				require.Equal(t, e.Recipient, errorOf(t, got.Err).Recipient)
			}
			require.Equal(t, r, got, string(data))
		})
	}
}

func errorOf(t *testing.T, err error) *Error {
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	return e
}

// Causes are told by errors.Is afterwards as before.
func TestResultRecordCauses(t *testing.T) {
	for _, cause := range []error{ErrExpired, ErrAttempts, ErrSuppressed, ErrCanceled, ErrShutdown, ErrStopped, context.Canceled, context.DeadlineExceeded} {
		for _, err := range []error{cause, fmt.Errorf("so far: %w", cause)} {
			data, merr := json.Marshal(Result{Outcome: Deferred, Err: &Error{Err: err}})
			require.NoError(t, merr)
			var got Result
			require.NoError(t, json.Unmarshal(data, &got))
			require.ErrorIs(t, got.Err, cause)
			require.Equal(t, err.Error(), errorOf(t, got.Err).Err.Error())
		}
	}
	data, err := json.Marshal(Result{Recipient: "x", Err: errors.New("of another kind")})
	require.NoError(t, err)
	var got Result
	require.NoError(t, json.Unmarshal(data, &got))
	require.ErrorContains(t, errorOf(t, got.Err), "of another kind")
}

func TestAttemptRecord(t *testing.T) {
	r := recordResult()
	for _, a := range []Attempt{{}, {Time: r.RetryAt, Site: "s", Source: "a", Reply: r.Reply, Class: r.Class, Err: "why"}} {
		data, err := json.Marshal(a)
		require.NoError(t, err)
		var got Attempt
		require.NoError(t, json.Unmarshal(data, &got))
		require.Equal(t, a, got)
	}
}

func TestRecordErrors(t *testing.T) {
	var r Result
	require.Error(t, json.Unmarshal([]byte(`{"outcome":"lost"}`), &r))
	require.Error(t, json.Unmarshal([]byte(`{"elapsed":"soon"}`), &r))
	require.Error(t, r.UnmarshalJSON(nil))
	var a Attempt
	require.Error(t, a.UnmarshalJSON([]byte(`{"time":1}`)))
	_, err := Result{Class: bounce.Class{Category: 200}}.MarshalJSON()
	require.Error(t, err)
}

// FuzzResultRecord: what was read is read the same again after it was written.
func FuzzResultRecord(f *testing.F) {
	for _, r := range []Result{{}, recordResult(), {Err: &Error{Recipient: "x", Err: fmt.Errorf("so: %w", ErrExpired)}}} {
		data, err := json.Marshal(r)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r, again Result
		if r.UnmarshalJSON(data) != nil {
			return
		}
		out, err := r.MarshalJSON()
		if err != nil {
			return // a time that JSON has no place for
		}
		require.NoError(t, again.UnmarshalJSON(out), "%s", out)
		twice, err := again.MarshalJSON()
		require.NoError(t, err)
		require.JSONEq(t, string(out), string(twice))
	})
}

func BenchmarkResultRecord(b *testing.B) {
	r := recordResult()
	data, err := r.MarshalJSON()
	require.NoError(b, err)
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.MarshalJSON()
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var got Result
			_ = got.UnmarshalJSON(data)
		}
	})
}
