package throttle

import "time"

// history remembers starts for limits that are not known yet. The newest are
// kept one by one, older ones in groups of twice the size for each step back,
// by the time of the group's last: a count over a period errs by a sixteenth at
// most, on the safe side. A million starts take 2 kB, a few take few bytes.
type history struct {
	groups []group // the oldest first; sizes do not grow towards the end
}

type group struct {
	last time.Duration // since the limiter's origin
	n    int
}

// sameSize is how many groups there may be of a size.
const sameSize = 16

func (h *history) add(at time.Duration) {
	h.groups = append(h.groups, group{at, 1})
	end := len(h.groups)
	for size := 1; ; size *= 2 {
		begin := end
		for begin > 0 && h.groups[begin-1].n == size {
			begin--
		}
		if end-begin <= sameSize {
			return
		}
		h.groups[begin+1].n += h.groups[begin].n // takes the later time
		h.groups = append(h.groups[:begin], h.groups[begin+1:]...)
		end = begin + 1
	}
}

// replay tells b of the starts.
func (h *history) replay(b *budget) {
	for _, g := range h.groups {
		for range min(g.n, b.rate.N) { // of more only the last N matter
			b.take(g.last)
		}
	}
}
