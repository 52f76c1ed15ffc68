package sender

import (
	"errors"
	"time"

	"github.com/volleymail/volley/bounce"
)

// item is one recipient on its way: all that is held for one that waits. It
// belongs to whoever holds it: run, scheduler, site or session, one at a time.
type item struct {
	msg    *Message
	run    *run
	domain *domain
	last   *failure // of the last attempt, nil before the first
	next   *item    // in a list
	born   int64    // when the Sender took it, or its scheduled start, Unix nanoseconds
	due    int64    // not before
	id     uint64   // number of the message: orders items, makes the Message-ID
	rcpt   uint32   // index in msg.To
	tries  uint16   // failed attempts
	again  uint16   // times it was put back undecided since the last attempt
}

// failure is what an attempt ended with.
type failure struct {
	reply  bounce.Reply
	class  bounce.Class
	source string
	tls    bool
	dot    bool // the end of the message was on the wire
	err    error
}

// set names the servers of the item's domain: a connection to one set takes no
// mail of another, though the Policy may have made them one site.
func (it *item) set() string {
	if rt := it.domain.servers.Load(); rt != nil {
		return rt.Site
	}
	return ""
}

// because is why an item ends that was not decided: its last failure, and what
// keeps it from being tried again.
func (it *item) because(cause error) *failure {
	f := failure{err: cause}
	if it.last != nil {
		f = *it.last
		f.err = cause
		if it.last.err != nil {
			f.err = errors.Join(cause, it.last.err)
		}
	}
	return &f
}

func (it *item) recipient() string { return it.msg.To[it.rcpt] }

// waiting is the Queue's part of the item, nil if it is not from there.
func (it *item) waiting() *Waiting {
	if it.msg.queued == nil {
		return nil
	}
	return &it.msg.queued.Recipients[it.rcpt]
}

// attempt puts the last failure in the words of the Queue.
func (it *item) attempt(site string, now time.Time) *Attempt {
	f := it.last
	if f == nil {
		return nil
	}
	a := &Attempt{Time: now, Site: site, Source: f.source, Reply: f.reply, Class: f.class}
	if f.err != nil {
		a.Err = f.err.Error()
	}
	return a
}

// failure is the reverse of item.attempt.
func (a *Attempt) failure() *failure {
	if a == nil {
		return nil
	}
	f := &failure{reply: a.Reply, class: a.Class, source: a.Source}
	if a.Err != "" {
		f.err = errors.New(a.Err)
	}
	return f
}

// list is a queue of items linked through next.
type list struct {
	head, tail *item
	n          int
}

func (l *list) pushBack(it *item) {
	it.next = nil
	if l.tail == nil {
		l.head = it
	} else {
		l.tail.next = it
	}
	l.tail = it
	l.n++
}

func (l *list) pushFront(it *item) {
	it.next = l.head
	l.head = it
	if l.tail == nil {
		l.tail = it
	}
	l.n++
}

func (l *list) pop() *item {
	it := l.head
	if it != nil {
		l.unlink(nil, it)
	}
	return it
}

// popSet takes the first item of a set out of the first few, nil if there is none.
func (l *list) popSet(set string) *item {
	var before *item
	n := 0
	for it := l.head; it != nil && n < lookahead; before, it = it, it.next {
		if it.set() == set {
			l.unlink(before, it)
			return it
		}
		n++
	}
	return nil
}

// wanting returns the first item that no connection under way will serve, as
// busy counts them by set; those that it passes over are taken off busy.
func (l *list) wanting(busy map[string]int) *item {
	n := 0
	for it := l.head; it != nil; it = it.next {
		set := it.set()
		if n++; busy[set] == 0 || n > lookahead {
			return it
		}
		busy[set]--
	}
	return nil
}

// lookahead is how many items are looked through for one that fits a connection.
const lookahead = 64

// unlink takes it out, which follows before; nil if it is the first.
func (l *list) unlink(before, it *item) {
	if before == nil {
		l.head = it.next
	} else {
		before.next = it.next
	}
	if l.tail == it {
		l.tail = before
	}
	it.next = nil
	l.n--
}

// append puts all of back behind l.
func (l *list) append(back list) {
	if l.tail == nil {
		*l = back
		return
	}
	if back.n > 0 {
		l.tail.next = back.head
		l.tail = back.tail
		l.n += back.n
	}
}

// count returns how many items there are that match.
func (l *list) count(match func(*item) bool) (n int) {
	for it := l.head; it != nil; it = it.next {
		if match(it) {
			n++
		}
	}
	return n
}

// prepend puts all of front before l.
func (l *list) prepend(front list) {
	if front.n == 0 {
		return
	}
	front.tail.next = l.head
	l.head = front.head
	if l.tail == nil {
		l.tail = front.tail
	}
	l.n += front.n
}

// filter keeps the items for which keep is true, in order; keep may hand the
// others on.
func (l *list) filter(keep func(*item) bool) {
	old := *l
	*l = list{}
	for it := old.pop(); it != nil; it = old.pop() {
		if keep(it) {
			l.pushBack(it)
		}
	}
}

// later is a heap of items that are not due yet. Items of one message that
// become due together stay together.
type later []*item

func (h later) Len() int { return len(h) }
func (h later) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].id < h[j].id
}
func (h later) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *later) Push(x any)   { *h = append(*h, x.(*item)) }
func (h *later) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}
