package spool

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/volleymail/volley/sender"
)

type value = driver.Value

// What one transaction takes at most, roughly: its pages wait in memory.
const (
	maxGroup      = 4096    // recipients or changes
	maxSubmitted  = 512     // beyond it no more Submits: Writes wait for the same sync
	maxGroupBytes = 8 << 20 // of bodies and data
)

// request is something to be written, with what the caller could prepare.
type request struct {
	apply     func(*tx) error
	rows      int     // about how many
	bytes     int     // about how many
	exclusive bool    // nothing may be handed out meanwhile
	urgent    bool    // goes before those that are not
	acks      []int64 // results that it acknowledges
	state     atomic.Int32
	err       error
	done      chan struct{} // closed when err is set
}

// States of a request.
const (
	waiting = iota
	started
	withdrawn
)

// writer is the connection that writes. It is owned by run.
type writer struct {
	s *Spool
	c *conn

	begin, commit, rollback, count *stmt

	insertLine, deleteLine                 *stmt
	insertContent, insertBody, findContent *stmt
	useContent, freeContent, dropBody      *stmt
	insertMessage, insertRecipient         *stmt
	messageLess, find, later               *stmt
	messageGone, ended                     bulk
	mark, unmark                           *stmt
	insertResult, ack                      *stmt
	cancelCampaign, waitingAfter, moved    *stmt
	insertEnded, deleteEnded               *stmt
	purge, purgeable, firstEnded           *stmt
	save, forget                           *stmt

	recipients, results, lines, content int64    // the last numbers that were given out
	counted                             [4]int64 // of these, what the file has: less, if a transaction was rolled back
	contents                            map[[32]byte]int64
	hashes                              map[int64][32]byte
	purgeAt                             int64 // nothing that has ended can be forgotten before
	now                                 int64 // the latest that a caller passed
}

func (w *writer) open(s *Spool) (err error) {
	w.s = s
	w.contents, w.hashes = map[[32]byte]int64{}, map[int64][32]byte{}
	s.lines.init()
	w.c, err = openConn(s.path, fmt.Sprintf("busy_timeout=%d", busyTimeout.Milliseconds()))
	if err != nil {
		return err
	}
	if err := migrate(w.c, migrations); err != nil {
		return err
	}
	mode := ""
	err = w.c.query("PRAGMA journal_mode=WAL", func(row []value) error { mode = text(row[0]); return nil })
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("%w: no write-ahead log on this file system (journal mode %q)", ErrIO, mode)
	}
	for _, p := range []string{"synchronous=FULL", fmt.Sprintf("cache_size=-%d", s.opt.CacheSize>>10), "wal_autocheckpoint=4000",
		"journal_size_limit=67108864", "temp_store=MEMORY"} {
		if err := w.c.exec("PRAGMA " + p); err != nil {
			return err
		}
	}
	return w.prepare()
}

