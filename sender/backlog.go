package sender

import (
	"container/heap"
	"slices"
	"time"
)

// backlog holds the items of a site: those that can go, in a lane for each
// stream and pool of sources, those that wait for their time, and those that are
// suspended. Owned by the site.
type backlog struct {
	s      *Sender
	site   string // its name
	lanes  []*lane
	flows  []*flow // one for each stream
	later  later
	vnow   float64 // virtual time: that of the flow served last
	passed int     // permits in a row that went past a lane of lower priority
	served uint64  // permits

	orders    *orders      // as of the last look
	suspends  []Suspension // those of orders that name this site and are in force
	moves     []Moved      // those of orders that name this site
	suspended list         // could go, but for suspends
	lapse     time.Time    // when the first of suspends ends, zero for never
}

// lane is the mail of one stream and pool of sources that can go. Streams of one
// priority share the permits by weight: each permit costs a flow 1/share of
// virtual time, and the flow that is least far goes first (start-time fair
// queueing). A flow that was empty starts at the present, so rest earns no claim.
// Lanes of one flow take turns.
type lane struct {
	flow    *flow
	pool    []string        // names of the sources that may send it, none = all
	sources map[string]bool // the same, nil = all
	first   list            // engaged recipients
	rest    list
	sticky  map[string]*list // greylisted from a source: try the same again
	served  uint64           // backlog.served when it last got a permit
}

// patience is how many permits in a row may go to higher priorities while a
// lower one waits: it gets the next.
const patience = 10

func (l *lane) len() int {
	n := l.first.n + l.rest.n
	for _, s := range l.sticky {
		n += s.n
	}
	return n
}

// takes reports whether source may send its mail.
func (l *lane) takes(source string) bool { return l.sources == nil || l.sources[source] }

// open returns how many items source may take now.
func (l *lane) open(source string, now time.Time) int {
	if now.Before(l.flow.until) || !l.takes(source) {
		return 0
	}
	n := l.first.n + l.rest.n
	if s := l.sticky[source]; s != nil {
		n += s.n
	}
	return n
}

// list returns the list whose head source takes next.
func (l *lane) list(source string) *list {
	switch s := l.sticky[source]; {
	case s != nil && s.n > 0:
		return s
	case l.first.n > 0:
		return &l.first
	default:
		return &l.rest
	}
}

// home is the list that an item belongs in.
func (l *lane) home(it *item) *list {
	if it.msg.Engaged {
		return &l.first
	}
	return &l.rest
}

func (l *lane) lists() []*list {
	all := []*list{&l.first, &l.rest}
	for _, s := range l.sticky {
		all = append(all, s)
	}
	return all
}

// lane returns that of an item, made if it is new.
func (b *backlog) lane(it *item) *lane {
	pool := b.pool(it)
	for _, l := range b.lanes {
		if l.flow.stream == it.msg.Stream && slices.Equal(l.pool, pool) {
			return l
		}
	}
	l := &lane{flow: b.flow(it.msg.Stream), pool: slices.Clone(pool)}
	if len(pool) > 0 {
		l.sources = map[string]bool{}
		for _, name := range pool {
			l.sources[name] = true
		}
	}
	b.lanes = append(b.lanes, l)
	return l
}

// enter returns the item's lane. Its flow is set to the present if it was empty.
func (b *backlog) enter(it *item) *lane {
	l := b.lane(it)
	if !slices.ContainsFunc(b.lanes, func(o *lane) bool { return o.flow == l.flow && o.len() > 0 }) {
		l.flow.vtime = max(l.flow.vtime, b.vnow)
	}
	return l
}

func (b *backlog) len() int { return b.ready() + len(b.later) }

// ready counts the items whose time has come, those of held lanes and those that
// are suspended included.
func (b *backlog) ready() int {
	n := b.suspended.n
	for _, l := range b.lanes {
		n += l.len()
	}
	return n
}

// waiting counts the items of a stream that are in its lanes.
func (b *backlog) waiting(stream string) (n int) {
	for _, l := range b.lanes {
		if l.flow.stream == stream {
			n += l.len()
		}
	}
	return n
}

// open counts the items that source may take now.
func (b *backlog) open(source string, now time.Time) (n int) {
	for _, l := range b.lanes {
		n += l.open(source, now)
	}
	return n
}

// release returns when the next held lane with items is free, or a suspension
// ends, zero for never.
func (b *backlog) release(now time.Time) (t time.Time) {
	if b.suspended.n > 0 {
		t = b.lapse
	}
	for _, l := range b.lanes {
		if now.Before(l.flow.until) && l.len() > 0 {
			t = sooner(t, l.flow.until)
		}
	}
	return t
}

// add puts a new item behind the others of its lane.
func (b *backlog) add(it *item) {
	if b.suspends != nil && b.suspension(it) != nil {
		if !b.returned(it) {
			b.suspended.pushBack(it)
		}
		return
	}
	b.enter(it).home(it).pushBack(it)
}

// putBack puts undecided items before the others of their lanes, in order.
func (b *backlog) putBack(items []*item) {
	for i := len(items) - 1; i >= 0; i-- {
		b.putFirst(items[i], "")
	}
}

