package sender_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// limitAt is a limit of messages a second, and from when it held.
type limitAt struct {
	from time.Time
	n    int
}

// No window is overshot with several sources and streams at once while the
// limits are replaced again and again: a second sees at most the highest limit
// that held within it.
func TestNoWindowIsOvershotByAnyMix(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			luck := rand.New(rand.NewPCG(seed, 3))
			sb := sendertest.Start(t, sendertest.Options{Memory: true, Seed: seed})
			h := sb.AddHost("mx.a.example", sendertest.Behavior{NoChain: seed%2 == 0, MaxMessages: 1 + luck.IntN(20)})
			sb.AddDomain("a.example", "mx.a.example")
			var limits []limitAt
			policy := throttle.Profiles()
			set := func() {
				n := 1 + luck.IntN(15)
				pack, err := throttle.LoadProfiles(strings.NewReader(fmt.Sprintf(
					"version = \"%d\"\n[default]\nrates = [\"%d/s\"]\nshared = { rates = [\"%d/s\"] }\n", len(limits)+1, 1+luck.IntN(15), n)))
				require.NoError(t, err)
				policy.SetOwn(pack)
				limits = append(limits, limitAt{time.Now(), n})
			}
			set()
			cfg := config(sb)
			cfg.Policy = policy
			for i := range 1 + luck.IntN(4) {
				cfg.Sources = append(cfg.Sources, sender.Source{Name: fmt.Sprint(i), Weight: luck.IntN(3)})
			}
			cfg.Streams = map[string]sender.Stream{"a": {}, "b": {Share: 2}, "c": {Priority: 1}}
			s := start(t, cfg)
			begin := time.Now()
			var sending sync.WaitGroup
			for _, name := range []string{"a", "b", "c"} {
				sending.Go(func() {
					require.Equal(t, 200, count(s.SendAll(context.Background(), of(name, letters(200, "a.example"))...))[sender.Sent])
				})
			}
			done := make(chan struct{})
			go func() { sending.Wait(); close(done) }()
			for ended := false; !ended; {
				select {
				case <-time.After(time.Duration(luck.IntN(4000)) * time.Millisecond):
					set()
				case <-done:
					ended = true
				}
			}
			shutdown(t, s)
			requireSpaced(t, h.Stats().Mails, limits)
			// A full connection is no reason to slow down.
			require.Less(t, time.Since(begin), 10*time.Minute)
		})
	}
}

// slack is what an idle session's look at its connection takes in memory.
const slack = 5 * time.Millisecond

func requireSpaced(t *testing.T, mails []time.Time, limits []limitAt) {
	require.GreaterOrEqual(t, len(mails), 600)
	for i, begin := range mails {
		end := begin.Add(time.Second - slack)
		allowed, seen := 0, 0
		for k, l := range limits {
			if l.from.Before(end) && (k+1 == len(limits) || limits[k+1].from.After(begin.Add(-slack))) {
				allowed = max(allowed, l.n)
			}
		}
		for _, m := range mails[i:] {
			if m.Before(end) {
				seen++
			}
		}
		require.LessOrEqual(t, seen, allowed, "in the second from message %d", i)
	}
}
