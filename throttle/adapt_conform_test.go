package throttle_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/throttle"
	"github.com/volleymail/volley/throttle/throttletest"
)

func TestLearningControllersConform(t *testing.T) {
	perSecond := throttle.Rate{N: 20, Per: time.Second}
	perHour := throttle.Rate{N: 5000, Per: time.Hour}
	perDay := throttle.Rate{N: 300, Per: 24 * time.Hour}
	limits := throttle.Limits{Rates: []throttle.Rate{perSecond, perHour}, ConnRate: throttle.Rate{N: 100, Per: time.Minute}}
	set, err := throttle.NewTriggers([]throttle.Trigger{
		{ID: "suspend", Action: throttle.Suspend, For: time.Hour, Count: 3, Within: time.Hour},
		{ID: "limit", Action: throttle.Limit, For: time.Hour, Rate: throttle.Rate{N: 10, Per: time.Minute}, Conns: 1},
		{ID: "recover", On: []throttle.Event{throttle.Blocked}, Action: throttle.Recover, For: 10 * time.Minute},
		{ID: "hold", Action: throttle.Hold, For: time.Hour},
		{ID: "dead", On: []throttle.Event{throttle.ConnFailed}, Action: throttle.Suspend, For: time.Minute},
	})
	require.NoError(t, err)
	warm := func(base throttle.Policy) throttle.Controller {
		w, err := throttle.NewWarmup(base, throttle.WarmupOptions{Curve: slices.Repeat(throttle.Curve{300}, 1000)})
		require.NoError(t, err)
		return w.For(throttle.Key{Site: "mx.example"})
	}
	tests := map[string]struct {
		fresh func() throttle.Controller
		rates []throttle.Rate
	}{
		"adaptive": {func() throttle.Controller {
			return throttle.Adaptive(throttle.MustNew(limits), throttle.AdaptOptions{})
		}, limits.Rates},
		"triggers": {func() throttle.Controller {
			return throttle.React(throttle.MustNew(limits), set)
		}, limits.Rates},
		"warm-up": {func() throttle.Controller {
			return warm(throttle.Unlimited())
		}, []throttle.Rate{perDay}},
		"all of them": {func() throttle.Controller {
			c := warm(throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return limits }))
			return throttle.React(throttle.Adaptive(c, throttle.AdaptOptions{}), set)
		}, append(limits.Rates, perDay)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { throttletest.Run(t, test.fresh, test.rates...) })
	}
}
