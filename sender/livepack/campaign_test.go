package livepack_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/livepack"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// releases is a Source that has a newer version of a pack each time.
type releases struct {
	text string // with the version VERSION
	n    int
	key  ed25519.PrivateKey
}

func (r *releases) Fetch(context.Context, string, int64) ([]byte, string, error) {
	r.n++
	text := strings.ReplaceAll(r.text, "VERSION", fmt.Sprintf("2999-01-01.%d", r.n))
	return livepack.Sign([]byte(text), r.key), "", nil
}

const profiles = `version = "VERSION"
[profile.example]
mx = ["example.com"]
rates = ["100/s"]
source = "VERSION"
samples = ["example.com: mx.example.com"]
`

const rulePack = `version = "VERSION"
[[rule]]
id = "VERSION"
text = ['later']
category = "rate-limited"
source = "test"
samples = ["450 later"]
`

// letter is a message like any other.
type letter struct{}

func (letter) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, "From: news@sender.example\r\nTo: you@example.com\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\n"+
		"Message-ID: <1@sender.example>\r\nSubject: News\r\n\r\nHello!\r\n")
	return int64(n), err
}

// campaign sends mail to a host while both packs are replaced, if that is asked
// for, and returns when the messages arrived.
func campaign(t *testing.T, update bool) (arrived []time.Duration) {
	const messages = 1000
	sandbox := sendertest.Start(t, sendertest.Options{Memory: true})
	begin := time.Now()
	var mu sync.Mutex
	sandbox.AddHost("mx.example.com", sendertest.Behavior{Latency: 20 * time.Millisecond, Message: func(*sendertest.Message) *sendertest.Reply {
		mu.Lock()
		defer mu.Unlock()
		arrived = append(arrived, time.Since(begin))
		return nil
	}})
	sandbox.AddDomain("example.com", "mx.example.com")

	policy, rules := throttle.Profiles(), livepack.NewRuleSet()
	var kinds [2]map[livepack.EventKind]int
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	if update {
		private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		for i, target := range []livepack.Target{livepack.Profiles(policy, throttle.Clamp{}), livepack.Rules(rules.Store, livepack.RuleClamp{Changed: -1})} {
			kinds[i] = map[livepack.EventKind]int{}
			u, err := livepack.New(livepack.Config{
				Source:  &releases{text: []string{profiles, rulePack}[i], key: private},
				Target:  target,
				Keys:    []ed25519.PublicKey{private.Public().(ed25519.PublicKey)},
				Observe: func(e livepack.Event) { kinds[i][e.Kind]++ },
			})
			require.NoError(t, err)
			running.Go(func() {
				for n := range 12 {
					select {
					case <-ctx.Done():
						return
					case <-time.After(time.Second):
					}
					if n%4 == 3 {
						u.Rollback()
					} else {
						u.Fetch(ctx)
					}
				}
			})
		}
	}

	s, err := sender.New(sender.Config{Hostname: "mail.sender.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial, Policy: policy})
	require.NoError(t, err)
	results := map[string]int{}
	for r := range s.Send(t.Context(), func(yield func(*sender.Message) bool) {
		for i := range messages {
			m := &sender.Message{From: "news@sender.example", To: []string{fmt.Sprintf("r%d@example.com", i)}, Content: letter{}}
			if !yield(m) {
				return
			}
		}
	}) {
		require.Equal(t, sender.Sent, r.Outcome, "%v", r.Err)
		rules.Classify(bounce.Reply{Code: 450, Text: "later"})
		results[r.Recipient]++
	}
	stop()
	running.Wait()
	require.NoError(t, s.Shutdown(context.Background()))
	require.NoError(t, sandbox.Close())
	require.Len(t, results, messages)
	for to, n := range results {
		require.Equal(t, 1, n, to)
	}
	if update {
		for _, k := range kinds {
			require.Equal(t, map[livepack.EventKind]int{livepack.Adopted: 9, livepack.RolledBack: 3}, k)
		}
	}
	return arrived
}

// Updates while a campaign runs lose no result and hold nothing up.
func TestUpdatesDuringACampaign(t *testing.T) {
	longest := func(arrived []time.Duration) (gap time.Duration) {
		for i := range arrived[1:] {
			gap = max(gap, arrived[i+1]-arrived[i])
		}
		return gap
	}
	var still, updated []time.Duration
	synctest.Test(t, func(t *testing.T) { still = campaign(t, false) })
	synctest.Test(t, func(t *testing.T) { updated = campaign(t, true) })
	require.LessOrEqual(t, longest(updated), longest(still)*3/2)
	require.InEpsilon(t, still[len(still)-1], updated[len(updated)-1], 0.02)
	t.Logf("longest gap %v and %v, end %v and %v", longest(still), longest(updated), still[len(still)-1], updated[len(updated)-1])
}
