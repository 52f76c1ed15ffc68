package throttle

import "time"

// schedule keeps several rates of one kind of start. Times are counted from any
// fixed point; the zero schedule has no limit.
type schedule struct {
	pace    *pace    // nil without rates
	budgets []budget // rates that the pace alone does not keep

	// After the rates were replaced the last budgets, from bridge on, are of rates
	// that the new pace keeps but not what was before it, until bridged.
	bridge  int
	bridged time.Duration // 0 = there are none
}

func newSchedule(rates []Rate, burst int) schedule {
	slowest, ok := pacing(rates)
	if !ok {
		return schedule{}
	}
	for _, r := range rates {
		if r.N > 0 {
			burst = min(burst, r.N)
		}
	}
	s := schedule{pace: newPace(slowest, burst)}
	for _, r := range rates {
		if r.N > 0 && !s.pace.keeps(r) {
			s.budgets = append(s.budgets, newBudget(r))
		}
	}
	return s
}

// pacing returns the rate that spaces the starts: of those with the shortest
// period, and of all of a second or less, the slowest.
func pacing(rates []Rate) (slowest Rate, ok bool) {
	shortest := maxPer
	for _, r := range rates {
		if r.N > 0 {
			shortest = min(shortest, r.Per)
		}
	}
	for _, r := range rates {
		if r.N > 0 && r.Per <= max(shortest, time.Second) && (!ok || r.gap() > slowest.gap()) {
			slowest, ok = r, true
		}
	}
	return slowest, ok
}

// next returns the earliest time of the next start. It changes only with take.
func (s *schedule) next() time.Duration {
	if s.pace == nil {
		return 0
	}
	next := s.pace.next
	for i := range s.budgets {
		next = max(next, s.budgets[i].next)
	}
	return next
}

func (s *schedule) take(at time.Duration) {
	if s.pace == nil {
		return
	}
	if s.bridged != 0 && at >= s.bridged {
		s.budgets, s.bridged = s.budgets[:s.bridge], 0
	}
	s.pace.take(at)
	for i := range s.budgets {
		s.budgets[i].take(at)
	}
}

// binding names the rate that decides next, "" if a start is allowed at the time at.
func (s *schedule) binding(at time.Duration) string {
	next := s.next()
	if next <= at {
		return ""
	}
	for i := range s.budgets {
		if s.budgets[i].next == next {
			return s.budgets[i].rate.String()
		}
	}
	return s.pace.rate.String()
}

// settled returns the time from which the schedule is as good as new.
func (s *schedule) settled() time.Duration {
	if s.pace == nil {
		return 0
	}
	at := s.pace.rested()
	for i := range s.budgets {
		at = max(at, s.budgets[i].settled())
	}
	return at
}

// recall lets a new schedule of rates know of the starts in h, as though it had
// allowed them.
func (s *schedule) recall(rates []Rate, h *history) {
	if s.pace == nil || len(h.groups) == 0 {
		return
	}
	last := h.groups[len(h.groups)-1].last
	s.pace.take(last)
	for i := range s.budgets {
		h.replay(&s.budgets[i])
	}
	s.bridge = len(s.budgets)
	for _, r := range rates {
		if r.N > 0 && s.pace.keeps(r) {
			b := newBudget(r)
			h.replay(&b)
			s.budgets = append(s.budgets, b)
			s.bridged = max(s.bridged, last+r.Per)
		}
	}
}
