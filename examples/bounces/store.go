package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sync"

	"github.com/volleymail/volley/bounce/suppress"
)

// fileStore is a suppression list in memory whose entries are also written to a
// CSV file: each new one is added at its end. Failures that do not suppress yet
// are in memory only.
type fileStore struct {
	*suppress.Memory

	mu   sync.Mutex
	file *os.File // nil = none; guarded by mu
}

// openStore reads the file, if there is one.
func openStore(ctx context.Context, name string, e *env) (*fileStore, error) {
	s := &fileStore{Memory: suppress.NewMemory()}
	if name == "" {
		return s, nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("-suppress: %w", err)
	}
	if err := s.load(ctx, f, e); err != nil {
		return nil, errors.Join(fmt.Errorf("-suppress %s: %w", name, err), f.Close())
	}
	s.file = f
	return s, nil
}

func (s *fileStore) load(ctx context.Context, f *os.File, e *env) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return suppress.WriteCSV(f, none)
	}
	head := make([]byte, len(header()))
	if _, err := f.ReadAt(head, 0); err != nil || !bytes.Equal(head, header()) {
		return errors.New("it is not a file that this program made: name another one")
	}
	if err := cutTorn(f, info.Size()); err != nil {
		return err
	}
	list, err := suppress.New(s.Memory, nil)
	if err != nil {
		return err
	}
	done, err := list.Import(ctx, f, suppress.ReadOptions{})
	if err != nil {
		return err
	}
	for _, line := range done.Lines {
		fmt.Fprintf(e.stderr, "-suppress %s: %v: passed over\n", f.Name(), line)
	}
	return nil
}

// cutTorn drops a last row that a crash cut off: whoever had it written was
// never told that it was.
func cutTorn(f *os.File, size int64) error {
	tail := make([]byte, min(size, 64<<10)) // a row has less
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	torn := len(tail) - 1 - bytes.LastIndexByte(tail, '\n')
	if torn == 0 {
		return nil
	}
	return f.Truncate(size - int64(torn))
}

func none(func(suppress.Entry, error) bool) {}

// header is the first row of a file.
func header() []byte {
	var b bytes.Buffer
	_ = suppress.WriteCSV(&b, none) // a Buffer never fails
	return b.Bytes()
}

// Put implements suppress.Store: on disk first.
func (s *fileStore) Put(ctx context.Context, entries []suppress.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		if err := s.append(entries); err != nil {
			return err
		}
	}
	return s.Memory.Put(ctx, entries)
}

// append adds rows to the file. s.mu is held.
func (s *fileStore) append(entries []suppress.Entry) error {
	var rows bytes.Buffer
	if err := suppress.WriteCSV(&rows, all(entries)); err != nil {
		return err
	}
	before, err := s.file.Stat()
	if err != nil {
		return err
	}
	if _, err := s.file.Write(bytes.TrimPrefix(rows.Bytes(), header())); err != nil {
		return errors.Join(err, s.file.Truncate(before.Size())) // half a row would spoil the next
	}
	return s.file.Sync()
}

func all(entries []suppress.Entry) iter.Seq2[suppress.Entry, error] {
	return func(yield func(suppress.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *fileStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("-suppress: %w", err)
	}
	return nil
}
