package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Backup writes a copy of the spool as it is now to a new file, while it runs.
// The copy is whole when Backup returns nil, without files beside it, and is opened
// like any other: a Sender that runs on it sends again what was sent after the copy
// was made. To put it in the place of the file, delete path-wal, path-shm and
// path-log of that first.
func (s *Spool) Backup(ctx context.Context, path string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return wrap(path, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return wrap(path, fmt.Errorf("the backup needs a new file: %w", os.ErrExist))
	}
	view := s.log.watch() // whoever has a mark and ends from now on: the copy may have neither
	defer s.log.unwatch(view)
	if err := s.flush(ctx); err != nil {
		return err
	}
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	defer s.release(r)
	part := path + ".part"
	_ = os.Remove(part) // of a backup that was cut short
	if err := createPrivate(part); err != nil {
		return wrap(path, err)
	}
	c, err := openConn(s.path, fmt.Sprintf("busy_timeout=%d", busyTimeout.Milliseconds()), "synchronous=FULL")
	if err != nil {
		return wrap(s.path, err)
	}
	err = errors.Join(c.vacuumInto(ctx, part), c.Close())
	marks := s.log.unwatch(view)
	if err == nil {
		err = addMarks(part, marks)
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
		return wrap(path, err)
	}
	return nil
}

// addMarks notes marks in a copy.
func addMarks(path string, marks [][2]int64) error {
	if len(marks) == 0 {
		return nil
	}
	c, err := openConn(path, "synchronous=FULL")
	if err != nil {
		return err
	}
	return errors.Join(c.keepMarks(marks), c.Close())
}
