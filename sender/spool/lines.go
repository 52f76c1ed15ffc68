package spool

import (
	"container/heap"
	"math"
	"sync"
	"time"

	"github.com/volleymail/volley/sender"
)

// key is the place of a recipient in its line.
type key struct{ at, id int64 }

func (k key) before(o key) bool { return k.at < o.at || k.at == o.at && k.id < o.id }

func earlier(a, b key) key {
	if b.before(a) {
		return b
	}
	return a
}

// never is the time of what does not come.
const never = math.MaxInt64

var (
	start = key{math.MinInt64, 0}
	end   = key{never, never}
)

// slack is how far behind its due time a place can be, lest the cursor is set
// back for every Submit that is a moment behind a Take. No clock that goes on
// notices: the cursor is where a Take has been.
const slack = int64(time.Second)

// tick is the unit of due times. Within it the file has tick places more for
// what must come behind others that are due at the same time.
const tick = int64(time.Microsecond)

// nano is t as the file has it: nanoseconds since 1970, down to the tick. Times
// out of its range, as the zero time, are at its ends.
func nano(t time.Time) int64 {
	const most = math.MaxInt64/int64(time.Second) - 1
	switch s := t.Unix(); {
	case s < -most:
		return -most * int64(time.Second)
	case s > most:
		return most * int64(time.Second)
	}
	return t.UnixMicro() * tick
}

// instant is the time that nano gave the number for.
func instant(n int64) time.Time {
	if n == nano(time.Time{}) {
		return time.Time{}
	}
	return time.UnixMicro(n / tick).UTC()
}

// line is what memory has of a sender.Line that recipients wait in. These are in
// the file, by (at, id). Those up to cursor are handed out, those after it are
// not; what is added or put back gets a place after the cursor. So nothing has
// to be written when recipients are handed out.
type line struct {
	sender.Line
	id int64

	// The rest is guarded by lines.mu.
	cursor key   // the last that was handed out, unless it was set back
	peak   key   // where the cursor was at most: up to there some behind it may be handed out
	hold   key   // the first that is added by the transaction that runs: Take must not pass it. end = none
	low    key   // the first that was added since the view that Take has of the file; nor that. end = none
	view   int64 // the view that low is about
	next   int64 // nothing after the cursor is due before; never = there is nothing
	out    int   // how many are handed out
	state  state
	index  int // in lane.timed
	round  int64
	room   int  // how many may be taken in this round
	short  bool // nothing more to have in this round
}

// state says where a line is.
type state uint8

const (
	idle  state = iota // nothing to hand out
	timed              // in lane.timed
	ready              // in lane.ready
	busy               // a Take reads it
)

// lane is the lines of a stream that have something to hand out.
type lane struct {
	timed timedLines // due later
	ready ring       // due, in turn
}

// lines are those of the spool.
type lines struct {
	byLine map[sender.Line]*line // owned by the writer
	byID   map[int64]*line       // owned by the writer

	mu       sync.Mutex
	view     int64              // counts what Take had of the file; guarded by mu
	lanes    map[string]*lane   // by stream; guarded by mu
	empty    []*line            // may have nobody left; guarded by mu
	canceled map[string]bool    // campaigns; written by the writer, guarded by mu for others
	gone     map[int64]struct{} // recipients that have ended, or got another place, since the view that Take has; nil = it has none; guarded by mu
	out      map[int64]handed   // recipients that are handed out; guarded by mu
	lost     map[int64]struct{} // recipients that the file has as in flight, most of them since it was opened; guarded by mu
}

func (ls *lines) init() {
	ls.byLine = map[sender.Line]*line{}
	ls.byID = map[int64]*line{}
	ls.lanes = map[string]*lane{}
	ls.canceled = map[string]bool{}
	ls.out = map[int64]handed{}
	ls.lost = map[int64]struct{}{}
}

// add makes a line known. Only the writer calls it.
func (ls *lines) add(id int64, l sender.Line) *line {
	n := &line{Line: l, id: id, cursor: start, peak: start, hold: end, low: end, next: never}
	ls.byLine[l] = n
	ls.byID[id] = n
	return n
}

func (ls *lines) remove(l *line) {
	delete(ls.byLine, l.Line)
	delete(ls.byID, l.id)
}

