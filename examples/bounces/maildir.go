package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maildir reads the mails of a Maildir and moves them from new/ to cur/.
type maildir struct {
	dir  string
	poll time.Duration
	once bool
	in   *intake
	env  *env
}

// batch is how many names are read at once: new/ may hold millions.
const batch = 1000

// watch looks for new mail until ctx ends, or once.
func (m *maildir) watch(ctx context.Context) error {
	for _, sub := range []string{"new", "cur"} {
		info, err := os.Stat(filepath.Join(m.dir, sub))
		if err != nil || !info.IsDir() {
			return fmt.Errorf("-maildir %s: it is no Maildir: it has no folder %s", m.dir, sub)
		}
	}
	tick := time.NewTicker(m.poll)
	defer tick.Stop()
	for {
		err := m.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case m.once:
			return err
		case err != nil:
			fmt.Fprintln(m.env.stderr, err, "(to be tried again)")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look takes all that is in new/, the oldest first. It ends when events can't
// be delivered; a mail that can't be read is left alone.
func (m *maildir) look(ctx context.Context) error {
	dir, err := os.Open(filepath.Join(m.dir, "new"))
	if err != nil {
		return fmt.Errorf("-maildir: %w", err)
	}
	defer dir.Close()
	var errs []error
	for {
		entries, err := dir.ReadDir(batch)
		if errors.Is(err, io.EOF) {
			return errors.Join(errs...)
		}
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("-maildir: %w", err))...)
		}
		// Names begin with the time of delivery.
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		for _, entry := range entries {
			if ctx.Err() != nil {
				return errors.Join(errs...)
			}
			if strings.HasPrefix(entry.Name(), ".") || !entry.Type().IsRegular() {
				continue
			}
			err := m.take(ctx, entry.Name())
			if _, later := errors.AsType[*laterError](err); later {
				return errors.Join(append(errs, err)...)
			}
			if err != nil && len(errs) < batch {
				errs = append(errs, err)
			}
		}
	}
}

// take takes one mail, and moves it to cur/.
func (m *maildir) take(ctx context.Context, name string) error {
	path := filepath.Join(m.dir, "new", name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else was faster
	}
	if err != nil {
		return fmt.Errorf("-maildir: %w", err)
	}
	defer f.Close()
	if err := m.in.take(ctx, mail{source: "maildir", file: path, body: f}); err != nil {
		return fmt.Errorf("-maildir %s: %w", path, err)
	}
	// "S" is the flag of mail that was seen.
	if err := os.Rename(path, filepath.Join(m.dir, "cur", name+":2,S")); err != nil {
		return fmt.Errorf("-maildir: %w", err)
	}
	return nil
}
