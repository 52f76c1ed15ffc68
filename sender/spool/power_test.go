//go:build unix

package spool_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/spool"
	"github.com/volleymail/volley/sender/spool/internal/faultvfs"
)

const fileName = "mail.db"

// moment is a disk between two of its calls, and what was acknowledged then.
type moment struct {
	op     faultvfs.Op
	ledger *ledger
	state  *faultvfs.State
}

// camera takes moments by chance.
type camera struct {
	mu      sync.Mutex
	rng     *rand.Rand // guarded by mu
	moments []moment   // guarded by mu
	calls   int        // guarded by mu
	max     int

	checkpoint chan struct{} // guarded by mu; when it is time for one, nil at the end
}

// each is called before each call of SQLite: it takes a moment before one in so
// many, up to c.max, and asks for a checkpoint now and then.
func (c *camera) each(op faultvfs.Op, disk *faultvfs.Disk, l *ledger, oneIn int) {
	if op.Kind == faultvfs.Read {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rng.IntN(oneIn) == 0 && len(c.moments) < c.max {
		known := l.clone() // before the state, which may be of a little later
		c.moments = append(c.moments, moment{op, known, disk.State()})
	}
	if c.calls++; c.calls%50 == 0 {
		select {
		case c.checkpoint <- struct{}{}:
		default:
		}
	}
}

// enough leaves some moments to Close.
func (c *camera) enough() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.moments) >= c.max*3/4
}

func (c *camera) noCheckpoints() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.checkpoint)
	c.checkpoint = nil
}

// TestPowerLoss: while a spool is worked by many, the process is killed or the
// power goes at random moments. What the disk has then is opened, and must agree
// with what was acknowledged. In one of the moments the next life begins.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			manyLives(t, seed, faultvfs.Sound, never)
		})
	}
}

// never is for load.again when there are no errors.
func never(error) bool { return false }

func manyLives(t *testing.T, seed uint64, rule faultvfs.Rule, again func(error) bool) {
	t.Helper()
	const momentsOfLife = 10
	lives := uint64(4)
	if testing.Short() {
		lives = 1
	}
	dir, known := t.TempDir(), newLedger()
	for life := range lives {
		moments := live(t, dir, known, seed*100+life, momentsOfLife, rule, again)
		for i, m := range moments {
			for loss := range faultvfs.Some + 1 {
				wake(t, m, loss, seed*10_000+life*100+uint64(i))
			}
		}
		last := rand.New(rand.NewPCG(seed, life)).IntN(len(moments))
		known = wake(t, moments[last], faultvfs.Some, seed)
		dir = restore(t, moments[last], faultvfs.Some, seed)
	}
}

// A disk that does not sync must be found out, else TestPowerLoss shows nothing.
func TestPowerLossIsNoticed(t *testing.T) {
	moments := live(t, t.TempDir(), newLedger(), 1, 20, faultvfs.Lying, never)
	for _, loss := range []faultvfs.Loss{faultvfs.Unsynced, faultvfs.Some} {
		bad := 0
		for i, m := range moments {
			if _, err := inspect(t.Context(), restore(t, m, loss, uint64(i)), m.ledger); err != nil {
				bad++
			}
		}
		require.Greater(t, bad, len(moments)/4)
	}
}

// live works the spool in dir until there are as many moments as asked for. An
// error is one that again wants.
func live(t *testing.T, dir string, known *ledger, seed uint64, max int, rule faultvfs.Rule, again func(error) bool) []moment {
	t.Helper()
	disk, err := faultvfs.New(dir)
	require.NoError(t, err)
	defer disk.Close()
	cam := &camera{rng: rand.New(rand.NewPCG(seed, 99)), max: max, checkpoint: make(chan struct{}, 1)}
	disk.SetRule(func(op faultvfs.Op) faultvfs.Fault {
		cam.each(op, disk, known, 20)
		return rule(op)
	})
	check := func(err error) bool {
		if !again(err) {
			t.Errorf("seed %d: %v", seed, err)
		}
		return !t.Failed()
	}
	s, err := spool.Open(filepath.Join(dir, fileName), nil)
	for err != nil && check(err) {
		s, err = spool.Open(filepath.Join(dir, fileName), nil)
	}
	require.NoError(t, err)
	l := &load{q: s, ledger: known, life: fmt.Sprint("life", seed), again: check}
	checkpoints := make(chan error)
	go func(times chan struct{}) { checkpoints <- checkpoint(filepath.Join(dir, fileName), times) }(cam.checkpoint)
	l.run(t.Context(), seed, func() bool { return cam.enough() || t.Failed() })
	cam.noCheckpoints()
	if err := <-checkpoints; err != nil {
		check(&spool.Error{Path: dir, Kind: spool.ErrIO, Err: err})
	}
	if err := s.Close(); err != nil {
		check(err)
	}
	return cam.moments
}

// checkpoint has SQLite begin the log anew at these times: the spool itself does
// it only after many megabytes.
func checkpoint(path string, times chan struct{}) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	for range times {
		if _, e := db.Exec("PRAGMA wal_checkpoint(RESTART)"); e != nil {
			err = e
		}
	}
	return err
}

// restore makes a directory of what is left of a moment.
func restore(t *testing.T, m moment, loss faultvfs.Loss, seed uint64) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, m.state.Restore(dir, loss, rand.New(rand.NewPCG(seed, 0))))
	return dir
}

// wake opens and checks what is left of a moment, and returns what is known then.
func wake(t *testing.T, m moment, loss faultvfs.Loss, seed uint64) *ledger {
	t.Helper()
	there, err := inspect(t.Context(), restore(t, m, loss, seed), m.ledger)
	require.NoErrorf(t, err, "loss %d before %+v", loss, m.op)
	return m.ledger.settle(there)
}

// inspect opens the spool in dir and checks it against what is known.
func inspect(ctx context.Context, dir string, known *ledger) (map[pair]fate, error) {
	disk, err := faultvfs.New(dir) // so that nothing waits for a real disk
	if err != nil {
		return nil, err
	}
	defer disk.Close()
	path := filepath.Join(dir, fileName)
	s, err := spool.Open(path, nil)
	if err != nil {
		return nil, fmt.Errorf("Open: %w", err)
	}
	there, err := all(ctx, s)
	if err == nil {
		err = known.check(there)
	}
	if err == nil {
		err = resubmit(ctx, s, known, there)
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = integrity(path)
	}
	return there, err
}

func integrity(path string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var ok string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&ok); err != nil || ok != "ok" {
		return fmt.Errorf("integrity_check: %s %w", ok, err)
	}
	rows, err := db.Query("PRAGMA foreign_key_check")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() {
		return errors.New("a foreign key points nowhere")
	}
	return rows.Err()
}
