package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lock takes the file that says that path is in use: path with ".lock" behind
// it, which stays there. The lock on it is the system's and ends with the
// process however that ends. It is not on the database itself, so that other
// programs can read that meanwhile.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(real(path)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := lockFile(f)
	switch {
	case err != nil:
	case !ok:
		err = fmt.Errorf("%w by %s", ErrLocked, owner(f))
	default:
		own(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// real is where path leads to: what is beside the file is found by all its names.
func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return path
}

// own writes who has the lock, for others to read. The lock does not depend on
// it: on a full disk it is not written.
func own(f *os.File) {
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
}

// owner names the process that has the lock.
func owner(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	pid, perr := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil || perr != nil:
		return "another process"
	case pid == os.Getpid():
		return "this process"
	}
	return "process " + strconv.Itoa(pid)
}
