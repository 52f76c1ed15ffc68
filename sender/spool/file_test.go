package spool

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/volleymail/volley/sender"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("SPOOL_TEST_HOLD"); path != "" {
		hold(path)
	}
	goleak.VerifyTestMain(m)
}

// hold is another process that has the spool, until it is killed.
func hold(path string) {
	if _, err := Open(path, nil); err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("open\n")
	select {}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	s := openAt(t, path)
	_, err := Open(path, nil)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "by this process")
	require.NoError(t, s.Close())
	require.NoFileExists(t, path+"-wal", "the log is in the file, and no connection is left")
	require.NoFileExists(t, path+"-log")
	openAt(t, path)
}

// Another process has it until it is killed.
func TestLockedByProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_HOLD="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := make([]byte, 5)
	_, err = out.Read(said)
	require.NoError(t, err)
	_, err = Open(path, nil)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "process "+strconv.Itoa(cmd.Process.Pid))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoError(t, openAt(t, path).Submit(t.Context(), t0, mail("a", "ann@example.com")))
}

func TestNotASpool(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(t *testing.T, path string)
		want error
	}{
		"text":      {func(t *testing.T, path string) { write(t, path, []byte("these are not the mails you look for\n")) }, ErrForeign},
		"noise":     {func(t *testing.T, path string) { write(t, path, noise(1<<16)) }, ErrForeign},
		"folder":    {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o755)) }, ErrForeign},
		"another's": {func(t *testing.T, path string) { makeDB(t, path, "CREATE TABLE x (y); PRAGMA user_version = 1") }, ErrForeign},
		"newer": {func(t *testing.T, path string) {
			makeDB(t, path, "PRAGMA application_id = 1447840857; PRAGMA user_version = 99; CREATE TABLE x (y)")
		}, ErrNewer},
		"cut": {func(t *testing.T, path string) {
			require.NoError(t, filled(t, path, 3000, 10).Close())
			require.NoError(t, os.Truncate(path, 64<<10))
		}, ErrCorrupt},
		"scratched": {func(t *testing.T, path string) {
			require.NoError(t, filled(t, path, 3000, 10).Close())
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = f.WriteAt(noise(60<<10), 4096)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "spool.db")
			tt.make(t, path)
			before, _ := os.ReadFile(path)
			s, err := Open(path, nil)
			if err == nil { // seen at the first look at least
				_, _, err = s.Take(t.Context(), "news", t0, 10, anyRoom)
				require.NoError(t, s.Close())
			}
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, remedies[tt.want])
			after, _ := os.ReadFile(path)
			require.True(t, bytes.Equal(before, after), "the file was changed")
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func makeDB(t *testing.T, path, sql string) {
	c, err := openConn(path)
	require.NoError(t, err)
	require.NoError(t, c.exec(sql))
	require.NoError(t, c.Close())
}

func TestReadOnly(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "spool.db")
	require.NoError(t, openAt(t, path).Close())
	require.NoError(t, os.Chmod(path, 0o400))
	_, err := Open(path, nil)
	require.ErrorIs(t, err, ErrReadOnly)
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.Remove(path+".lock"))
	require.NoError(t, os.Chmod(dir, 0o500))
	_, err = Open(path, nil)
	require.ErrorIs(t, err, ErrReadOnly)
	require.NoError(t, os.Chmod(dir, 0o700))
}

func TestNoFolder(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "not", "there.db"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "make it")
	require.NotErrorIs(t, err, ErrIO, "no disk has failed")
}

// The path may have what means something in a URI.
func TestOddPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20e&mode=ro;é.db")
	require.NoError(t, openAt(t, path).Submit(t.Context(), t0, mail("a", "ann@example.com")))
	_, err := os.Stat(path)
	require.NoError(t, err)
}

