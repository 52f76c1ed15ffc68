//go:build unix

package spool

import (
	"path/filepath"

	"github.com/volleymail/volley/sender/spool/internal/faultvfs"
)

// The log fails where the file does.
func init() {
	plain := logDisk
	logDisk.open = func(path string) (rawFile, error) {
		if !faultvfs.Covers(path) {
			return plain.open(path)
		}
		return faultvfs.OpenFile(path)
	}
	logDisk.remove = func(path string) error {
		if !faultvfs.Covers(path) {
			return plain.remove(path)
		}
		return faultvfs.Remove(path)
	}
	logDisk.syncFolder = func(folder string) error {
		if !faultvfs.Covers(filepath.Join(folder, "file")) {
			return plain.syncFolder(folder)
		}
		return faultvfs.SyncDir(folder)
	}
}
