package throttle

import "time"

// budget lets at most N starts begin in any half-open interval of length Per:
// start i must come Per or more after start i-N.
//
// Remembering each of the last N starts would be exact and, for 50,000 a day,
// 400 kB. So starts are remembered in chunks, by the time of each chunk's last:
// start i waits for the whole chunk of start i-N. That errs on the safe side
// only, and at most one chunk of the N stands idle for it. Up to maxMarks starts
// a chunk is one start.
type budget struct {
	rate   Rate
	chunk  int64           // starts in a chunk
	starts int64           // starts since the last rest of Per or more
	last   time.Duration   // the last start
	marks  []time.Duration // ring of the chunks' last starts: chunk j is at j % size
	size   int64           // of the ring
	next   time.Duration   // the earliest next start
}

const maxMarks = 64

func newBudget(r Rate) budget {
	n := int64(r.N)
	chunk := ceilDiv(n, maxMarks)
	return budget{rate: r, chunk: chunk, size: ceilDiv(n, chunk)}
}

func (b *budget) take(at time.Duration) {
	if at-b.last >= b.rate.Per { // none of the starts matters any more
		b.starts, b.marks = 0, b.marks[:0]
	}
	b.last = at
	b.starts++
	if b.starts%b.chunk == 0 {
		b.mark(at)
	}
	if old := b.starts - int64(b.rate.N); old >= 0 {
		b.next = b.marks[old/b.chunk%b.size] + b.rate.Per
	}
}

// settled returns the time from which no start matters any more.
func (b *budget) settled() time.Duration {
	if b.starts == 0 {
		return 0
	}
	return b.last + b.rate.Per
}

// mark remembers the last start of a chunk. The ring grows as it is used: most
// destinations get little mail.
func (b *budget) mark(at time.Duration) {
	if int64(len(b.marks)) < b.size {
		b.marks = append(b.marks, at)
		return
	}
	b.marks[(b.starts/b.chunk-1)%b.size] = at
}
