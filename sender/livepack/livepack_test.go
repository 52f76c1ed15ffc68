package livepack

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

func TestFetchAdoptsWhatIsNewAndGood(t *testing.T) {
	u, src, slot, j := newUpdater(t, nil)
	require.Equal(t, Status{Version: "1", Newest: "1", BuiltIn: true}, u.Status())
	require.Zero(t, src.asked, "nothing is fetched unless asked for")

	src.put(signed("2"))
	require.Equal(t, Event{Kind: Adopted, Target: "slot", Version: "2", Running: "2"}, u.Fetch(ctx))
	require.Equal(t, string(pack("2")), slot.get())
	status := u.Status()
	require.NotZero(t, status.Fetched)
	status.Fetched = time.Time{}
	require.Equal(t, Status{Version: "2", Newest: "2", CanGo: 1}, status)

	require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
	require.Len(t, j.events(), 2)
}

func TestBadPacksAreRefused(t *testing.T) {
	tests := map[string]struct {
		pack   []byte
		reason Reason
	}{
		"unsigned":                   {pack("3"), Unsigned},
		"of another key":             {Sign(pack("3"), key(2)), BadSignature},
		"cut":                        {signed("3")[:len(signed("3"))-1], BadSignature},
		"older":                      {signed("1"), Older},
		"as new, with other content": {Sign([]byte("version = \"2\"\nmore"), key(1)), Older},
		"as new, written otherwise":  {signed("2.0"), Older},
		"that does not load":         {Sign([]byte("verse"), key(1)), Invalid},
		"without order":              {signed("beta"), Invalid},
		"too large":                  {make([]byte, 1001), TooLarge},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			u, src, slot, j := newUpdater(t, func(c *Config) { c.MaxSize = 1000 })
			src.put(signed("2"))
			require.Equal(t, Adopted, u.Fetch(ctx).Kind)
			src.put(test.pack)
			e := u.Fetch(ctx)
			requireRefused(t, e, test.reason)
			require.Equal(t, "2", e.Running)
			require.Equal(t, string(pack("2")), slot.get())
			require.Equal(t, e, j.events()[1])
			require.Contains(t, e.String(), test.reason.String())

			src.put(signed("4"))
			require.Equal(t, Adopted, u.Fetch(ctx).Kind, "and a good one is taken after that")
		})
	}
}

func TestASourceThatFails(t *testing.T) {
	u, src, _, _ := newUpdater(t, nil)
	src.err = os.ErrPermission
	e := u.Fetch(ctx)
	requireRefused(t, e, Unreachable)
	require.ErrorIs(t, e.Err, os.ErrPermission)
	require.Zero(t, u.Status().Fetched)
}

func TestRollback(t *testing.T) {
	u, src, slot, j := newUpdater(t, nil)
	_, err := u.Rollback()
	require.ErrorIs(t, err, ErrNothingBefore)
	for _, v := range []string{"2", "3"} {
		src.put(signed(v))
		require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	}

	e, err := u.Rollback()
	require.NoError(t, err)
	require.Equal(t, Event{Kind: RolledBack, Target: "slot", Version: "2", Running: "2"}, e)
	require.Equal(t, string(pack("2")), slot.get())
	require.Equal(t, "3", u.Status().Newest)
	require.Equal(t, Unchanged, u.Fetch(ctx).Kind, "what was left is not adopted again")
	require.Equal(t, "2", u.Status().Version)
	src.put(signed("2"))
	requireRefused(t, u.Fetch(ctx), Older)

	e, err = u.Rollback()
	require.NoError(t, err)
	require.Equal(t, "1", e.Running)
	require.Empty(t, slot.get())
	_, err = u.Rollback()
	require.ErrorIs(t, err, ErrNothingBefore)

	src.put(signed("4"))
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, 1, u.Status().CanGo)
	kinds := []EventKind{}
	for _, e := range j.events() {
		kinds = append(kinds, e.Kind)
	}
	require.Equal(t, []EventKind{Adopted, Adopted, RolledBack, Unchanged, Refused, RolledBack, Adopted}, kinds)
}

