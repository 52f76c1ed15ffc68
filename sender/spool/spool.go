package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/volleymail/volley/sender"
)

// Options of Open. Each zero field means the default.
type Options struct {
	// Retention is how long an ended pair of message id and recipient is
	// remembered, counted by the times that the Sender passes: submitted again
	// within it, it is passed over. Default 30 days. About 80 octets each.
	Retention time.Duration
	// CacheSize is how many octets of the file are kept in memory. Default 48 MiB.
	CacheSize int
	// BodyCache is how many octets of bodies that several messages share are kept
	// in memory. Default 8 MiB.
	BodyCache int
	// Logger gets what needs attention and no caller can be told. Default: none.
	Logger *slog.Logger
}

const (
	defaultRetention = 30 * 24 * time.Hour
	defaultCache     = 48 << 20
	defaultBodies    = 8 << 20
	readers          = 3 // connections for what is read besides Take
	busyTimeout      = 10 * time.Second
)

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Retention <= 0 {
		c.Retention = defaultRetention
	}
	if c.CacheSize <= 0 {
		c.CacheSize = defaultCache
	}
	if c.BodyCache <= 0 {
		c.BodyCache = defaultBodies
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Spool is a sender.Queue in a file.
type Spool struct {
	path string // absolute
	opt  Options
	lock *os.File

	in     chan *request
	urgent chan *request // the Sender's: what Write does not put into the log
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed by run
	w      writer        // owned by run

	log     log
	kicked  chan struct{} // the log has something, or much
	failing atomic.Bool   // the last transaction failed by the disk

	pool   chan *reader // those that are not in use
	opened int          // how many there are in all
	bodies bodyCache

	takeMu sync.Mutex // held by Take, and by run for what must not change under it
	take   taker      // guarded by takeMu

	lines lines

	closeOnce sync.Once
	closeErr  error
}

var _ sender.Queue = (*Spool)(nil)

// Open opens the spool in the file, or makes it. The file belongs to this
// process until Close or the end of the process; until then another Open gives
// an error that wraps ErrLocked. Errors are of type *Error.
//
// Beside the file there are, while it is open and after a crash, path-wal, path-shm
// and path-log, which belong to it: never copy or delete one without the others. To
// copy it see Spool.Backup. After a Close that gave no error they are gone. What
// path-log has of a process that crashed, Open applies.
func Open(path string, o *Options) (*Spool, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, wrap(path, err)
	}
	s := &Spool{path: path, opt: o.withDefaults(),
		in: make(chan *request, 64), urgent: make(chan *request, 64), kicked: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), pool: make(chan *reader, readers)}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Path: path, Err: fmt.Errorf("there is no folder %s: make it: %w", filepath.Dir(path), fs.ErrNotExist)}
	}
	if s.lock, err = lock(path); err != nil {
		return nil, wrap(path, err)
	}
	if err := s.open(); err != nil {
		return nil, wrap(path, errors.Join(err, s.closeFiles()))
	}
	go s.run()
	return s, nil
}

func (s *Spool) open() error {
	if err := s.checkFile(); err != nil {
		return err
	}
	if err := s.w.open(s); err != nil {
		return err
	}
	var err error
	if s.take.r, err = s.openReader(8 << 20); err != nil {
		return err
	}
	for range readers {
		r, err := s.openReader(2 << 20)
		if err != nil {
			return err
		}
		s.opened++
		s.pool <- r
	}
	s.bodies.max = s.opt.BodyCache
	return s.load()
}

// load takes over what memory has of the file.
func (s *Spool) load() error {
	if err := s.w.load(); err != nil {
		return err
	}
	if err := s.loadLost(); err != nil {
		return err
	}
	if err := s.loadLog(); err != nil {
		return err
	}
	return s.loadLost()
}

// loadLost reads which marks the file has.
func (s *Spool) loadLost() error {
	return s.w.c.query(`SELECT id FROM inflight`, func(row []value) error {
		s.lines.lost[integer(row[0])] = struct{}{}
		return nil
	})
}

// loadLog brings the file to where the log is, and begins a new one.
func (s *Spool) loadLog() error {
	if err := s.log.open(real(s.path) + "-log"); err != nil {
		return err
	}
	s.log.results = max(s.log.results, s.w.results)
	if s.log.pending.Load() > 0 {
		if err := s.w.transact([]*request{{apply: func(*tx) error { return nil }}}); err != nil {
			return err
		}
	}
	if err := s.w.c.keepMarks(pairs(s.log.marks())); err != nil {
		return err
	}
	return s.log.begin()
}

// keepMarks notes in the file the marks of those that have not ended, nor another
// place in their line.
func (c *conn) keepMarks(marks [][2]int64) error {
	if len(marks) == 0 {
		return nil
	}
	list, err := json.Marshal(marks)
	if err != nil {
		return err
	}
	return c.exec(`INSERT OR IGNORE INTO inflight (id) SELECT r.id FROM json_each(?) j CROSS JOIN recipient r ON r.id = j.value ->> 0
		WHERE r.line <> 0 AND r.at = j.value ->> 1`, string(list))
}

// closeLog leaves the marks that hold in the file, and no log, unless it has what
// the file has not.
func (s *Spool) closeLog() error {
	if s.log.f == nil {
		return nil
	}
	if err := s.log.close(); err != nil || s.log.pending.Load() > 0 {
		return err
	}
	if err := s.w.c.keepMarks(pairs(s.log.marks())); err != nil {
		return err
	}
	return logDisk.remove(s.log.path)
}

// Close waits for what runs and closes the file. Whoever waits for a write gets
// its result, or ErrClosed.
func (s *Spool) Close() error {
	s.closeOnce.Do(func() {
		close(s.quit)
		<-s.done
		s.takeMu.Lock() // a Take that runs comes first, and none comes after
		defer s.takeMu.Unlock()
		s.closeErr = wrap(s.path, s.closeFiles())
	})
	return s.closeErr
}

// closeFiles closes what is open; for readers in use it waits.
func (s *Spool) closeFiles() error {
	var errs []error
	for range s.opened {
		r := <-s.pool
		errs = append(errs, r.c.Close())
	}
	if s.take.r != nil {
		errs = append(errs, s.take.r.c.Close())
		s.take.r = nil
	}
	errs = append(errs, s.closeLog())
	if s.w.c != nil { // last: it writes path-wal into the file
		errs = append(errs, s.w.c.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

func (s *Spool) closed() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// check is what each method asks first.
func (s *Spool) check(ctx context.Context) error {
	if s.closed() {
		return wrap(s.path, ErrClosed)
	}
	return ctx.Err()
}
