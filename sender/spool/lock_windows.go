package spool

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// lockOffset is beyond what the file holds: what is locked cannot be read by
// others, and they shall read the pid.
const lockOffset = 1 << 20

// lockFile takes the lock of f, which ends with the process. It returns false
// if another has it.
func lockFile(f *os.File) (bool, error) {
	at := windows.Overlapped{Offset: lockOffset}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION):
		return false, nil
	default:
		return false, &fs.PathError{Op: "LockFileEx", Path: f.Name(), Err: err}
	}
}

// systemKind names an error of the operating system.
func systemKind(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_DISK_FULL), errors.Is(err, windows.ERROR_HANDLE_DISK_FULL):
		return ErrFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, windows.ERROR_WRITE_PROTECT):
		return ErrReadOnly
	case errors.Is(err, fs.ErrNotExist):
		return ErrIO
	}
	return nil
}
