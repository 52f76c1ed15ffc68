package sender_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// Mistaken limits send nothing, so somebody must be told: once.
func TestMistakenLimitsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		var out bytes.Buffer
		cfg.Logger = slog.New(slog.NewTextHandler(&out, nil))
		cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return throttle.Limits{Burst: -1} })
		s := start(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.Equal(t, sender.Deferred, s.SendAll(ctx, letter("u@a.example"))[0].Outcome)
		shutdown(t, s)
		require.Equal(t, 1, strings.Count(out.String(), "suspended"), out.String())
		require.Contains(t, out.String(), "Burst")
	})
}
