package spool

import (
	"slices"
	"strconv"

	"github.com/volleymail/volley/sender"
)

// purgeSlice is how many ended pairs a transaction forgets at most.
const purgeSlice = 256

// tx is a transaction of the writer. What memory has of the file is changed
// when it is committed.
type tx struct {
	*writer
	touched  []*line         // that have a hold
	created  []*line         // not in the file before
	hashed   [][32]byte      // of contents, not in the file before
	uses     map[int64]int64 // changes of content.uses
	left     []placed        // are not handed out any more
	marked   []int64         // are in flight, as the file has it
	unlost   []int64         // are not any more
	thinned  []*line         // whose first may be gone; Take is held off
	next     map[*line]int64 // of those that are thinned
	emptied  []*line         // to be forgotten
	canceled []string        // campaigns that are canceled by it
	probe    bool            // something must be written

	ends     map[int64]*waiter // have ended by it
	endsDone map[int64]bool    // of these, those that are ended pairs
	acked    map[int64]bool    // results that it will acknowledge
	logged   int               // how many ends of the log it has
	locked   bool              // it holds log.mu
}

// placed is a recipient in its line.
type placed struct {
	line *line
	key  key
}

// all begins, applies the group and commits, or rolls back.
func (t *tx) all(group []*request) (err error) {
	if _, err := t.begin.exec(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = t.rollback.exec() // fails if SQLite has rolled back by itself
		}
	}()
	if err := t.applyLog(); err != nil {
		return err
	}
	if err := t.endAll(); err != nil { // before what looks at the recipients
		return err
	}
	for _, r := range group {
		if err := r.apply(t); err != nil {
			return err
		}
	}
	if err := t.finish(); err != nil {
		return err
	}
	if _, err := t.commit.exec(); err != nil {
		return err
	}
	t.counted = t.numbers()
	return nil
}

// finish does what is done once for all.
func (t *tx) finish() error {
	if err := t.endAll(); err != nil {
		return err
	}
	if err := t.writeUses(); err != nil {
		return err
	}
	if err := t.first(); err != nil {
		return err
	}
	if err := t.dropEmpty(); err != nil {
		return err
	}
	if t.purgeAt <= t.now {
		if err := t.forgetEnded(); err != nil {
			return err
		}
	}
	n := t.numbers()
	if t.counted == n && !t.probe {
		return nil
	}
	_, err := t.count.exec(n[0], n[1], n[2], n[3])
	return err
}

// numbers are what table counter has.
func (w *writer) numbers() [4]int64 {
	return [4]int64{w.recipients, w.results, w.lines, w.content}
}

// first finds when the first of the lines are due that are thinned.
func (t *tx) first() error {
	for _, l := range t.thinned {
		if _, ok := t.next[l]; ok {
			continue
		}
		if t.next == nil {
			t.next = map[*line]int64{}
		}
		t.next[l] = never
		from, ahead, _ := t.s.lines.pending(l)
		err := t.waitingAfter.query(func(row []value) error {
			if t.s.lines.waits(integer(row[0])) {
				t.next[l] = min(t.next[l], integer(row[1]))
			}
			return nil
		}, l.id, from.at, from.id, int64(1+ahead))
		if err != nil {
			return err
		}
	}
	return nil
}

// settle brings memory to where the file is.
func (t *tx) settle(ok bool) {
	if ok {
		t.settleEnds()
	}
	ls := &t.s.lines
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range t.touched {
		if ok {
			l.next = min(l.next, l.hold.at)
			ls.lower(l, l.hold)
			ls.rewind(l)
		}
		l.hold = end
		if ok {
			ls.schedule(l)
		}
	}
	if !ok {
		t.undo()
		return
	}
	for l, next := range t.next {
		l.next = next
		ls.schedule(l)
	}
	for _, l := range t.emptied {
		ls.remove(l)
	}
	for _, id := range t.unlost {
		delete(ls.lost, id)
	}
	for _, id := range t.marked {
		ls.lost[id] = struct{}{}
	}
	for _, p := range t.left {
		if ls.gone != nil {
			ls.gone[p.key.id] = struct{}{}
		}
		if _, out := ls.out[p.key.id]; out {
			delete(ls.out, p.key.id)
			p.line.out--
			ls.maybeEmpty(p.line)
		}
	}
	for _, c := range t.canceled {
		ls.canceled[c] = true
	}
}

