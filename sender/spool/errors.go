package spool

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What an Error can be, for errors.Is.
var (
	ErrClosed   = errors.New("the spool is closed")
	ErrLocked   = errors.New("the spool is in use")
	ErrFull     = errors.New("the disk is full")
	ErrReadOnly = errors.New("the file cannot be written")
	ErrCorrupt  = errors.New("the file is damaged")
	ErrForeign  = errors.New("the file is no spool")
	ErrNewer    = errors.New("the file is of a newer version")
	ErrIO       = errors.New("the disk failed")
)

// Error is what went wrong with the file.
type Error struct {
	Path string
	Kind error // one of the Err values, nil if it is none of them
	Err  error // the cause; an *sqlite.Error if SQLite says so
}

// remedies say what to do.
var remedies = map[error]string{
	ErrLocked:   "stop that process, or give each process a file of its own",
	ErrFull:     "make room; nothing that was accepted is lost, and what failed is done at the next attempt",
	ErrReadOnly: "give this user the right to write the file, those beside it and their folder, mount the file system for writing, and see that the process may open more files",
	ErrCorrupt:  "restore a backup, or save what can be read with: sqlite3 FILE .recover",
	ErrForeign:  "name another file; this one was not touched",
	ErrNewer:    "run the version of the program that wrote it, or a later one; the file was not touched",
	ErrIO:       "look into the system's log for disk errors, and check that the folder is there",
}

func (e *Error) Error() string {
	s := "spool: " + e.Path + ": "
	if e.Kind != nil && !errors.Is(e.Err, e.Kind) {
		s += e.Kind.Error() + ": "
	}
	s += e.Err.Error()
	if r := remedies[e.Kind]; r != "" {
		s += " (" + r + ")"
	}
	return s
}

func (e *Error) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.Err}
	}
	return []error{e.Kind, e.Err}
}

// kinds are the errors of SQLite that have a name of their own here, by primary
// result code.
var kinds = map[int]error{
	sqlite3.SQLITE_FULL:     ErrFull,
	sqlite3.SQLITE_READONLY: ErrReadOnly,
	sqlite3.SQLITE_PERM:     ErrReadOnly,
	sqlite3.SQLITE_CORRUPT:  ErrCorrupt,
	sqlite3.SQLITE_NOTADB:   ErrForeign,
	sqlite3.SQLITE_IOERR:    ErrIO,
	sqlite3.SQLITE_CANTOPEN: ErrReadOnly, // the folder is there: it has the lock
}

// wrap makes an *Error of what SQLite or the system said about the file.
func wrap(path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	e := &Error{Path: path, Err: err}
	for _, kind := range []error{ErrClosed, ErrLocked, ErrForeign, ErrNewer, ErrCorrupt} {
		if errors.Is(err, kind) {
			e.Kind = kind
			return e
		}
	}
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		e.Kind = kinds[se.Code()&0xff]
		return e
	}
	e.Kind = systemKind(err)
	return e
}

// about says which submission an error is about.
func about(id string, err error) error { return fmt.Errorf("spool: message %q: %w", id, err) }
