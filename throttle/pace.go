package throttle

import (
	"time"

	"golang.org/x/time/rate"
)

// pace spaces starts: one every gap, and up to burst of them back to back after
// a rest.
//
// The token bucket is x/time/rate's. It counts in float64 and cuts waits to
// whole nanoseconds: on real time it would now and then be early by a
// nanosecond, and drift over days. So its clock is one on which a second is a
// slot, which lasts a gap: whole numbers of slots and tokens are exact in
// float64. What is left to keep beside it is where slots begin: at the start
// that found the bucket full, and every gap from there on.
type pace struct {
	rate   Rate
	gap    time.Duration
	burst  int
	bucket *rate.Limiter // a token for each slot

	slot  int64         // the current slot
	began time.Duration // when it began
	full  int64         // the slot in which the bucket is full again
	next  time.Duration // the earliest next start
}

func newPace(r Rate, burst int) *pace {
	return &pace{rate: r, gap: r.gap(), burst: burst, bucket: rate.NewLimiter(1, burst)}
}

func (p *pace) take(at time.Duration) {
	passed := (at - p.began) / p.gap
	p.slot += int64(passed)
	p.began += passed * p.gap
	if p.slot >= p.full {
		p.began = at
	}
	clock := time.Unix(p.slot, 0)
	p.bucket.ReserveN(clock, 1) // a start that next did not allow becomes a debt
	left := int64(0)            // in a bucket of one, as most are, that had its token
	if p.burst > 1 || at < p.next {
		left = int64(p.bucket.TokensAt(clock))
	}
	p.full = p.slot + int64(p.burst) - left
	p.next = p.began + time.Duration(max(0, 1-left))*p.gap
}

// rested returns the time from which the bucket is full.
func (p *pace) rested() time.Duration {
	return p.began + time.Duration(p.full-p.slot)*p.gap
}

// keeps reports whether the pace alone keeps r: the most starts in a half-open
// interval of length Per are a burst at its beginning and one at each full gap
// after that.
func (p *pace) keeps(r Rate) bool {
	most := int64(p.burst) - 1 + int64(ceilDiv(r.Per, p.gap))
	return most <= int64(r.N)
}