func (w *writer) prepare() error {
	return w.c.prepareAll(map[**stmt]string{
		&w.begin:    `BEGIN IMMEDIATE`,
		&w.commit:   `COMMIT`,
		&w.rollback: `ROLLBACK`,
		&w.count:    `UPDATE counter SET recipient = ?, result = ?, line = ?, content = ?`,

		&w.insertLine: `INSERT INTO line (id, domain, stream, campaign) VALUES (?, ?, ?, ?)`,
		&w.deleteLine: `DELETE FROM line WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM recipient WHERE line = ?1 AND line <> 0)`,

		&w.findContent:   `SELECT id FROM content WHERE hash = ?`,
		&w.insertContent: `INSERT INTO content (id, hash, template, uses) VALUES (?, ?, ?, 0)`,
		&w.insertBody:    `INSERT INTO body (content, data) VALUES (?, ?)`,
		&w.useContent:    `UPDATE content SET uses = uses + ?2 WHERE id = ?1`,
		&w.freeContent:   `DELETE FROM content WHERE id = ?1 AND uses = ?2`,
		&w.dropBody:      `DELETE FROM body WHERE content = ?`,

		&w.insertMessage: `INSERT INTO message (id, name, sender, content, born, remaining, recipients, tags, more, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)`,
		&w.insertRecipient: `INSERT INTO recipient (id, line, at, due, message, key, address) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (key) DO NOTHING`,
		&w.messageLess:      `UPDATE message SET remaining = remaining - ?2 WHERE id = ?1`,
		&w.messageGone.span: `DELETE FROM message WHERE id BETWEEN ? AND ?`,
		&w.messageGone.list: `DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))`,

		&w.find: `SELECT r.id, r.line, r.at, r.message, m.remaining, m.content FROM json_each(?) j
			CROSS JOIN recipient r ON r.id = j.value LEFT JOIN message m ON m.id = r.message WHERE r.line <> 0`,
		&w.later: `UPDATE recipient SET at = ?2, due = ?3, attempts = ?4, warned = ?5, last = ?6 WHERE id = ?1`,
		&w.ended.span: `UPDATE recipient SET line = 0, at = ?3, address = NULL, due = NULL, attempts = NULL, warned = NULL, last = NULL
			WHERE id BETWEEN ?1 AND ?2`,
		&w.ended.list: `UPDATE recipient SET line = 0, at = ?2, address = NULL, due = NULL, attempts = NULL, warned = NULL, last = NULL
			WHERE id IN (SELECT value FROM json_each(?1))`,
		&w.mark:         `INSERT OR IGNORE INTO inflight (id) SELECT value FROM json_each(?)`,
		&w.unmark:       `DELETE FROM inflight WHERE id IN (SELECT value FROM json_each(?))`,
		&w.insertResult: `INSERT INTO result (seq, detail) VALUES (?, ?)`,
		&w.ack:          `DELETE FROM result WHERE seq BETWEEN ? AND ?`,

		&w.cancelCampaign: `INSERT OR IGNORE INTO campaign (name, canceled) VALUES (?, ?)`,
		&w.waitingAfter: `SELECT r.id, r.at, r.message, r.address, r.attempts, r.last, m.name, m.sender, m.tags, m.born, m.remaining, m.content
			FROM recipient r JOIN message m ON m.id = r.message WHERE r.line = ?1 AND r.line <> 0 AND r.at >= ?2 AND (r.at > ?2 OR r.id > ?3) ORDER BY r.at, r.id LIMIT ?4 + 0`,
		&w.moved: `UPDATE recipient SET at = ?2, due = ?3 WHERE id = ?1`,

		&w.insertEnded: `INSERT INTO ended (at, recipients) VALUES (?, ?)`,
		&w.deleteEnded: `DELETE FROM ended WHERE id = ?`,
		&w.firstEnded:  `SELECT at FROM ended ORDER BY at LIMIT 1`,
		&w.purgeable:   `SELECT id, recipients FROM ended WHERE at < ? ORDER BY at LIMIT 1`,
		&w.purge:       `DELETE FROM recipient WHERE line = 0 AND id IN (SELECT value FROM json_each(?))`,

		&w.save:   `INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
		&w.forget: `DELETE FROM setting WHERE name = ?`,
	})
}

// load reads what the writer keeps in memory.
func (w *writer) load() error {
	err := w.c.query(`SELECT recipient, result, line, content FROM counter`, func(row []value) error {
		w.recipients, w.results, w.lines, w.content = integer(row[0]), integer(row[1]), integer(row[2]), integer(row[3])
		return nil
	})
	w.counted = w.numbers()
	if err != nil {
		return err
	}
	err = w.c.query(`SELECT name FROM campaign`, func(row []value) error {
		w.s.lines.canceled[text(row[0])] = true
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.loadLines(); err != nil {
		return err
	}
	if err := w.nextPurge(); err != nil {
		return err
	}
	return nil
}

// loadLines costs a look into the index for each line, however many wait in it.
func (w *writer) loadLines() error {
	ls := &w.s.lines
	names := map[string]string{} // one string for each stream and campaign
	once := func(s string) string {
		if n, ok := names[s]; ok {
			return n
		}
		names[s] = s
		return s
	}
	return w.c.query(`SELECT id, domain, stream, campaign, (SELECT min(at) FROM recipient WHERE line = l.id AND line <> 0) FROM line l`, func(row []value) error {
		l := ls.add(integer(row[0]), sender.Line{Domain: text(row[1]), Stream: once(text(row[2])), Campaign: once(text(row[3]))})
		if at, ok := row[4].(int64); ok {
			l.next = at
		}
		ls.schedule(l)
		return nil
	})
}

func (w *writer) nextPurge() error {
	w.purgeAt = never
	return w.firstEnded.query(func(row []value) error {
		if at := integer(row[0]); at < never-int64(w.s.opt.Retention) {
			w.purgeAt = at + int64(w.s.opt.Retention)
		}
		return nil
	})
}

// kick tells run that there is something in the log.
func (s *Spool) kick() {
	select {
	case s.kicked <- struct{}{}:
	default:
	}
}

// run does what is asked, in transactions that take what waits: what is urgent, and
// of the rest not so much that the next would be kept waiting.
func (s *Spool) run() {
	defer close(s.done)
	apply := time.NewTimer(applyAfter)
	defer apply.Stop()
	var due <-chan time.Time
	for {
		switch waits := s.log.pending.Load() > 0; {
		case !waits:
			due = nil
		case due == nil:
			apply.Reset(applyAfter)
			due = apply.C
		}
		select { // what is urgent first
		case r := <-s.urgent:
			s.w.serve(s.gather(r))
			continue
		default:
		}
		select {
		case r := <-s.urgent:
			s.w.serve(s.gather(r))
		case r := <-s.in:
			s.w.serve(s.gather(r))
		case <-s.kicked:
			if s.log.pending.Load() >= applyMax {
				s.w.apply()
			}
		case <-due:
			due = nil
			s.w.apply()
		case <-s.quit:
			s.refuse()
			s.w.apply()
			return
		}
	}
}

// refuse answers those who came too late.
func (s *Spool) refuse() {
	for {
		var r *request
		select {
		case r = <-s.urgent:
		case r = <-s.in:
		default:
			return
		}
		if r.state.CompareAndSwap(waiting, started) {
			r.finish(wrap(s.path, ErrClosed))
		}
	}
}

// gather takes what else waits, what is urgent first, as much as a transaction
// may hold.
func (s *Spool) gather(first *request) []*request {
	var group []*request
	rows, bytes, submitted := 0, 0, 0
	for r := first; r != nil; r = s.nextRequest(submitted < maxSubmitted) {
		if r.state.CompareAndSwap(waiting, started) {
			group = append(group, r)
			rows += r.rows
			bytes += r.bytes
			if !r.urgent {
				submitted += r.rows
			}
		}
		if rows >= maxGroup || bytes >= maxGroupBytes {
			break
		}
	}
	return group
}

// nextRequest returns one that waits, nil if there is none.
func (s *Spool) nextRequest(any bool) *request {
	select {
	case r := <-s.urgent:
		return r
	default:
	}
	if any {
		select {
		case r := <-s.in:
			return r
		default:
		}
	}
	return nil
}

// serve writes a group in one transaction. If that fails for other reasons than
// the disk, each gets one of its own, so that none fails for another.
func (w *writer) serve(group []*request) {
	if len(group) == 0 {
		return
	}
	err := w.transact(group)
	if err != nil && len(group) > 1 && !diskError(err) {
		for _, r := range group {
			r.finish(w.transact([]*request{r}))
		}
		return
	}
	for _, r := range group {
		r.finish(err)
	}
}

// diskError reports whether any transaction would fail.
func diskError(err error) bool {
	for _, kind := range []error{ErrFull, ErrReadOnly, ErrIO, ErrCorrupt} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

func (w *writer) transact(group []*request) error {
	for _, r := range group {
		if r.exclusive {
			w.s.takeMu.Lock()
			defer w.s.takeMu.Unlock()
			break
		}
	}
	t := &tx{writer: w, uses: map[int64]int64{}, ends: map[int64]*waiter{}, acked: map[int64]bool{}}
	for _, r := range group {
		for _, seq := range r.acks {
			t.acked[seq] = true
		}
	}
	err := t.all(group)
	t.settle(err == nil)
	if t.locked {
		w.s.log.mu.Unlock()
	}
	err = wrap(w.s.path, err)
	w.s.failing.Store(diskError(err))
	return err
}
