package spool

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
)

// openAndKill lets a process open the file, close it and do nothing else, and
// kills it after a while.
func (s *killSeries) openAndKill(after time.Duration) {
	s.job.OpenOnly = true
	s.live(killPlan{moment: killAfterStart, after: after})
	s.job.OpenOnly = false
}

// fill submits n messages without a process.
func (s *killSeries) fill(n int) {
	t, now := s.t, time.Now()
	file, err := Open(s.job.Path, nil)
	require.NoError(t, err)
	subs := make([]*sender.Submission, n)
	for i := range subs {
		subs[i] = &sender.Submission{Message: killMessage(i, s.job.Pad), Due: now}
		if content := subs[i].Content; content != nil {
			var b bytes.Buffer
			_, err = content.WriteTo(&b)
			subs[i].Body = b.Bytes()
		} else {
			subs[i].Data, err = json.Marshal(subs[i].Message.Data)
		}
		require.NoError(t, err)
	}
	require.NoError(t, file.Submit(t.Context(), now, subs...))
	require.NoError(t, file.Close())
	s.ledger.submitted(n)
}

// fileSuffixes are those of the files that belong together.
var fileSuffixes = []string{"", "-wal", "-journal", "-shm", "-log"}

// copyFile copies a file that nobody has open, and what belongs to it.
func copyFile(t *testing.T, from, to string) {
	for _, suffix := range fileSuffixes {
		data, err := os.ReadFile(from + suffix)
		if os.IsNotExist(err) {
			require.NoError(t, os.RemoveAll(to+suffix))
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, data, 0o600))
	}
}

// look opens a copy of the file and returns the schema version.
func (s *killSeries) look() int64 {
	path := filepath.Join(s.t.TempDir(), "copy.db")
	copyFile(s.t, s.job.Path, path)
	c, err := openConn(path)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, c.Close()) }()
	requireIntegrity(s.t, c)
	version, err := c.int64("PRAGMA user_version")
	require.NoError(s.t, err)
	return version
}

// migrateAndKill kills processes that bring the file to the newest schema from
// one that it has now, and opens it after each kill.
func (s *killSeries) migrateAndKill(kills int) {
	t, from := s.t, filepath.Join(s.t.TempDir(), "before.db")
	old, newest := s.look(), int64(len(migrations))
	copyFile(t, s.job.Path, from)
	versions, after := map[int64]int{}, 5*time.Millisecond
	for range kills {
		copyFile(t, from, s.job.Path)
		s.openAndKill(after/2 + s.upTo(after))
		version := s.look()
		versions[version]++
		if version == newest { // find the time that is just not enough
			after = after*3/4 + time.Millisecond
		} else {
			after = after * 4 / 3
		}
		file, err := Open(s.job.Path, nil)
		require.NoError(t, err)
		n, err := file.w.c.int64("SELECT count(*) FROM recipient")
		require.NoError(t, err)
		require.EqualValues(t, len(s.ledger.waiting), n)
		require.NoError(t, file.Close())
		require.Equal(t, newest, s.look())
	}
	t.Logf("schema versions after the kills: %v", versions)
	require.Subset(t, []int64{old, newest}, slices.Collect(maps.Keys(versions)))
}

// TestKillMigration kills processes that make a new file, then those that bring
// one with mail in it to a newer schema: it is as it was, or as it is to be.
func TestKillMigration(t *testing.T) {
	s, before := newKillSeries(t), migrations
	defer func() { migrations = before }()
	kills := killCount(t, 15, 5)
	s.migrateAndKill(kills)
	s.fill(600)
	s.job.Migrate, s.job.To = true, s.ledger.accepted
	migrations = append(slices.Clip(before), killMigration)
	s.migrateAndKill(kills)
	s.finish()
}

// TestKillLongLog kills processes that find a log of many megabytes and take
// it in.
func TestKillLongLog(t *testing.T) {
	s := newKillSeries(t)
	s.job.Grow, s.job.Pad, s.job.To = true, 100<<10, 400
	require.True(t, s.live(killPlan{moment: "submitted 400", after: s.upTo(20 * time.Millisecond)}))
	long := 0
	for range killCount(t, 10, 5) {
		s.openAndKill(s.upTo(30 * time.Millisecond))
		if info, err := os.Stat(s.job.Path + "-wal"); err == nil && info.Size() > 10<<20 {
			long++
		}
	}
	t.Logf("the log was long after %d kills", long)
	require.NotZero(t, long)
	s.job.Grow = false
	require.True(t, s.live(killPlan{moment: killAfterReady, after: s.upTo(20 * time.Millisecond)}))
	s.finish()
}