// undo forgets what is not in the file after all. The numbers that were given
// out are lost.
func (t *tx) undo() {
	for _, l := range t.created {
		t.s.lines.remove(l)
	}
	for _, h := range t.hashed {
		t.forgetContent(t.contents[h])
	}
	t.s.lines.empty = append(t.s.lines.empty, t.emptied...)
	t.purgeAt = min(t.purgeAt, t.now)
}

// line gives the line, a new one if need be.
func (t *tx) line(l sender.Line) (*line, error) {
	if known := t.s.lines.byLine[l]; known != nil {
		return known, nil
	}
	t.lines++
	if _, err := t.insertLine.exec(t.lines, l.Domain, l.Stream, l.Campaign); err != nil {
		return nil, err
	}
	n := t.s.lines.add(t.lines, l)
	t.created = append(t.created, n)
	return n, nil
}

// isCanceled reports whether a campaign is canceled.
func (t *tx) isCanceled(campaign string) bool {
	return t.s.lines.canceled[campaign] || slices.Contains(t.canceled, campaign)
}

// place gives a recipient its place in a line, and what the file has of the due
// time: NULL if the place says it.
func (t *tx) place(l *line, due, id int64) (at int64, asked value) {
	at, first := t.s.lines.place(l, due, id)
	if first {
		t.touched = append(t.touched, l)
	}
	if at >= due+tick {
		asked = due
	}
	return at, asked
}

// dropEmpty deletes lines that nobody waits in, lest they pile up.
func (t *tx) dropEmpty() error {
	ls := &t.s.lines
	ls.mu.Lock()
	n := max(0, len(ls.empty)-purgeSlice)
	some := append([]*line(nil), ls.empty[n:]...)
	ls.empty = ls.empty[:n]
	ls.mu.Unlock()
	for i, l := range some {
		if ls.byID[l.id] != l || !ls.isEmpty(l) {
			continue
		}
		n, err := t.deleteLine.exec(l.id)
		if err != nil {
			ls.mu.Lock()
			ls.empty = append(ls.empty, some[i:]...)
			ls.mu.Unlock()
			return err
		}
		if n > 0 {
			t.emptied = append(t.emptied, l)
		}
	}
	return nil
}

// isEmpty reports whether memory knows of nobody in the line.
func (ls *lines) isEmpty(l *line) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return l.state == idle && l.out == 0 && l.hold == end && l.next == never
}

// minRun is how many ids that follow each other are worth a statement of their own.
const minRun = 8

// bulk does something to the rows with some ids: by a range for those that follow
// each other, which costs half as much, and by a list for the others.
type bulk struct{ span, list *stmt }

// exec passes what follows the ids on to the statements.
func (b *bulk) exec(ids []int64, also ...value) error {
	var others []int64
	for len(ids) > 0 {
		n := 1
		for n < len(ids) && ids[n] == ids[n-1]+1 {
			n++
		}
		if n < minRun {
			others = append(others, ids[:n]...)
		} else if _, err := b.span.exec(append([]value{ids[0], ids[n-1]}, also...)...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	if len(others) == 0 {
		return nil
	}
	_, err := b.list.exec(append([]value{idList(others)}, also...)...)
	return err
}

// idList is ids as JSON.
func idList(ids []int64) string {
	b := make([]byte, 0, 2+10*len(ids))
	b = append(b, '[')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, ']'))
}