// putFirst puts an item before the others of its lane: those that wait for a
// source, if one is named that may send it.
func (b *backlog) putFirst(it *item, source string) {
	if b.suspends != nil && b.suspension(it) != nil {
		if !b.returned(it) {
			b.suspended.pushFront(it)
		}
		return
	}
	l := b.enter(it)
	if source == "" || !l.takes(source) {
		l.home(it).pushFront(it)
		return
	}
	if l.sticky == nil {
		l.sticky = map[string]*list{}
	}
	if l.sticky[source] == nil {
		l.sticky[source] = &list{}
	}
	l.sticky[source].pushFront(it)
}

// postpone keeps the item until it is due.
func (b *backlog) postpone(it *item, due time.Time) {
	it.due = due.UnixNano()
	heap.Push(&b.later, it)
}

// promote makes ready what is due: what was tried goes before what was not. ready
// may take an item away, and names the source that it should wait for.
func (b *backlog) promote(now time.Time, ready func(*item) (source string, ok bool)) {
	var tried, sources = []*item(nil), []string(nil)
	for n := now.UnixNano(); len(b.later) > 0 && b.later[0].due <= n; {
		it := heap.Pop(&b.later).(*item)
		source, ok := ready(it)
		switch {
		case !ok:
		case it.tries == 0:
			b.add(it)
		default:
			tried, sources = append(tried, it), append(sources, source)
		}
	}
	for i := len(tried) - 1; i >= 0; i-- {
		b.putFirst(tried[i], sources[i])
	}
}

// hasten makes due what matches, and returns how many these are. A scheduled start
// is now.
func (b *backlog) hasten(match func(*item) bool, now time.Time) (n int) {
	for _, it := range b.later {
		if match(it) {
			it.due, it.born = now.UnixNano(), min(it.born, now.UnixNano())
			n++
		}
	}
	heap.Init(&b.later)
	return n
}

// unstick lets any source take what waited for this one.
func (b *backlog) unstick(source string) {
	for _, l := range b.lanes {
		if s := l.sticky[source]; s != nil {
			l.rest.prepend(*s)
			delete(l.sticky, source)
		}
	}
}

// nextDue returns when promote has something to do, the zero time for never.
func (b *backlog) nextDue() time.Time {
	if len(b.later) == 0 {
		return time.Time{}
	}
	return time.Unix(0, b.later[0].due)
}

// pick returns the lane that source serves next, and the one of lower priority
// that would be next; nil if there is none.
func (b *backlog) pick(source string, now time.Time) (best, lower *lane) {
	for _, l := range b.lanes {
		if l.open(source, now) == 0 {
			continue
		}
		switch {
		case best == nil:
			best = l
		case l.flow.priority == best.flow.priority:
			best = ahead(l, best)
		case l.flow.priority > best.flow.priority:
			best, lower = l, ahead(best, lower)
		default:
			lower = ahead(l, lower)
		}
	}
	return best, lower
}

// turn picks the lane for a permit: that of the highest priority, but for one
// permit in a while.
func (b *backlog) turn(source string, now time.Time) *lane {
	best, lower := b.pick(source, now)
	if lower == nil {
		return best
	}
	if b.passed++; b.passed > patience {
		b.passed = 0
		return lower
	}
	return best
}

// ahead returns the lane whose turn is first; b may be nil.
func ahead(a, b *lane) *lane {
	switch {
	case b == nil || a.flow.vtime < b.flow.vtime:
		return a
	case a.flow == b.flow && a.served < b.served:
		return a
	default:
		return b
	}
}

// take moves the next item for a connection of source to the servers called set,
// and those of the same message and domain that follow it, to items, max at most.
func (b *backlog) take(items []*item, source, set string, max int, now time.Time) []*item {
	l := b.turn(source, now)
	if l == nil {
		return items
	}
	from := l.list(source)
	first := from.popSet(set)
	if first == nil {
		return items // the next item needs another connection
	}
	b.vnow = l.flow.vtime
	l.flow.vtime += 1 / l.flow.share
	b.served++
	l.served = b.served
	items = append(items, first)
	for len(items) < max {
		it := from.head
		if it == nil || it.id != first.id || it.msg != first.msg || it.domain != first.domain || isASCIIString(it.recipient()) != isASCIIString(first.recipient()) {
			break
		}
		items = append(items, from.pop())
	}
	return items
}

// wanting returns an item for which source has no connection under way: busy
// tells how many there are to a set of servers. nil means that there is none.
func (b *backlog) wanting(source string, busy map[string]int, now time.Time) *item {
	best, _ := b.pick(source, now)
	if best == nil {
		return nil
	}
	if it := best.list(source).wanting(busy); it != nil {
		return it
	}
	for _, l := range b.lanes {
		if l != best && l.open(source, now) > 0 {
			if it := l.list(source).wanting(busy); it != nil {
				return it
			}
		}
	}
	return nil
}

// filterReady takes out the ready items, also suspended ones, for which keep is
// false; keep may hand them on.
func (b *backlog) filterReady(keep func(*item) bool) {
	b.suspended.filter(keep)
	b.filterLanes(keep)
}

// filterLanes does it with those that are not suspended.
func (b *backlog) filterLanes(keep func(*item) bool) {
	for _, l := range b.lanes {
		for _, part := range l.lists() {
			part.filter(keep)
		}
	}
}

// filter does the same with all items.
func (b *backlog) filter(keep func(*item) bool) {
	b.filterReady(keep)
	kept := b.later[:0]
	for _, it := range b.later {
		if keep(it) {
			kept = append(kept, it)
		}
	}
	clear(b.later[len(kept):])
	b.later = kept
	heap.Init(&b.later)
}