func TestRollbackGoesBackAFewSteps(t *testing.T) {
	u, src, _, _ := newUpdater(t, nil)
	for _, v := range []string{"2", "3", "4", "5", "6", "7"} {
		src.put(signed(v))
		u.Fetch(ctx)
	}
	var versions []string
	for u.Status().CanGo > 0 {
		e, err := u.Rollback()
		require.NoError(t, err)
		versions = append(versions, e.Running)
	}
	require.Equal(t, []string{"6", "5", "4", "1"}, versions)
}

func TestTheCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slot.pack")
	withCache := func(c *Config) { c.Cache = path }
	u, src, _, j := newUpdater(t, withCache)
	require.Empty(t, j.events(), "there is none yet")
	src.put(signed("2"))
	u.Fetch(ctx)
	src.put(signed("3"))
	u.Fetch(ctx)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	t.Run("is put in place at the start", func(t *testing.T) {
		u, src, slot, j := newUpdater(t, withCache)
		require.Equal(t, []Event{{Kind: Restored, Target: "slot", Version: "3", Running: "3"}}, j.events())
		require.Equal(t, string(pack("3")), slot.get())
		require.Zero(t, src.asked)
		src.put(signed("3"))
		require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
		src.put(signed("2"))
		requireRefused(t, u.Fetch(ctx), Older)
	})
	t.Run("is verified", func(t *testing.T) {
		_, _, slot, j := newUpdater(t, func(c *Config) {
			withCache(c)
			c.Keys = []ed25519.PublicKey{public(2)}
		})
		requireRefused(t, j.events()[0], BadSignature)
		require.Empty(t, slot.get())
	})
	t.Run("is left for a newer built-in pack", func(t *testing.T) {
		u, _, slot, j := newUpdater(t, func(c *Config) {
			withCache(c)
			c.Target.Base = "3"
		})
		require.Empty(t, j.events())
		require.Empty(t, slot.get())
		require.Equal(t, "3", u.Status().Newest)
	})
	t.Run("knows what was left", func(t *testing.T) {
		_, err := u.Rollback()
		require.NoError(t, err)
		again, src, slot, _ := newUpdater(t, withCache)
		require.Equal(t, string(pack("2")), slot.get())
		src.put(signed("3"))
		require.Equal(t, Unchanged, again.Fetch(ctx).Kind)
		require.Equal(t, "2", again.Status().Version)

		_, err = u.Rollback()
		require.NoError(t, err)
		again, src, slot, j := newUpdater(t, withCache)
		require.Empty(t, j.events())
		require.Empty(t, slot.get())
		src.put(signed("3"))
		require.Equal(t, Unchanged, again.Fetch(ctx).Kind)
		src.put(signed("4"))
		require.Equal(t, Adopted, again.Fetch(ctx).Kind)
	})
	t.Run("may be damaged", func(t *testing.T) {
		good, err := os.ReadFile(path)
		require.NoError(t, err)
		for damage, reason := range map[string]Reason{
			"": Invalid, "# volley-cache: 4": Invalid, "# volley-cache: x 00\n": Invalid,
			string(good[:len(good)-1]): BadSignature, string(good) + "x": BadSignature,
		} {
			require.NoError(t, os.WriteFile(path, []byte(damage), 0o600))
			u, src, slot, j := newUpdater(t, withCache)
			requireRefused(t, j.events()[0], reason)
			require.Empty(t, slot.get())
			src.put(signed("4"))
			require.Equal(t, Adopted, u.Fetch(ctx).Kind, "it can be fetched again")
		}
	})
	t.Run("may not be writable", func(t *testing.T) {
		u, src, slot, j := newUpdater(t, func(c *Config) { c.Cache = filepath.Join(t.TempDir(), "no", "such", "folder") })
		src.put(signed("2"))
		require.Equal(t, Adopted, u.Fetch(ctx).Kind)
		require.Equal(t, string(pack("2")), slot.get())
		require.Equal(t, NotCached, j.events()[1].Kind)
		require.ErrorIs(t, j.events()[1].Err, os.ErrNotExist)
	})
	t.Run("may not be readable", func(t *testing.T) {
		_, _, _, j := newUpdater(t, func(c *Config) { c.Cache = t.TempDir() })
		requireRefused(t, j.events()[0], Unreachable)
	})
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
}

func TestRunKeepsTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		begin := time.Now()
		u, src, slot, _ := newUpdater(t, func(c *Config) {
			c.Every = time.Hour
			c.Source.(*shelf).onFetch = func() { asked = append(asked, time.Since(begin)) }
		})
		src.put(signed("2"))
		enough := errors.New("enough")
		ctx, stop := context.WithTimeoutCause(context.Background(), 100*time.Hour, enough)
		defer stop()
		done := make(chan error)
		go func() { done <- u.Run(ctx) }()
		synctest.Wait()
		require.Equal(t, string(pack("2")), slot.get(), "the first at once")
		src.put(signed("3"))
		require.Equal(t, enough, <-done)
		require.Equal(t, string(pack("3")), slot.get())

		require.InDelta(t, 100, len(asked), 11)
		distinct := map[time.Duration]bool{}
		for i := 1; i < len(asked); i++ {
			gap := asked[i] - asked[i-1]
			require.GreaterOrEqual(t, gap, 54*time.Minute)
			require.LessOrEqual(t, gap, 66*time.Minute)
			distinct[gap] = true
		}
		require.Greater(t, len(distinct), 50, "spread")
	})
}

func TestRunEndsDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _, _, j := newUpdater(t, func(c *Config) { c.Source = stuck{}; c.Timeout = time.Minute })
		ctx, stop := context.WithTimeout(context.Background(), 90*time.Minute)
		defer stop()
		begin := time.Now()
		requireRefused(t, u.Fetch(ctx), Unreachable)
		require.Equal(t, time.Minute, time.Since(begin))
		require.ErrorIs(t, u.Run(ctx), context.DeadlineExceeded)
		require.Equal(t, 90*time.Minute, time.Since(begin))
		require.Len(t, j.events(), 2)
	})
}

// stuck is a Source that gives nothing.
type stuck struct{}

func (stuck) Fetch(ctx context.Context, _ string, _ int64) ([]byte, string, error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}

func TestRollbackDoesNotWaitForAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		u, src, slot, _ := newUpdater(t, nil)
		src.put(signed("2"))
		u.Fetch(ctx)
		src.put(signed("3"))
		src.onFetch = func() { <-hold }
		done := make(chan Event)
		go func() { done <- u.Fetch(ctx) }()
		synctest.Wait()
		_, err := u.Rollback()
		require.NoError(t, err)
		require.Empty(t, slot.get())
		close(hold)
		require.Equal(t, Adopted, (<-done).Kind)
		_, err = u.Rollback()
		require.NoError(t, err)
		require.Empty(t, slot.get(), "what was left is not what to go back to")
	})
}

func TestBadConfigs(t *testing.T) {
	_, err := New(Config{Every: time.Second, Timeout: time.Hour, MaxSize: 1 << 40, Keys: []ed25519.PublicKey{{1}}})
	for _, want := range []string{"no Source", "no Target", "Keys[0] has 1 bytes, want 32", "Every is 1s, want 1m0s", "Timeout is 1h0m0s", "MaxSize is 1099511627776"} {
		require.ErrorContains(t, err, want)
	}
	_, err = New(Config{Source: stuck{}, Target: (&slot{}).target("beta")})
	require.ErrorContains(t, err, "no Keys")
	require.ErrorContains(t, err, "Target.Base")
}

func TestNamesOfUnknownValues(t *testing.T) {
	require.Equal(t, "unknown event", EventKind(99).String())
	require.Equal(t, "unknown reason", Reason(0).String())
}
