//go:build unix

package faultvfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that Go code reads and writes past SQLite. Its errors are
// those of an os.File, and wrap a [syscall.Errno]. Its methods can be called
// from many goroutines.
type File struct {
	os   *os.File
	open *openFile // nil if it is on no Disk
}

// OpenFile opens the file at path for reading and writing, and makes it with
// mode 0600 if there is none. If its directory is no Disk, it is a plain file.
// On a Disk that is [ReadOnly] it cannot be opened.
func OpenFile(path string) (*File, error) {
	d, name := diskFor(path)
	if d != nil {
		if _, err := d.askOpen(name); err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return &File{os: f}, nil
	}
	return &File{f, &openFile{disk: d, name: name, inode: d.opened(name)}}, nil
}

// diskFor is the Disk that a path is on, nil if it is on none, and its name there.
func diskFor(path string) (*Disk, string) {
	dir, err := realPath(filepath.Dir(path))
	if err != nil {
		return nil, "" // the call itself will say what is wrong
	}
	name := filepath.Base(path)
	return diskOf(filepath.Join(dir, name)), name
}

// Covers reports whether a file would be on a Disk.
func Covers(path string) bool {
	d, _ := diskFor(path)
	return d != nil
}

// Size is the length in bytes, holes included.
func (f *File) Size() (int64, error) {
	info, err := f.os.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ReadAt is as io.ReaderAt has it. After a Sync that failed it still reads
// what was lost, as Linux does.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.open != nil {
		if err := f.open.askRead(off, len(p)); err != nil {
			return 0, f.fail("read", err)
		}
	}
	return f.os.ReadAt(p, off)
}

// WriteAt is as io.WriterAt has it.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.open == nil || len(p) == 0 {
		return f.os.WriteAt(p, off)
	}
	p, fault := f.open.askWrite(off, p)
	n, err := f.os.WriteAt(p, off)
	if n > 0 {
		f.open.disk.write(f.open.inode, off, p[:n])
	}
	if err == nil && fault != nil {
		err = f.fail("write", fault)
	}
	return n, err
}

// Sync syncs the content, but not the name of a new file: see [SyncDir].
func (f *File) Sync() error {
	if f.open == nil {
		return f.os.Sync()
	}
	if err := f.open.sync(); err != nil {
		return f.fail("sync", err)
	}
	return nil
}

// Close closes the file. It syncs nothing.
func (f *File) Close() error { return f.os.Close() }

func (f *File) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.os.Name(), Err: err}
}

// Remove is os.Remove. The name can be back after a power loss: see [SyncDir].
func Remove(path string) error {
	d, name := diskFor(path)
	if d == nil {
		return os.Remove(path)
	}
	if err := d.askDelete(name); err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	err := os.Remove(path)
	if err == nil {
		d.remove(name, false)
	}
	return err
}

// SyncDir syncs which files there are in a directory, as the sync of a new
// journal of SQLite does. To a Rule it is the Sync of a file named ".".
func SyncDir(dir string) error {
	d, _ := diskFor(filepath.Join(dir, "x"))
	if d == nil {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	}
	f := &openFile{disk: d, name: ".", inode: newInode(content{})}
	f.entries.Store(true)
	if err := f.sync(); err != nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}
