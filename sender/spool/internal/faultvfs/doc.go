//go:build unix

// Package faultvfs lets tests take the power away under SQLite, and under Go
// code that writes files beside it, and make their disk fail. It is for tests
// only.
//
// A [Disk] is a directory. Files in it that SQLite opens go through a VFS that
// writes them with SQLite's own "unix" VFS, and also keeps apart what was
// synced from what was not:
//
//	disk, err := faultvfs.New(dir)
//	... sql.Open("sqlite", filepath.Join(dir, "x.db")), work with it
//	state := disk.State()                                    // the power goes now
//	err = state.Restore(other, faultvfs.Unsynced, nil)       // what the machine finds when it is back
//	... sql.Open("sqlite", filepath.Join(other, "x.db"))
//
// A [File] is a file of Go code on the same Disk, beside those of SQLite.
//
// A [Rule] looks at each call before it is made and can fail it, or call
// State: a moment between any two calls.
//
// What it takes for granted is what SQLite takes for granted: bytes beside
// those that are written do not change when the power goes
// (SQLITE_IOCAP_POWERSAFE_OVERWRITE), and a sync that
// says it is done is done, but on a [Lying] disk.
// Memory mapped reads and writes of the database are not seen, so there are
// none. Nothing is really synced, which makes the tests fast.
package faultvfs
