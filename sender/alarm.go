package sender

import (
	"container/heap"
	"time"
)

// alarm is a time at which the scheduler has to look after something.
type alarm struct {
	at     time.Time
	domain *domain // look it up again
	site   *site   // wake it
	sweep  bool
}

// alarms is a heap by time. An alarm cannot be taken back: what it was set for
// is judged anew when it rings.
type alarms []alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarms) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *alarms) Push(x any)        { *h = append(*h, x.(alarm)) }
func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*h = old[:len(old)-1]
	return a
}

func (h *alarms) set(a alarm) { heap.Push(h, a) }

// ring calls f for each alarm that is due.
func (h *alarms) ring(now time.Time, f func(alarm, time.Time)) {
	for len(*h) > 0 && !(*h)[0].at.After(now) {
		f(heap.Pop(h).(alarm), now)
	}
}

// next is the time until the next alarm.
func (h alarms) next(now time.Time) time.Duration {
	if len(h) == 0 {
		return time.Hour
	}
	return h[0].at.Sub(now)
}