// TestMigrate: a file of the first version is brought to this one, with what
// is in it.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	old, err := os.ReadFile(filepath.Join("testdata", "v1.sql"))
	require.NoError(t, err)
	makeDB(t, path, string(old))
	s := openAt(t, path)
	taken := takeAll(t, s, t0)
	require.Len(t, taken, 1)
	require.Equal(t, []string{"ann@example.com", "bob@example.com"}, taken[0].Message.To)
	require.Equal(t, "mx.example.com", taken[0].Recipients[0].Last.Site)
	require.True(t, taken[0].Recipients[0].Warned)
	require.True(t, taken[0].Recipients[1].InFlight)
	var b bytes.Buffer
	_, err = taken[0].Message.Content.WriteTo(&b)
	require.NoError(t, err)
	require.Contains(t, b.String(), "Subject: old")
	ended, err := s.Results(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, ended, 1)
	v, err := s.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, "v", string(v))
	require.NoError(t, s.Submit(t.Context(), t0, mail("new", "dee@example.com")))
	require.Equal(t, schemaOf(t, fresh(t)), schemaOf(t, s))
}

// TestMigrateEnded: what had ended before version 3 is remembered, and forgotten in
// time.
func TestMigrateEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	old, err := os.ReadFile(filepath.Join("testdata", "v1.sql"))
	require.NoError(t, err)
	makeDB(t, path, string(old)+migrations[1]+`UPDATE recipient SET line = 0 WHERE id = 1; PRAGMA user_version = 2`)
	s := openAt(t, path)
	pairs := func(now time.Time) int64 {
		require.NoError(t, s.Submit(t.Context(), now, mail("a", "ann@example.com")))
		n, err := s.w.c.int64("SELECT count(*) FROM recipient WHERE line = 0")
		require.NoError(t, err)
		return n
	}
	n := pairs(t0)
	require.Positive(t, n)
	require.EqualValues(t, 0, pairs(time.Now().Add(2*defaultRetention)))
}

// TestEndedInLog: who has ended does not come back after a crash, though only the
// log knows, and its result does.
func TestEndedInLog(t *testing.T) {
	s := filled(t, filepath.Join(t.TempDir(), "spool.db"), 20, 2)
	taken := takeAll(t, s, t0)
	var changes []sender.Change
	for _, k := range taken[:5] {
		mark, end := changesOf(k)
		changes = append(changes, mark, end)
	}
	mark, _ := changesOf(taken[7])
	require.NoError(t, s.Write(t.Context(), t0, append(changes, mark)))
	require.EqualValues(t, 5, s.log.pending.Load())
	path := filepath.Join(t.TempDir(), "copy.db")
	for _, part := range []string{"", "-wal", "-log"} {
		copyFile(t, s.path+part, path+part)
	}
	c := openAt(t, path)
	again := takeAll(t, c, t0)
	require.Len(t, again, 15)
	lost := 0
	for _, k := range again {
		if k.Recipients[0].InFlight {
			lost++
			require.Equal(t, taken[7].Recipients[0].ID, k.Recipients[0].ID)
		}
	}
	require.Equal(t, 1, lost)
	ended, err := c.Results(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, ended, 5)
	require.EqualValues(t, 5, ended[4].Seq)
	_, end := changesOf(again[0])
	require.NoError(t, c.Write(t.Context(), t0, []sender.Change{end, end}))
	require.NoError(t, c.Write(t.Context(), t0, []sender.Change{end}))
	ended, err = c.Results(t.Context(), 5, 10)
	require.NoError(t, err)
	require.Len(t, ended, 1, "it ends once")
	require.EqualValues(t, 6, ended[0].Seq)
}

// TestLogOfLink: the log is found by each name of the file.
func TestLogOfLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool.db")
	require.NoError(t, openAt(t, path).Close())
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	s := openAt(t, link)
	require.FileExists(t, path+"-log")
	require.NoFileExists(t, link+"-log")
	require.NoError(t, s.Close())
	require.NoFileExists(t, path+"-log")
}

// schemaOf names the columns of all tables.
func schemaOf(t *testing.T, s *Spool) (columns []string) {
	require.NoError(t, s.w.c.query("SELECT t.name || '.' || c.name || ' ' || c.type FROM pragma_table_list t, pragma_table_info(t.name) c ORDER BY 1",
		func(row []value) error { columns = append(columns, text(row[0])); return nil }))
	return columns
}

// Every column is described.
func TestSchemaIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("SCHEMA.md")
	require.NoError(t, err)
	for _, c := range schemaOf(t, fresh(t)) {
		if name, _, _ := strings.Cut(c, " "); !strings.HasPrefix(name, "sqlite_") {
			table, column, _ := strings.Cut(name, ".")
			require.Contains(t, string(doc), "## "+table+"\n")
			require.Contains(t, string(doc), "| "+column+" |", table)
		}
	}
}

