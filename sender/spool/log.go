package spool

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// Before the end of a message goes out its mark must be on disk, and a connection
// waits for it. A transaction of SQLite takes several times as long as the disk
// needs. So marks are in a log of their own, path-log, and with them the results
// that are known by then: they are applied to the database later, for many at
// once, see end.go.
//
// What the database says goes before the log: of a recipient that has ended there,
// or has got another place in its line by sender.Later, the log says nothing. So
// neither need be written twice. Whoever may get a place again that a mark in the
// log is for needs it renewed before. Open applies what the log has, moves its marks to
// the table inflight, and begins anew.
type log struct {
	path    string
	pending atomic.Int64 // results that are not applied

	mu      sync.Mutex      // held by the writer from where it gives out a Seq until the commit
	f       *logFile        // nil when it is closed
	results int64           // the last Seq that was given out
	live    map[int64]int64 // who has a mark, and the place in the line: one who has another place has none
	top     int64           // the file has no mark for a later place
	ends    []logEnd        // not applied, by Seq
	views   []*markView
}

// logEnd is a result in the log.
type logEnd struct {
	id, seq, at int64
	detail      string // sender.Result in JSON
}

// markView collects the marks that held at some time since it began: a recipient may
// have had several, each at another place.
type markView struct{ marks [][2]int64 }

// pairs are marks as keepMarks wants them: id and place.
func pairs(marks map[int64]int64) [][2]int64 {
	list := make([][2]int64, 0, len(marks))
	for id, at := range marks {
		list = append(list, [2]int64{id, at})
	}
	return list
}

// maxPending is how many results the log has at most that are not applied.
const maxPending = 4096

// open opens the log, or makes it, and reads it.
func (l *log) open(path string) (err error) {
	l.path, l.live = path, map[int64]int64{}
	if l.f, err = openLog(path); err != nil {
		return err
	}
	err = l.f.read(func(e logEntry) {
		switch e.kind {
		case entryMarked:
			l.live[e.id] = e.at
		case entryUnmarked:
			delete(l.live, e.id)
		case entryEnded:
			delete(l.live, e.id)
			l.ends = append(l.ends, e.logEnd)
			l.results = max(l.results, e.seq)
		}
	})
	if err != nil {
		err = errors.Join(err, l.f.f.Close())
		l.f = nil // lest closeLog removes what was not read
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	l.pending.Store(int64(len(l.ends)))
	return nil
}

// begin begins the log anew, when the database has all that it said, and makes
// sure that it is there after a crash.
func (l *log) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.live)
	if err := l.renew(); err != nil {
		return err
	}
	return logDisk.syncFolder(filepath.Dir(l.path))
}

// renew makes the file have no marks but those that hold. mu is held.
func (l *log) renew() error {
	if err := l.f.begin(l.all()); err != nil {
		return err
	}
	l.top = start.at
	for _, at := range l.live {
		l.top = max(l.top, at)
	}
	return nil
}

// renewFor renews the file if it may have a mark for a place that whoever is due
// then can get. It is not for those that have a mark which holds.
func (l *log) renewFor(due int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case due > l.top:
		return nil
	case l.f == nil:
		return ErrClosed
	}
	return l.renew()
}

// reaches reports whether renewFor would renew.
func (l *log) reaches(due int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return due <= l.top
}

// all is what a new region of the log begins with.
func (l *log) all() []logEntry {
	entries := make([]logEntry, 0, len(l.live)+len(l.ends))
	for id, at := range l.live {
		entries = append(entries, logEntry{kind: entryMarked, logEnd: logEnd{id: id, at: at}})
	}
	for _, e := range l.ends {
		entries = append(entries, logEntry{entryEnded, e})
	}
	return entries
}

// write adds entries, and returns when a crash would not undo that. Ends get
// their Seq, but those that are not handed out, or have ended before.
// first says that it had no ends before.
func (l *log) write(entries []logEntry, ls *lines) (first bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return false, ErrClosed
	}
	before := len(l.ends)
	var kept, undo []logEntry
	for i := range entries {
		e := &entries[i]
		at, marked := l.live[e.id]
		was := logEntry{entryMarked, logEnd{id: e.id, at: at}}
		switch {
		case e.kind == entryUnmarked && !marked, e.kind == entryEnded && !ls.take(e.id):
			continue
		case e.kind == entryMarked:
			l.live[e.id] = e.at
			l.top = max(l.top, e.at)
			if !marked {
				was.kind = entryUnmarked
			}
			undo = append(undo, was)
		case marked:
			delete(l.live, e.id)
			if e.kind == entryEnded {
				undo = append(undo, was)
			}
		}
		if e.kind == entryEnded {
			l.results++
			e.seq = l.results
			l.ends = append(l.ends, e.logEnd)
		}
		kept = append(kept, *e)
	}
	if len(kept) == 0 && l.f.sound() {
		return false, nil
	}
	if err := l.f.add(kept, l.all); err != nil {
		l.undo(undo)
		for _, e := range l.ends[before:] {
			ls.giveBack(e.id)
		}
		clear(l.ends[before:])
		l.ends = l.ends[:before]
		return false, err
	}
	l.pending.Store(int64(len(l.ends)))
	for _, v := range l.views {
		for _, e := range kept {
			if e.kind == entryMarked {
				v.marks = append(v.marks, [2]int64{e.id, e.at})
			}
		}
	}
	return before == 0 && len(l.ends) > 0, nil
}

// undo sets marks to what they were. What was unmarked stays so: it is true.
func (l *log) undo(entries []logEntry) {
	for _, e := range slices.Backward(entries) {
		if e.kind == entryMarked {
			l.live[e.id] = e.at
		} else {
			delete(l.live, e.id)
		}
	}
}

// unapplied returns the ends that are not applied, but for the first ones. mu is
// held.
func (l *log) unapplied(but int) []logEnd { return slices.Clone(l.ends[but:]) }

// applied forgets the first n ends: the database has them. mu is held.
func (l *log) applied(n int) {
	l.ends = slices.Delete(l.ends, 0, n)
	l.pending.Store(int64(len(l.ends)))
}

// left notes that recipients have ended in the database, or got another place. mu
// is held.
func (l *log) left(who []placed) {
	for _, p := range who {
		delete(l.live, p.key.id)
	}
}

// watch begins a view.
func (l *log) watch() *markView {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &markView{marks: pairs(l.live)}
	l.views = append(l.views, v)
	return v
}

// unwatch ends a view and returns its marks.
func (l *log) unwatch(v *markView) [][2]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.views = slices.DeleteFunc(l.views, func(o *markView) bool { return o == v })
	return v.marks
}

// marks are those that hold.
func (l *log) marks() map[int64]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.live)
}

func (l *log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.f.Close()
}
