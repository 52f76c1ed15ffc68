package sender

import (
	"container/heap"
	"time"
)

// backlog holds the items of a site: those that can go, in a lane for each
// stream and pool of sources, and those that wait for their time. Owned by the site.
type backlog struct {
	s      *Sender
	lanes  []*lane
	holds  []*hold // one for each stream
	later  later
	vnow   float64 // virtual time: that of the lane served last
	passed int     // permits in a row that went past a lane of lower priority
}

// lane is the mail of one stream that can go. Lanes of one priority share the
// permits by weight: each permit costs a lane 1/share of virtual time, and the
// lane that is least far goes first (start-time fair queueing). A lane that was
// empty starts at the present, so rest earns no claim.
type lane struct {
	key      string // see laneKey
	stream   string
	priority int
	share    float64
	sources  map[string]bool // that may send it, nil = all
	first    list            // engaged recipients
	rest     list
	sticky   map[string]*list // greylisted from a source: try the same again
	vtime    float64
	hold     *hold // of the stream
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

// open returns how many items source may take now.
func (l *lane) open(source string, now time.Time) int {
	if now.Before(l.hold.until) || l.sources != nil && !l.sources[source] {
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
	pool := b.s.pool(it)
	key := laneKey(it.msg.Stream, pool)
	for _, l := range b.lanes {
		if l.key == key {
			return l
		}
	}
	st := b.s.cfg.Streams[it.msg.Stream]
	l := &lane{key: key, stream: it.msg.Stream, priority: st.Priority, share: float64(max(st.Share, 1)), hold: b.holdOf(it.msg.Stream)}
	if len(pool) > 0 {
		l.sources = map[string]bool{}
		for _, name := range pool {
			l.sources[name] = true
		}
	}
	b.lanes = append(b.lanes, l)
	return l
}

// enter returns the item's lane, set to the present if it was empty.
func (b *backlog) enter(it *item) *lane {
	l := b.lane(it)
	if l.len() == 0 {
		l.vtime = max(l.vtime, b.vnow)
	}
	return l
}

func (b *backlog) len() int { return b.ready() + len(b.later) }

// ready counts the items that can go, those of held lanes included.
func (b *backlog) ready() (n int) {
	for _, l := range b.lanes {
		n += l.len()
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

// release returns when the next held lane with items is free, zero for never.
func (b *backlog) release(now time.Time) (t time.Time) {
	for _, l := range b.lanes {
		if now.Before(l.hold.until) && l.len() > 0 {
			t = sooner(t, l.hold.until)
		}
	}
	return t
}

// add puts a new item behind the others of its lane.
func (b *backlog) add(it *item) {
	l := b.enter(it)
	l.home(it).pushBack(it)
}

// putBack puts undecided items before the others of their lanes, in order.
func (b *backlog) putBack(items []*item) {
	for i := len(items) - 1; i >= 0; i-- {
		l := b.enter(items[i])
		l.home(items[i]).pushFront(items[i])
	}
}

// postpone keeps the item until it is due.
func (b *backlog) postpone(it *item, due time.Time) {
	it.due = due.UnixNano()
	heap.Push(&b.later, it)
}

// promote makes ready what is due, before what has not been tried yet. An item
// for which stick names a source waits for that one.
func (b *backlog) promote(now time.Time, stick func(*item) string) {
	var due []*item
	for n := now.UnixNano(); len(b.later) > 0 && b.later[0].due <= n; {
		due = append(due, heap.Pop(&b.later).(*item))
	}
	for i := len(due) - 1; i >= 0; i-- {
		it := due[i]
		l := b.enter(it)
		source := stick(it)
		if source == "" || l.sources != nil && !l.sources[source] {
			l.home(it).pushFront(it)
			continue
		}
		if l.sticky == nil {
			l.sticky = map[string]*list{}
		}
		if l.sticky[source] == nil {
			l.sticky[source] = &list{}
		}
		l.sticky[source].pushFront(it)
	}
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
		case l.priority == best.priority:
			best = ahead(l, best)
		case l.priority > best.priority:
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

// ahead returns the lane that is least far; b may be nil.
func ahead(a, b *lane) *lane {
	if b == nil || a.vtime < b.vtime {
		return a
	}
	return b
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
	b.vnow = l.vtime
	l.vtime += 1 / l.share
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

// filterReady takes out the ready items for which keep is false; keep may hand
// them on.
func (b *backlog) filterReady(keep func(*item) bool) {
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
