package spool

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/queuetest"
)

// TestQueue: what every Queue must do. A crash is tested with processes that
// are killed; here it is a Spool that is closed without a word to its users.
func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Open {
		path := filepath.Join(t.TempDir(), "spool.db")
		var s *Spool
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return func(bool) sender.Queue {
			if s != nil {
				require.NoError(t, s.Close())
			}
			var err error
			s, err = Open(path, nil)
			require.NoError(t, err)
			return s
		}
	})
}
