//go:build unix

package faultvfs

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const walFull = "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(50)"

func newDisk(t *testing.T) *Disk {
	t.Helper()
	disk, err := New(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(disk.Close)
	return disk
}

func open(t *testing.T, dir, pragmas string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "x.db")+"?_pragma=busy_timeout(60000)&"+pragmas)
	require.NoError(t, err)
	db.SetMaxOpenConns(4)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// ledger is a database with two rows for each number, added in one transaction.
const ledger = `CREATE TABLE IF NOT EXISTS a (n INTEGER PRIMARY KEY, pad BLOB);
CREATE TABLE IF NOT EXISTS b (n INTEGER PRIMARY KEY, pad BLOB)`

func add(db *sql.DB, n, pad int) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, table := range []string{"a", "b"} {
		if _, err := tx.Exec("INSERT INTO "+table+" VALUES (?, randomblob(?))", n, pad); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// check says what is wrong with the ledger in dir, of which these numbers were
// acknowledged.
func check(dir string, acked []int) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "x.db")+"?_pragma=synchronous(OFF)") // quickly
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var ok string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&ok); err != nil || ok != "ok" {
		return fmt.Errorf("integrity: %s %w", ok, err)
	}
	if len(acked) == 0 {
		return nil
	}
	have := map[int]bool{}
	rows, err := db.Query("SELECT a.n, b.n FROM a FULL JOIN b ON a.n = b.n")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a, b sql.Null[int]
		if err := rows.Scan(&a, &b); err != nil {
			return err
		}
		if a != b {
			return fmt.Errorf("half a transaction: %v %v", a, b)
		}
		have[a.V] = true
	}
	for _, n := range acked {
		if !have[n] {
			return fmt.Errorf("%d is lost", n)
		}
	}
	return rows.Err()
}

// moment is a State, and what was acknowledged before it.
type moment struct {
	state *State
	acked []int
}

// work adds numbers from four goroutines and takes the State before one call
// out of every few.
func work(t *testing.T, pragmas string, seed uint64, rule Rule) []moment {
	t.Helper()
	disk := newDisk(t)
	db := open(t, disk.dir, pragmas)
	var mu sync.Mutex
	var acked []int
	var moments []moment
	rng := rand.New(rand.NewPCG(seed, 0))
	disk.SetRule(func(op Op) Fault {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind != Read && rng.IntN(12) == 0 && len(moments) < 50 {
			moments = append(moments, moment{acked: append([]int(nil), acked...), state: disk.State()})
		}
		return rule(op)
	})
	_, err := db.Exec(ledger)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := range 25 {
				n := p*1000 + i
				if err := add(db, n, 10+n*37%3000); err != nil {
					t.Errorf("add: %v", err)
					return
				}
				mu.Lock()
				acked = append(acked, n)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.NoError(t, db.Close())
	return moments
}

// damage restores each of the moments and counts what check finds.
func damage(t *testing.T, moments []moment, loss Loss, rng *rand.Rand) (bad []error) {
	t.Helper()
	for _, m := range moments {
		dir := t.TempDir()
		require.NoError(t, m.state.Restore(dir, loss, rng))
		if err := check(dir, m.acked); err != nil {
			bad = append(bad, err)
		}
	}
	return bad
}

func TestPowerLoss(t *testing.T) {
	for name, pragmas := range map[string]string{
		"wal":      walFull,
		"rollback": "_pragma=journal_mode(DELETE)&_pragma=synchronous(EXTRA)",
		"persist":  "_pragma=journal_mode(PERSIST)&_pragma=synchronous(EXTRA)",
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				rng := rand.New(rand.NewPCG(seed, 1))
				moments := work(t, pragmas, seed, Sound)
				require.NotEmpty(t, moments)
				require.Empty(t, damage(t, moments, Nothing, rng), "killed")
				require.Empty(t, damage(t, moments, Unsynced, rng), "unsynced dropped")
				require.Empty(t, damage(t, moments, Some, rng), "some kept")
			}
		})
	}
}

// A database that is not synced must be found out, else the tests above show
// nothing.
func TestPowerLossIsNoticed(t *testing.T) {
	for name, test := range map[string]struct {
		pragmas string
		rule    Rule
	}{
		"wal, lying disk": {walFull, Lying},
		"wal, off":        {"_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=wal_autocheckpoint(50)", Sound},
		"wal, normal":     {"_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=wal_autocheckpoint(50)", Sound},
		"rollback, off":   {"_pragma=journal_mode(DELETE)&_pragma=synchronous(OFF)", Sound},
		"no journal":      {"_pragma=journal_mode(OFF)&_pragma=synchronous(FULL)", Sound},
		// FULL does not sync the directory after the journal is gone: EXTRA is there for that.
		"rollback, full": {"_pragma=journal_mode(DELETE)&_pragma=synchronous(FULL)", Sound},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 1))
			moments := work(t, test.pragmas, 1, test.rule)
			require.NotEmpty(t, damage(t, moments, Unsynced, rng), "unsynced dropped")
			require.NotEmpty(t, damage(t, moments, Some, rng), "some kept")
		})
	}
}

