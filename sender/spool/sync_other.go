//go:build !linux

package spool

import (
	"errors"
	"os"
	"runtime"
)

func datasync(f *os.File) error { return f.Sync() }

// syncFolder waits until the disk has the names of the files in it, where a folder can be
// synced.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
