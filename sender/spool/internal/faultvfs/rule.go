//go:build unix

package faultvfs

import (
	"errors"
	"slices"
	"sync/atomic"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// Kind says what a call does.
type Kind uint8

// The kinds of calls that a Rule is asked about.
const (
	Open     Kind = iota // of a file that is there
	Create               // of a file that is not there
	Read                 //
	Write                //
	Truncate             //
	Sync                 //
	Delete               //
	Share                // the shared memory of the WAL grows: it is a file too
)

// Changes are the kinds of calls that a broken disk fails; reads aside.
var Changes = []Kind{Create, Write, Truncate, Sync, Delete, Share}

// Op is a call of SQLite, or of a [File].
type Op struct {
	Kind Kind
	Name string // of the file, without its directory; of the directory itself "."
	Off  int64  // Read, Write; the new length for Truncate
	Len  int    // Read, Write
	Grow int64  // by how many bytes the disk would be fuller: it gives blocks of 4096 to a file, and none to a hole
}

// Fault is what a Rule does to a call; the zero Fault lets it happen.
type Fault struct {
	Err   error // one of the errors below
	Wrote int   // Write: so many bytes get there even so
	Lie   bool  // Sync: it says that it is done, and is not
}

// A Rule is asked before each call, from many goroutines. It may call
// Disk.State.
type Rule func(Op) Fault

// What a disk says. A Sync that fails with ErrIO loses what it should have
// written for good, as Linux does: the next Sync succeeds without it. What a
// Sync with ErrNoSpace left is written by the next.
var (
	ErrIO       error = syscall.EIO
	ErrNoSpace  error = syscall.ENOSPC
	ErrReadOnly error = syscall.EROFS // SQLite opens a file that is there for reading
)

// code is what the unix VFS makes of err, or of none.
func code(k Kind, err error) int32 {
	if err == nil {
		return sqlite3.SQLITE_OK
	}
	if k == Write && errors.Is(err, ErrNoSpace) {
		return sqlite3.SQLITE_FULL
	}
	return [...]int32{
		Open:     sqlite3.SQLITE_CANTOPEN,
		Create:   sqlite3.SQLITE_CANTOPEN,
		Read:     sqlite3.SQLITE_IOERR_READ,
		Write:    sqlite3.SQLITE_IOERR_WRITE,
		Truncate: sqlite3.SQLITE_IOERR_TRUNCATE,
		Sync:     sqlite3.SQLITE_IOERR_FSYNC,
		Delete:   sqlite3.SQLITE_IOERR_DELETE,
		Share:    sqlite3.SQLITE_IOERR_SHMSIZE,
	}[k]
}

// Nth fails the nth call of these kinds, the first being 1, with err; a Write
// that has no space writes the first half of what it should.
func Nth(n int64, err error, kinds ...Kind) Rule {
	var seen atomic.Int64
	return func(op Op) Fault {
		if !slices.Contains(kinds, op.Kind) || seen.Add(1) != n {
			return Fault{}
		}
		return short(op, err, int64(op.Len/2))
	}
}

// Sound is a disk that does what it is told.
func Sound(Op) Fault { return Fault{} }

// Lying is a disk that never syncs, and does not say so.
func Lying(op Op) Fault { return Fault{Lie: op.Kind == Sync} }

// Space is a disk with n bytes left: calls fail that need more, and a Write
// fills it up first. A directory entry needs one byte.
func Space(n int64) Rule {
	var left atomic.Int64
	left.Store(n)
	return func(op Op) Fault {
		if now := left.Add(-op.Grow); op.Grow > 0 && now < 0 {
			room := max(0, now+op.Grow)
			left.Add(op.Grow - room)
			return short(op, ErrNoSpace, max(0, int64(op.Len)-op.Grow+room))
		}
		return Fault{}
	}
}

func short(op Op, err error, wrote int64) Fault {
	if op.Kind != Write || !errors.Is(err, ErrNoSpace) {
		wrote = 0
	}
	return Fault{Err: err, Wrote: int(wrote)}
}

// ReadOnly is a disk that was mounted, or that the system set, read-only.
func ReadOnly(op Op) Fault {
	if op.Kind == Read {
		return Fault{}
	}
	return Fault{Err: ErrReadOnly}
}
