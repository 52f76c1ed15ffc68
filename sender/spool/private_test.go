//go:build unix

package spool

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the umask: the files have addresses and mail.
func TestOthersCannotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "spool.db")
	s, err := Open(path, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, s.Save(t.Context(), "name", []byte("value")))
	require.NoError(t, s.Backup(t.Context(), filepath.Join(dir, "copy.db")))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 4) // with the log, the shared memory and the lock
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), f.Name())
	}
}

func TestFolderIsNoSpool(t *testing.T) {
	_, err := Open(t.TempDir(), nil)
	require.ErrorIs(t, err, ErrForeign)
	require.ErrorContains(t, err, "it is a folder")
}