// What the Disk keeps apart is, together, what is in the files.
func TestStateIsComplete(t *testing.T) {
	disk := newDisk(t)
	db := open(t, disk.dir, walFull+"&_pragma=journal_size_limit(10000)")
	_, err := db.Exec(ledger)
	require.NoError(t, err)
	for n := range 200 {
		require.NoError(t, add(db, n, 500))
	}
	_, err = db.Exec("DELETE FROM a; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
	require.NoError(t, err)
	require.NoError(t, add(db, 1000, 5000))
	dir := t.TempDir()
	require.NoError(t, disk.State().Restore(dir, Nothing, nil))
	for _, name := range []string{"x.db", "x.db-wal"} {
		want, err := exec.Command("cat", filepath.Join(disk.dir, name)).Output() // a Close in this process takes SQLite's locks
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NotEmpty(t, got)
		require.True(t, string(want) == string(got), name)
	}
}

func sqliteCode(t *testing.T, err error) int {
	t.Helper()
	var e *sqlite.Error
	require.True(t, errors.As(err, &e), "%v", err)
	return e.Code()
}

func TestSpace(t *testing.T) {
	disk := newDisk(t)
	db := open(t, disk.dir, walFull)
	_, err := db.Exec(ledger)
	require.NoError(t, err)
	disk.SetRule(Space(300_000))
	var acked []int
	for n := range 200 {
		if err = add(db, n, 5000); err != nil {
			break
		}
		acked = append(acked, n)
	}
	require.Equal(t, sqlite3.SQLITE_FULL, sqliteCode(t, err))
	require.Greater(t, len(acked), 5)
	require.Equal(t, sqlite3.SQLITE_FULL, sqliteCode(t, add(db, 5000, 100_000)), "still full")
	disk.SetRule(Sound)
	require.NoError(t, add(db, 6000, 5000), "there is room again")
	dir := t.TempDir()
	require.NoError(t, disk.State().Restore(dir, Unsynced, nil))
	require.NoError(t, check(dir, append(acked, 6000)))
}

func TestReadOnly(t *testing.T) {
	disk := newDisk(t)
	db := open(t, disk.dir, walFull)
	_, err := db.Exec(ledger)
	require.NoError(t, err)
	require.NoError(t, add(db, 1, 10))
	disk.SetRule(ReadOnly)
	require.Equal(t, sqlite3.SQLITE_IOERR_WRITE, sqliteCode(t, add(db, 2, 10)), "while it is open")
	require.NoError(t, db.QueryRow("SELECT n FROM a").Scan(new(int)))
	disk.SetRule(Sound)
	require.NoError(t, add(db, 3, 10))
	require.NoError(t, db.Close())

	disk.SetRule(ReadOnly)
	db = open(t, disk.dir, "")
	require.Error(t, add(db, 4, 10), "when it is opened")
	disk.SetRule(Sound)
	require.NoError(t, db.Close())
	require.NoError(t, check(disk.dir, []int{1, 3}))
}

// contentOf is what is in a file after the loss, "none" if there is no file.
func contentOf(t *testing.T, s *State, name string, loss Loss) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, s.Restore(dir, loss, rand.New(rand.NewPCG(1, 1))))
	data, err := os.ReadFile(filepath.Join(dir, name))
	if os.IsNotExist(err) {
		return "none"
	}
	require.NoError(t, err)
	return string(data)
}

// A sync that failed is no sync: neither is the next one for what was written
// before. SQLite writes it again.
func TestFailedSyncLoses(t *testing.T) {
	for _, fail := range []error{ErrIO, ErrNoSpace} {
		disk := newDisk(t)
		f := disk.opened("x")
		disk.sync(f, true)
		disk.write(f, 0, []byte("one"))
		disk.sync(f, false)
		disk.write(f, 3, []byte("two"))
		if fail == ErrIO {
			disk.lose(f)
		}
		disk.write(f, 6, []byte("three"))
		disk.sync(f, false)
		want := map[error]string{ErrIO: "one\x00\x00\x00three", ErrNoSpace: "onetwothree"}[fail]
		require.Equal(t, want, contentOf(t, disk.State(), "x", Unsynced))
	}
}

// Each call in turn fails once, through the same scenario: what was
// acknowledged is there when the power goes at its end, and all went on.
func TestSweep(t *testing.T) {
	scenario := func(t *testing.T, rule Rule) {
		disk := newDisk(t)
		disk.SetRule(rule)
		db := open(t, disk.dir, walFull)
		var acked []int
		created := false
		for n := range 8 {
			if !created {
				_, err := db.Exec(ledger)
				created = err == nil
			}
			if add(db, n, 9000) == nil {
				acked = append(acked, n)
			}
		}
		disk.SetRule(Sound)
		require.NoError(t, add(db, 100, 10))
		state := disk.State()
		require.NoError(t, db.Close())
		dir := t.TempDir()
		require.NoError(t, state.Restore(dir, Unsynced, nil))
		require.NoError(t, check(dir, append(acked, 100)))
		require.GreaterOrEqual(t, len(acked), 6)
	}
	for _, fail := range []error{ErrIO, ErrNoSpace} {
		for n := int64(1); ; n += 3 {
			hit := false
			nth := Nth(n, fail, Changes...)
			scenario(t, func(op Op) Fault {
				fault := nth(op)
				hit = hit || fault.Err != nil
				return fault
			})
			if t.Failed() || !hit {
				t.Logf("%v: %d calls", fail, n-1)
				require.Greater(t, n, int64(50))
				break
			}
		}
	}
}
