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

// A destination is forgotten when it knows nothing that a new one would not.
func TestForget(t *testing.T) {
	plain := func(throttle.Key) throttle.Controller { return throttle.MustNew(throttle.DefaultLimits()) }
	for _, tt := range []struct {
		name string
		ctl  func(throttle.Key) throttle.Controller
		hold time.Duration
		kept int
	}{
		{"settled", plain, 0, 0},
		{"held", plain, 30 * 24 * time.Hour, 50},
		{"held until yesterday", plain, 24 * time.Hour, 0},
		{"may not be dropped", func(k throttle.Key) throttle.Controller { return keeper{plain(k)} }, 0, 50},
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
				if tt.hold > 0 {
					s.Hold("", "", time.Now().Add(tt.hold))
				}
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
