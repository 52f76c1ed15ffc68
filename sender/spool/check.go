package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// checkFile finds what SQLite would report late or not at all.
func (s *Spool) checkFile() error {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return createPrivate(s.path)
	case err == nil && info.IsDir():
		return fmt.Errorf("%w: it is a folder", ErrForeign)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: it is a %s", ErrForeign, info.Mode().Type())
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0) // SQLite would open it for reading only
	if err != nil {
		return err
	}
	defer f.Close()                                    // before SQLite opens it: closing a file ends all locks that the process has on it
	for _, log := range []string{"-wal", "-journal"} { // the second until the file has its schema
		if info, err := os.Stat(s.path + log); err == nil && info.Size() > 0 {
			return nil // SQLite mends the file with it
		}
	}
	return checkSize(f, info.Size())
}

// createPrivate makes an empty file that others cannot read, for it will have
// people's addresses and mail. SQLite gives the files beside it the same mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkSize compares the size of the file with what its header says
// (https://www.sqlite.org/fileformat2.html §1.3): if its end is missing, SQLite
// would not see that before it needs it.
func checkSize(f io.ReaderAt, size int64) error {
	var header [100]byte
	if _, err := f.ReadAt(header[:], 0); err != nil || string(header[:16]) != "SQLite format 3\x00" {
		return nil // new, or SQLite says what it is
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 1 << 16
	}
	pages := int64(binary.BigEndian.Uint32(header[28:]))
	valid := binary.BigEndian.Uint32(header[24:]) == binary.BigEndian.Uint32(header[92:])
	if valid && size < pages*page {
		return fmt.Errorf("%w: its end is missing: it has %d octets of %d", ErrCorrupt, size, pages*page)
	}
	return nil
}
