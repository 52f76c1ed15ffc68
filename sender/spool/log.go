package spool

import (
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
// once. Until then the recipients are as if they were untidy, see tidy.go.
//
// What the database says goes before the log: of a recipient that has ended
// there, the log says nothing. Open applies what the log has, moves its marks to
// the table inflight, and begins anew.
type log struct {
	path    string
	pending atomic.Int64 // results that are not applied

	mu      sync.Mutex         // held by the writer from where it gives out a Seq until the commit
	f       *logFile           // nil when it is closed
	results int64              // the last Seq that was given out
	live    map[int64]struct{} // have a mark and have not ended
	ends    []logEnd           // not applied, by Seq
	views   []*markView
}

// logEnd is a result in the log.
type logEnd struct {
	id, seq, at int64
	detail      string // sender.Result in JSON
}

// markView collects the marks that held at some time since it began.
type markView struct{ ids map[int64]struct{} }

// maxPending is how many results the log has at most that are not applied.
const maxPending = 4096

// open opens the log, or makes it, and reads it.
func (l *log) open(path string) (err error) {
	l.path, l.live = path, map[int64]struct{}{}
	if l.f, err = openLog(path); err != nil {
		return err
	}
	err = l.f.read(func(e logEntry) {
		switch e.kind {
		case entryMarked:
			l.live[e.id] = struct{}{}
		case entryUnmarked:
			delete(l.live, e.id)
		case entryEnded:
			delete(l.live, e.id)
			l.ends = append(l.ends, e.logEnd)
			l.results = max(l.results, e.seq)
		}
	})
	if err != nil {
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
	if err := l.f.begin(l.all()); err != nil {
		return err
	}
	return logDisk.syncFolder(filepath.Dir(l.path))
}

// all is what a new region of the log begins with.
func (l *log) all() []logEntry {
	entries := make([]logEntry, 0, len(l.live)+len(l.ends))
	for id := range l.live {
		entries = append(entries, logEntry{kind: entryMarked, logEnd: logEnd{id: id}})
	}
	for _, e := range l.ends {
		entries = append(entries, logEntry{entryEnded, e})
	}
	return entries
}

// write adds entries, and returns when a crash would not undo that. Ends get
// their Seq, but those that take refuses.
func (l *log) write(entries []logEntry, take func(id int64) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return ErrClosed
	}
	before := len(l.ends)
	var kept, undo []logEntry
	for i := range entries {
		e := &entries[i]
		_, marked := l.live[e.id]
		switch {
		case e.kind == entryMarked && marked, e.kind == entryUnmarked && !marked, e.kind == entryEnded && !take(e.id):
			continue
		case e.kind == entryMarked:
			l.live[e.id] = struct{}{}
			undo = append(undo, *e)
		case marked:
			delete(l.live, e.id)
			if e.kind == entryEnded {
				undo = append(undo, *e)
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
		return nil
	}
	if err := l.f.add(kept, l.all); err != nil {
		l.undo(undo)
		clear(l.ends[before:])
		l.ends = l.ends[:before]
		return err
	}
	l.pending.Store(int64(len(l.ends)))
	for _, v := range l.views {
		for _, e := range kept {
			if e.kind == entryMarked {
				v.ids[e.id] = struct{}{}
			}
		}
	}
	return nil
}

// undo takes back what was noted of marks. What was unmarked stays so: that is
// said of those whose fate is known.
func (l *log) undo(entries []logEntry) {
	for _, e := range slices.Backward(entries) {
		if e.kind == entryMarked {
			delete(l.live, e.id)
		} else {
			l.live[e.id] = struct{}{}
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

// ended notes that recipients have ended in the database. mu is held.
func (l *log) ended(ids []int64) {
	for _, id := range ids {
		delete(l.live, id)
	}
}

// watch begins a view.
func (l *log) watch() *markView {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &markView{ids: maps.Clone(l.live)}
	for _, e := range l.ends {
		v.ids[e.id] = struct{}{}
	}
	l.views = append(l.views, v)
	return v
}

// unwatch ends a view and returns its marks.
func (l *log) unwatch(v *markView) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.views = slices.DeleteFunc(l.views, func(o *markView) bool { return o == v })
	return slices.Sorted(maps.Keys(v.ids))
}

// marks are those that hold.
func (l *log) marks() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.live))
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
