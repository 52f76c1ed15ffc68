package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/throttle"
)

// keeper is a Controller that does not say when it may be dropped.
type keeper struct{ throttle.Controller }

// advising is a Controller that holds every stream for a while after a failure.
type advising struct {
	throttle.Controller
	throttle.Settler
	until time.Time
}

func (c advising) Advice(time.Time) []throttle.Advice {
	return []throttle.Advice{{Hold: "*", Until: c.until, Why: "test"}}
}

// A destination is forgotten when it knows nothing that a new one would not.
func TestForget(t *testing.T) {
	plain := func(throttle.Key) throttle.Controller { return throttle.MustNew(throttle.DefaultLimits()) }
	held := func(d time.Duration) func(throttle.Key) throttle.Controller {
		return func(k throttle.Key) throttle.Controller {
			c := plain(k)
			return advising{c, c.(throttle.Settler), time.Now().Add(d)}
		}
	}
	for _, tt := range []struct {
		name string
		ctl  func(throttle.Key) throttle.Controller
		kept int
	}{
		{"settled", plain, 0},
		{"held", held(30 * 24 * time.Hour), 50},
		{"held until yesterday", held(24 * time.Hour), 0},
		{"may not be dropped", func(k throttle.Key) throttle.Controller { return keeper{plain(k)} }, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := Config{Hostname: "a.s.example", Resolver: fakeResolver{}, Policy: policy(tt.ctl), Retry: Retry{MaxAttempts: 1},
					Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }}
				s, err := New(cfg)
				require.NoError(t, err)
				var msgs []*Message
				for i := range 50 {
					msgs = append(msgs, msg(fmt.Sprintf("u@d%d.example", i)))
				}
				require.Len(t, s.SendAll(t.Context(), msgs...), 50)
				time.Sleep(48 * time.Hour)
				require.NoError(t, s.Shutdown(t.Context()))
				require.Len(t, s.sched.sites, tt.kept)
				require.Empty(t, s.sched.domains)
			})
		})
	}
}

type policy func(throttle.Key) throttle.Controller

func (p policy) For(k throttle.Key) throttle.Controller { return p(k) }