// place gives a recipient that is due the place in its line that it gets when
// the transaction is committed. first means that the line was not touched
// before in it.
func (ls *lines) place(l *line, due, id int64) (at int64, first bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	k := key{due, id}
	// Earlier than slack: the clock was ahead for a while; see rewind.
	if !l.cursor.before(k) && k.at >= l.cursor.at-slack {
		k.at = l.cursor.at
		if !l.cursor.before(k) {
			k.at++
		}
	}
	first = l.hold == end
	l.hold = earlier(l.hold, k)
	ls.lower(l, k)
	return k.at, first
}

// rewind sets the cursor back before what was committed, if that is not behind
// it. mu is held.
func (ls *lines) rewind(l *line) {
	if !l.cursor.before(l.hold) {
		l.cursor = key{l.hold.at, l.hold.id - 1}
	}
}

// ahead is how many recipients behind the cursor may be handed out. mu is held.
func (l *line) ahead() int {
	if l.cursor.before(l.peak) {
		return l.out
	}
	return 0
}

// lower notes what the view that Take has of the file may not show. mu is held.
func (ls *lines) lower(l *line, k key) {
	if l.view != ls.view {
		l.view, l.low = ls.view, end
	}
	l.low = earlier(l.low, k)
}

// limit is the place that Take must not reach in the view that it has. mu is
// held.
func (ls *lines) limit(l *line) key {
	if l.view != ls.view {
		return l.hold
	}
	return earlier(l.hold, l.low)
}

// schedule puts a line where its next says. mu is held.
func (ls *lines) schedule(l *line) {
	if l.state == busy || l.state == ready {
		return // Take looks at next
	}
	la := ls.lanes[l.Stream]
	if la == nil {
		la = &lane{}
		ls.lanes[l.Stream] = la
	}
	switch {
	case l.state == timed && l.next == never:
		heap.Remove(&la.timed, l.index)
		l.state = idle
	case l.state == timed:
		heap.Fix(&la.timed, l.index)
	case l.next != never:
		heap.Push(&la.timed, l)
	}
	ls.maybeEmpty(l)
}

// maybeEmpty notes a line that may have nobody left. mu is held.
func (ls *lines) maybeEmpty(l *line) {
	if l.state == idle && l.out == 0 && l.hold == end {
		ls.empty = append(ls.empty, l)
	}
}

// wake moves what is due to the ready lines. mu is held.
func (la *lane) wake(now int64) {
	for len(la.timed) > 0 && la.timed[0].next <= now {
		l := heap.Pop(&la.timed).(*line)
		l.state = ready
		la.ready.push(l)
	}
}

// handed is what Take has read of a recipient that is handed out.
type handed struct {
	placed
	ended            bool // it has ended, as the log says
	message, content int64
	alone            bool // the only recipient of its message; content is known
}

// take notes that a recipient ends, if it is handed out and has not ended.
func (ls *lines) take(id int64) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	h, out := ls.out[id]
	if !out || h.ended {
		return false
	}
	h.ended = true
	ls.out[id] = h
	return true
}

// giveBack notes that a recipient has not ended after all.
func (ls *lines) giveBack(id int64) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if h, out := ls.out[id]; out {
		h.ended = false
		ls.out[id] = h
	}
}

// lostOf gives those that are lost.
func (ls *lines) lostOf(known map[int64]*waiter) (ids []int64) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.lost) == 0 {
		return nil
	}
	for id := range known {
		if _, lost := ls.lost[id]; lost {
			ids = append(ids, id)
		}
	}
	return ids
}

// isLost reports whether a recipient was in flight when the file was opened,
// and nothing was heard of it since.
func (ls *lines) isLost(id int64) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	_, ok := ls.lost[id]
	return ok
}

// timedLines is a heap by next.
type timedLines []*line

func (h timedLines) Len() int           { return len(h) }
func (h timedLines) Less(i, j int) bool { return h[i].next < h[j].next }
func (h timedLines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timedLines) Push(x any) {
	l := x.(*line)
	l.index, l.state = len(*h), timed
	*h = append(*h, l)
}

func (h *timedLines) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.state = idle
	return l
}

// ring is a queue.
type ring struct {
	buf  []*line
	head int
}

func (r *ring) len() int { return len(r.buf) - r.head }

func (r *ring) push(l *line) {
	if r.head > 64 && r.head > len(r.buf)/2 {
		n := copy(r.buf, r.buf[r.head:])
		clear(r.buf[n:])
		r.buf, r.head = r.buf[:n], 0
	}
	r.buf = append(r.buf, l)
}

func (r *ring) pop() *line {
	l := r.buf[r.head]
	r.buf[r.head] = nil
	r.head++
	return l
}
