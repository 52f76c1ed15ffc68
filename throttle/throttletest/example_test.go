package throttletest_test

import (
	"testing"
	"time"

	"github.com/volleymail/volley/throttle"
	"github.com/volleymail/volley/throttle/throttletest"
)

func ExampleRun() {
	rate := throttle.Rate{N: 100, Per: time.Minute}
	test := func(t *testing.T) { // TestMyController
		throttletest.Run(t, func() throttle.Controller {
			return throttle.MustNew(throttle.Limits{Rates: []throttle.Rate{rate}})
		}, rate)
	}
	_ = test
}
