//go:build !linux

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

func datasync(f *os.File) error { return f.Sync() }

// syncFolder waits until the disk has the name of a file, where a folder can be
// synced.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
