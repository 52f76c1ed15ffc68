package throttle

import "time"

// adaptiveConns is the number of connections of Adaptive: one less after a
// connection was refused, and one more where all are in use and the pace is not
// what holds mail back.
type adaptiveConns struct {
	start int
	most  int       // allowed
	known bool      // one was refused since the last one more: it is tried seldom
	ever  bool      // one was refused at some time: more come one by one
	next  time.Time // no new connection before this
	pause time.Duration
	full  time.Duration // for how long all have been in use
	seen  time.Time     // when that was last looked at
	reply string        // the last refusal
}

const (
	oneMore    = 10 * time.Second // in full use, until one more is allowed
	tryOneMore = 5 * time.Minute  // the same after one was refused
)

func newAdaptiveConns(start int) adaptiveConns {
	return adaptiveConns{start: start, most: start, pause: firstPause}
}

func (c *adaptiveConns) forget() { *c = newAdaptiveConns(c.start) }

func (c *adaptiveConns) allowed(now time.Time) Conns {
	a := Conns{Max: c.most, Idle: maxFor}
	if c.next.After(now) {
		a.Next = c.next
	}
	return a
}

// refused notes that a connection was refused while f.Conns were open. False: it
// was the only one, so that its number can't be the reason.
func (c *adaptiveConns) refused(now time.Time, f Feedback) bool {
	if f.Conns <= 1 && c.most <= 1 {
		return false
	}
	c.most = max(1, min(c.most, f.Conns-1))
	c.known, c.ever, c.full = true, true, 0
	c.reply = shorten(f.Text)
	if !now.Before(c.next) {
		c.next = now.Add(max(c.pause, min(f.Wait, maxAsked)))
		c.pause = min(pauseGrows*c.pause, maxPause)
	}
	return true
}

// passed notes a reply that does not ask for less, with open connections of which
// limit are allowed by others. needed says that the pace does not hold mail back.
func (c *adaptiveConns) passed(now time.Time, open, limit int, needed bool) {
	since := now.Sub(c.seen)
	c.seen = now
	if !now.Before(c.next) {
		c.pause = firstPause
	}
	if open < c.most || c.most >= limit || !needed || since > oneMore {
		return
	}
	c.full += since
	wait := oneMore
	if c.known {
		wait = tryOneMore
	}
	if c.full >= wait {
		c.most++
		if !c.ever {
			c.most = min(c.most+c.most/4, limit)
		}
		c.known, c.full = false, 0
	}
}

// liveness tells dead hosts by failed connections, and by nothing else. A host
// is dead when as many in a row failed as are allowed at once, three at least;
// then one connection tries, after 30 s at first and 15 minutes at last. It takes
// as many replies as there are connections for each more that is allowed again.
type liveness struct {
	failures int // in a row
	dead     bool
	next     time.Time // dead: no connection before this
	wait     time.Duration
	open     int // connections allowed on the way back; 0 = no limit
	replies  int // since the last one more
}

const (
	leastCohort = 3
	firstWait   = 30 * time.Second
	longestWait = 15 * time.Minute
	backUpTo    = 20 // connections, from which the way back is over
)

func (l *liveness) failed(now time.Time, cohort int) {
	if now.Before(l.next) {
		return // of the same cohort
	}
	l.failures++
	if l.failures < max(leastCohort, cohort) && !l.dead {
		return
	}
	if l.wait = 2 * l.wait; !l.dead {
		l.wait = firstWait
	}
	l.wait = min(l.wait, longestWait)
	l.dead, l.open, l.replies = true, 1, 0
	l.next = now.Add(l.wait)
}

// replied notes a reply: the host lives. Only those that are of use bring back
// its connections.
func (l *liveness) replied(of bool) {
	l.failures, l.dead = 0, false
	if l.open == 0 || !of {
		return
	}
	if l.replies++; l.replies >= l.open {
		l.replies = 0
		if l.open++; l.open > backUpTo {
			l.open = 0
		}
	}
}

func (l *liveness) allowed(now time.Time) Conns {
	a := Conns{Max: noLimit, Idle: maxFor}
	if l.open > 0 {
		a.Max = l.open
	}
	if l.dead && l.next.After(now) {
		a.Next = l.next
	}
	return a
}

// blocks is what Adaptive does about replies that block us.
type blocks struct {
	until time.Time // the destination is suspended
	wait  time.Duration
	good  int // replies since the last block that were none
	reply string
	holds []Advice // streams held for their sender's domain
}

const (
	firstBlock   = 15 * time.Minute
	longestBlock = 4 * time.Hour
	blockOver    = 100 // good replies, after which the next block is a first one
	maxHolds     = 16

	scopeSenderDomain = "sender-domain"
)

// blocked notes a block, and reports whether the destination is suspended for it.
func (b *blocks) blocked(now time.Time, f Feedback) bool {
	if f.Scope == scopeSenderDomain && f.Stream != "" {
		b.hold(now, f)
		return false
	}
	if now.Before(b.until) {
		return false // of the same burst
	}
	b.lengthen()
	b.until = now.Add(max(b.wait, min(f.Wait, day)))
	b.reply = shorten(f.Text)
	return true
}

func (b *blocks) lengthen() {
	b.wait = max(firstBlock, min(2*b.wait, longestBlock))
	b.good = 0
}

func (b *blocks) hold(now time.Time, f Feedback) {
	kept := b.holds[:0]
	for _, h := range b.holds {
		if h.Hold == f.Stream && now.Before(h.Until) {
			return // of the same burst
		}
		if now.Before(h.Until) {
			kept = append(kept, h)
		}
	}
	b.lengthen()
	b.holds = kept
	if len(kept) < maxHolds {
		wait := max(b.wait, min(f.Wait, day))
		b.holds = append(kept, Advice{Hold: f.Stream, Until: now.Add(wait), Why: shorten(f.Text), Rule: ruleAdaptive})
	}
}

func (b *blocks) passed(now time.Time) {
	if now.Before(b.until) || b.wait == 0 {
		return
	}
	if b.good++; b.good >= blockOver {
		b.wait = 0
	}
}

// advice returns the streams held now; nil for none.
func (b *blocks) advice(now time.Time) []Advice {
	var list []Advice
	for _, h := range b.holds {
		if now.Before(h.Until) {
			list = append(list, h)
		}
	}
	return list
}
