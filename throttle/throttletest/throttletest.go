// Package throttletest checks that a throttle.Controller keeps the contract that
// the engine relies on. Call [Run] from a test of the package that has the
// Controller:
//
//	func TestOfficeHours(t *testing.T) {
//		throttletest.Run(t, func() throttle.Controller { return new(officeHours) },
//			throttle.Rate{N: 100, Per: time.Minute})
//	}
package throttletest

import (
	"testing"
	"time"

	"github.com/volleymail/volley/throttle"
)

// rounds is how many seeds each check is run with; a failure names its seed.
const rounds = 10

// Run checks Controllers that fresh makes, each independent of the others and
// in the same state. As hasty, late and sleepy owners would, over days of virtual
// time and with any feedback, it checks that
//
//   - Next, Conns, Binding and Settled change nothing,
//   - the same calls get the same answers: no clock but the owner's is used,
//   - a time that Next gives is enough when it is reached,
//   - what Conns allows makes sense,
//   - no half-open interval of length Per sees more than N messages, for each of rates.
//
// Rates may be left out. Times start at noon of a Monday in 2001, UTC. Run does
// not find shared state that is read without a lock: run the test with -race.
func Run(t *testing.T, fresh func() throttle.Controller, rates ...throttle.Rate) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(rounds) {
				o := newOwner(seed, rates)
				if err := c.check(o, fresh); err != nil {
					t.Fatalf("seed %d, %v after the start: %v", seed, o.now.Sub(start), err)
				}
			}
		})
	}
}

var start = time.Date(2001, time.January, 8, 12, 0, 0, 0, time.UTC)

var checks = []struct {
	name  string
	check func(o *owner, fresh func() throttle.Controller) error
}{
	{"looking changes nothing", lookingChangesNothing},
	{"no other clock", noOtherClock},
	{"next is enough", nextIsEnough},
	{"connections make sense", connectionsMakeSense},
	{"rates hold", ratesHold},
}
