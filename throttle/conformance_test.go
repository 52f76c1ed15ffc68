package throttle_test

import (
	"testing"
	"time"

	"github.com/volleymail/volley/throttle"
	"github.com/volleymail/volley/throttle/throttletest"
)

func TestControllersConform(t *testing.T) {
	perSecond := throttle.Rate{N: 20, Per: time.Second}
	perHour := throttle.Rate{N: 5000, Per: time.Hour}
	perDay := throttle.Rate{N: 2000, Per: 24 * time.Hour}
	tests := map[string]struct {
		fresh func() throttle.Controller
		rates []throttle.Rate
	}{
		"limits": {func() throttle.Controller {
			return throttle.MustNew(throttle.Limits{
				Rates: []throttle.Rate{perSecond, perHour, perDay}, ConnRate: throttle.Rate{N: 100, Per: time.Minute}})
		}, []throttle.Rate{perSecond, perHour, perDay}},
		"burst": {func() throttle.Controller {
			return throttle.MustNew(throttle.Limits{Rates: []throttle.Rate{perSecond, perHour}, Burst: 7})
		}, []throttle.Rate{perSecond, perHour}},
		"all": {func() throttle.Controller {
			return throttle.All(
				throttle.MustNew(throttle.Limits{Rates: []throttle.Rate{perHour}}),
				throttle.MustNew(throttle.Limits{Rates: []throttle.Rate{perSecond}, Burst: 3, Conns: 2}))
		}, []throttle.Rate{perSecond, perHour}},
		"default": {func() throttle.Controller {
			return throttle.Default().For(throttle.Key{})
		}, []throttle.Rate{{N: 100, Per: time.Second}}},
		"unlimited": {func() throttle.Controller {
			return throttle.Unlimited().For(throttle.Key{})
		}, nil},
		"of none": {func() throttle.Controller { return throttle.All() }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { throttletest.Run(t, test.fresh, test.rates...) })
	}
}