func TestClosed(t *testing.T) {
	s := fresh(t)
	require.NoError(t, s.Submit(t.Context(), t0, mail("a", "ann@example.com")))
	taken := takeAll(t, s, t0)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	ctx := t.Context()
	errs := map[string]error{
		"Submit": s.Submit(ctx, t0, mail("b", "ann@example.com")),
		"Write":  s.Write(ctx, t0, []sender.Change{{Kind: sender.Sending, ID: 1}}),
		"Save":   s.Save(ctx, "k", nil),
		"Backup": s.Backup(ctx, filepath.Join(t.TempDir(), "b.db")),
	}
	_, _, errs["Take"] = s.Take(ctx, "news", t0, 1, anyRoom)
	_, errs["Results"] = s.Results(ctx, 0, 1)
	_, errs["List"] = s.List(ctx, sender.Selection{}, 0, 1)
	_, errs["Load"] = s.Load(ctx, "k")
	_, _, errs["Cancel"] = s.Cancel(ctx, "spring", t0, 1)
	_, errs["Reschedule"] = s.Reschedule(ctx, sender.Selection{}, t0)
	_, _, errs["Uses"] = s.Uses(ctx)
	_, errs["WriteTo"] = taken[0].Message.Content.WriteTo(&bytes.Buffer{})
	for name, err := range errs {
		require.ErrorIs(t, err, ErrClosed, name)
	}
}

func TestBackup(t *testing.T) {
	s := filled(t, filepath.Join(t.TempDir(), "spool.db"), 2000, 10)
	path := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, s.Backup(t.Context(), path))
	require.ErrorIs(t, s.Backup(t.Context(), path), fs.ErrExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Backup(ctx, path+"2"), context.Canceled)
	require.NoError(t, s.Submit(t.Context(), t0, mail("later", "ann@example.com")))
	b := openAt(t, path)
	queued, err := b.List(t.Context(), sender.Selection{}, 0, 5000)
	require.NoError(t, err)
	require.Len(t, queued, 2000)
}

// What has ended is remembered for Retention and then forgotten.
func TestRetention(t *testing.T) {
	s := fresh(t)
	m := mail("a", "ann@example.com")
	require.NoError(t, s.Submit(t.Context(), t0, m))
	id := takeAll(t, s, t0)[0].Recipients[0].ID
	require.NoError(t, s.Write(t.Context(), t0, []sender.Change{{Kind: sender.EndedNow, ID: id, Result: &sender.Result{}}}))
	require.NoError(t, s.flush(t.Context()))
	almost := t0.Add(defaultRetention - 1e9)
	require.NoError(t, s.Submit(t.Context(), almost, m))
	require.Empty(t, takeAll(t, s, almost))
	after := t0.Add(defaultRetention + 1e9)
	require.NoError(t, s.Submit(t.Context(), after, mail("b", "bob@example.com")))
	pairs, err := s.w.c.int64("SELECT count(*) FROM recipient")
	require.NoError(t, err)
	require.EqualValues(t, 1, pairs)
	require.NoError(t, s.Submit(t.Context(), after, m))
	require.Greater(t, takeAll(t, s, after)[1].Recipients[0].ID, id)
}

// Lines that nobody waits in are forgotten, in memory too.
func TestEmptyLines(t *testing.T) {
	s := filled(t, filepath.Join(t.TempDir(), "spool.db"), 1000, 1000)
	require.Len(t, s.lines.byID, 1000)
	live(t, s, takeAll(t, s, t0))
	require.NoError(t, s.flush(t.Context()))
	for range 5 { // a part with each transaction
		require.NoError(t, s.Save(t.Context(), "k", nil))
	}
	require.Empty(t, s.lines.byID)
	lines, err := s.w.c.int64("SELECT count(*) FROM line")
	require.NoError(t, err)
	require.Zero(t, lines)
	require.NoError(t, s.Submit(t.Context(), t0, letters(5000, 3, 3)...))
	require.Len(t, takeAll(t, s, t0), 3)
}
