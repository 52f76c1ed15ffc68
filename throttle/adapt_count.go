package throttle

import "time"

// windows are the times that providers' limits look at, as far as Adaptive tells
// them apart. What is shorter shows in the pace alone.
var windows = [...]time.Duration{time.Minute, time.Hour, day}

const slots = 16

// lastCount counts starts over the last length of time, in slots of a 15th.
type lastCount struct {
	n      [slots]uint32
	newest int64 // number of the newest slot
}

// add counts n starts at the time now.
func (c *lastCount) add(now time.Time, length time.Duration, n uint32) {
	slot := now.UnixNano() / int64(length/(slots-1))
	if slot >= c.newest+slots {
		clear(c.n[:])
		c.newest = slot
	}
	for c.newest < slot {
		c.newest++
		c.n[c.newest%slots] = 0
	}
	c.n[slot%slots] += n
}

// sum returns how many starts there were in the last length of time: all of
// the slots that are within it, and of the oldest its part. Call add first.
func (c *lastCount) sum(now time.Time, length time.Duration) float64 {
	each := int64(length / (slots - 1))
	sum := 0.0
	for _, n := range c.n {
		sum += float64(n)
	}
	passed := float64(now.UnixNano()%each) / float64(each) // of the newest slot
	return sum - passed*float64(c.n[(c.newest+1)%slots])
}
