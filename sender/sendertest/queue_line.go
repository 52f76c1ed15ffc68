package sendertest

import (
	"cmp"
	"container/heap"
	"time"

	"github.com/volleymail/volley/sender"
)

// queueLine is a heap of recipients, by due time and ID: those of one message
// that are due together stand together.
type queueLine struct {
	sender.Line
	heap []*queuedRecipient
}

func (l *queueLine) Len() int { return len(l.heap) }
func (l *queueLine) Less(i, j int) bool {
	a, b := l.heap[i], l.heap[j]
	return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.id, b.id)) < 0
}
func (l *queueLine) Swap(i, j int) {
	l.heap[i], l.heap[j] = l.heap[j], l.heap[i]
	l.heap[i].place, l.heap[j].place = i, j
}
func (l *queueLine) Push(x any) {
	r := x.(*queuedRecipient)
	r.place = len(l.heap)
	l.heap = append(l.heap, r)
}
func (l *queueLine) Pop() any {
	last := len(l.heap) - 1
	r := l.heap[last]
	l.heap[last] = nil
	l.heap = l.heap[:last]
	r.place = -1
	return r
}

// enline makes a recipient wait.
func (s *queueState) enline(r *queuedRecipient) {
	l := s.lines[r.line]
	if l == nil {
		l = &queueLine{Line: r.line}
		s.lines[r.line] = l
		s.turns[r.line.Stream] = append(s.turns[r.line.Stream], l)
	}
	heap.Push(l, r)
}

// unline takes a waiting recipient out of its line.
func (s *queueState) unline(r *queuedRecipient) { heap.Remove(s.lines[r.line], r.place) }

// take hands out what is due: a message of each line in turn, until max is
// reached or every line has nothing due or no room left.
func (s *queueState) take(stream string, now time.Time, max int, room func(sender.Line) int) (out []handed, next time.Time) {
	turns := s.turns[stream]
	rooms := map[*queueLine]int{}
	var done []*queueLine // their turn is over
	for max > 0 && len(turns) > 0 {
		l := turns[0]
		turns = turns[1:]
		if l.Len() == 0 {
			delete(s.lines, l.Line)
			continue
		}
		if l.heap[0].due.After(now) {
			done = append(done, l)
			continue
		}
		free, asked := rooms[l]
		if !asked {
			free = room(l.Line)
		}
		if free > 0 {
			h := l.pop(now, min(free, max))
			out = append(out, h)
			free -= len(h)
			max -= len(h)
		}
		rooms[l] = free
		if free > 0 {
			turns = append(turns, l)
		} else {
			done = append(done, l)
		}
	}
	s.turns[stream] = append(turns, done...)
	return out, nextDue(s.turns[stream], rooms, now)
}

// pop takes the first message's recipients that are due, max at most.
func (l *queueLine) pop(now time.Time, max int) (h handed) {
	for len(h) < max && l.Len() > 0 {
		r := l.heap[0]
		if r.due.After(now) || len(h) > 0 && r.msg != h[0].msg {
			break
		}
		h = append(h, heap.Pop(l).(*queuedRecipient))
	}
	return h
}

// nextDue is when the first falls due of those that no want of room keeps back.
func nextDue(lines []*queueLine, rooms map[*queueLine]int, now time.Time) (next time.Time) {
	for _, l := range lines {
		if l.Len() == 0 {
			continue
		}
		due := l.heap[0].due
		if due.IsZero() { // at once
			due = now
		}
		if free, asked := rooms[l]; asked && free <= 0 && !due.After(now) {
			continue
		}
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}
