package sender

import "time"

// schedule makes the lifetime begin at a scheduled start: the item waits until
// then. One that the Queue hands out is due, whatever its message says.
func (it *item) schedule(now time.Time) {
	if start := it.msg.NotBefore; !it.run.queue && start.After(now) {
		last := now.AddDate(100, 0, 0) // Unix nanoseconds have an end
		if start.After(last) {
			start = last
		}
		it.born = max(it.born, start.UnixNano())
	}
}

// inTime reports whether the item may start by the clock. One that may not waits
// until it may, or ends, if its lifetime is over by then.
func (st *site) inTime(it *item, now time.Time) bool {
	due := st.s.start(it, now)
	if !due.After(now) {
		return true
	}
	if !st.s.over(it, st.name, due, now) {
		st.postpone(it, due, now)
	}
	return false
}

// start returns when the item may start: not before its scheduled start, and
// within the hours of its stream.
func (s *Sender) start(it *item, now time.Time) time.Time {
	start := latest(now, time.Unix(0, it.born))
	h := s.cfg.Streams[it.msg.Stream].Hours
	if h == nil {
		return start
	}
	opening, err := h.next(start, it.msg.Zone)
	if err != nil {
		return start // such a Zone was refused before
	}
	return opening
}
