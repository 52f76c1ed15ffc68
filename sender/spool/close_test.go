package spool_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/spool"
)

// Close closes the files: SQLite keeps a connection whose statements were not
// finalized (sqlite3_close_v2), with its descriptors, locks and memory.
func TestCloseClosesFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(filepath.Join(dir, "x.db"), nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, fd := range fds {
		name, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		require.False(t, strings.HasPrefix(name, dir), name)
	}
	require.NoFileExists(t, filepath.Join(dir, "x.db-wal"))
	require.NoFileExists(t, filepath.Join(dir, "x.db-log"))
}
