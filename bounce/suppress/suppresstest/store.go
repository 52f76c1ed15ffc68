// Package suppresstest checks implementations of suppress.Store.
package suppresstest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/bounce/suppress"
)

// noon is when the tests take place.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)

// TestStore checks what suppress.Store promises. Open returns an empty store
// each time.
func TestStore(t *testing.T, open func(t *testing.T) suppress.Store) {
	for _, test := range []struct {
		name string
		run  func(context.Context, *testing.T, suppress.Store)
	}{
		{"Entries", testEntries},
		{"Replace", testReplace},
		{"All", testAll},
		{"Hits", testHits},
		{"Forget", testForget},
		{"Prune", testPrune},
		{"Concurrent", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t.Context(), t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantEqual(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// find returns what the store has for a key, in order.
func find(t *testing.T, s suppress.Store, key string) []suppress.Entry {
	t.Helper()
	entries, err := s.Find(t.Context(), key)
	must(t, err)
	slices.SortFunc(entries, func(a, b suppress.Entry) int {
		return strings.Compare(a.Stream+a.Cause.String(), b.Stream+b.Cause.String())
	})
	return entries
}

func samples() []suppress.Entry {
	return []suppress.Entry{
		{Address: "Ann.Example@example.com", Cause: suppress.HardBounce, Category: bounce.InvalidMailbox,
			Source: `550 5.1.1 "Ann", unknown; O'Hara? 100% $1`, Time: noon},
		{Address: "Ann.Example@example.com", Stream: "news", Cause: suppress.Unsubscribed, Time: noon, Expires: noon.Add(time.Hour)},
		{Address: "jörg@xn--bcher-kva.example", Stream: "Übersicht", Cause: suppress.Complained, Source: "日本語", Time: time.Unix(0, 0).UTC(),
			Expires: time.Unix(0, 0).UTC()},
	}
}

func testEntries(ctx context.Context, t *testing.T, s suppress.Store) {
	all := samples()
	must(t, s.Put(ctx, nil))
	must(t, s.Put(ctx, all))
	wantEqual(t, find(t, s, "ann.example@example.com"), all[:2])
	wantEqual(t, find(t, s, all[2].Key()), all[2:])
	for _, absent := range []string{"", "ann@example.com", "Ann.Example@example.com", "ann.example@example.co_"} {
		if got := find(t, s, absent); len(got) != 0 {
			t.Fatalf("%q: %+v", absent, got)
		}
	}
	must(t, s.Delete(ctx, "ann.example@example.com", "", suppress.Unsubscribed)) // not there
	must(t, s.Delete(ctx, "ann.example@example.com", "", suppress.HardBounce))
	wantEqual(t, find(t, s, "ann.example@example.com"), all[1:2])
	must(t, s.Delete(ctx, "ann.example@example.com", "news", suppress.Unsubscribed))
	must(t, s.Delete(ctx, "ann.example@example.com", "news", suppress.Unsubscribed))
	if got := find(t, s, "ann.example@example.com"); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
}

func testReplace(ctx context.Context, t *testing.T, s suppress.Store) {
	first := samples()[0]
	second := first
	second.Address, second.Source, second.Category = "ANN.example@example.com", "again", bounce.MailboxDisabled
	second.Time, second.Expires = noon.Add(time.Hour), noon.Add(2*time.Hour)
	must(t, s.Put(ctx, []suppress.Entry{first}))
	must(t, s.Put(ctx, []suppress.Entry{second}))
	wantEqual(t, find(t, s, first.Key()), []suppress.Entry{second})
	must(t, s.Put(ctx, []suppress.Entry{second, first})) // the last one counts
	wantEqual(t, find(t, s, first.Key()), []suppress.Entry{first})
}

func testAll(ctx context.Context, t *testing.T, s suppress.Store) {
	want := map[suppress.Entry]bool{}
	var all []suppress.Entry
	for i := range 2345 {
		e := suppress.Entry{Address: fmt.Sprintf("user%d@example.com", i/2), Cause: suppress.Manual, Time: noon}
		if i%2 == 1 {
			e.Stream = "news"
		}
		all = append(all, e)
		want[e] = true
	}
	must(t, s.Put(ctx, all))
	for e, err := range s.All(ctx) {
		must(t, err)
		if !want[e] {
			t.Fatalf("unknown, or there twice: %+v", e)
		}
		delete(want, e)
		if len(want)%100 == 0 {
			must(t, s.Delete(ctx, e.Key(), e.Stream, e.Cause)) // meanwhile
		}
	}
	if len(want) > 0 {
		t.Fatalf("%d of %d are missing", len(want), len(all))
	}
	must(t, s.Put(ctx, all[:3]))
	n := 0
	for _, err := range s.All(ctx) {
		must(t, err)
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Fatalf("%d entries before break", n)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	var last error
	for _, err := range s.All(ended) {
		last = err
	}
	if last == nil {
		t.Fatal("All goes on after its context has ended")
	}
}

const day = 24 * time.Hour

// hit wants a number of failures.
func hit(t *testing.T, s suppress.Store, key, kind string, at time.Time, want int) {
	t.Helper()
	n, err := s.Hit(t.Context(), suppress.Hit{Key: key, Kind: kind, Time: at}, 10*day)
	must(t, err)
	if n != want {
		t.Fatalf("%s, %s, %v: %d failures, want %d", key, kind, at, n, want)
	}
}

func testHits(_ context.Context, t *testing.T, s suppress.Store) {
	hit(t, s, "a@b.example", "full", noon, 1)
	hit(t, s, "a@b.example", "full", noon, 1) // told twice
	hit(t, s, "a@b.example", "full", noon.Add(day), 2)
	hit(t, s, "a@b.example", "full", noon.Add(1), 3)
	hit(t, s, "a@b.example", "other", noon, 1)
	hit(t, s, "b@b.example", "full", noon, 1)
	hit(t, s, "a@b.example", "full", noon.Add(-day), 4)    // told late
	hit(t, s, "a@b.example", "full", noon.Add(10*day), 3)  // two are too old, by no more than a nanosecond one of them
	hit(t, s, "a@b.example", "full", noon.Add(100*day), 1) // all others are
	hit(t, s, "a@b.example", "full", noon.Add(50*day), 1)  // and so is this one
}

func testForget(ctx context.Context, t *testing.T, s suppress.Store) {
	must(t, s.Forget(ctx, "a@b.example", noon))
	hit(t, s, "a@b.example", "full", noon, 1)
	hit(t, s, "a@b.example", "full", noon.Add(day), 2)
	hit(t, s, "a@b.example", "other", noon, 1)
	hit(t, s, "b@b.example", "full", noon, 1)
	must(t, s.Forget(ctx, "a@b.example", noon))
	hit(t, s, "a@b.example", "full", noon.Add(2*day), 2)
	hit(t, s, "a@b.example", "other", noon.Add(day), 1)
	hit(t, s, "b@b.example", "full", noon.Add(day), 2)
	must(t, s.Forget(ctx, "a@b.example", noon.Add(2*day)))
	hit(t, s, "a@b.example", "full", noon.Add(3*day), 1)
}

func testPrune(ctx context.Context, t *testing.T, s suppress.Store) {
	lasting := suppress.Entry{Address: "a@b.example", Cause: suppress.Manual, Time: noon}
	ending, ended := lasting, lasting
	ending.Stream, ending.Expires = "x", noon.Add(time.Hour)
	ended.Stream, ended.Expires = "y", noon
	alone := ended
	alone.Address = "c@b.example"
	must(t, s.Put(ctx, []suppress.Entry{lasting, ending, ended, alone}))
	hit(t, s, "a@b.example", "full", noon.Add(-10*day), 1)
	hit(t, s, "b@b.example", "full", noon.Add(-9*day), 1)
	must(t, s.Prune(ctx, noon))
	wantEqual(t, find(t, s, "a@b.example"), []suppress.Entry{lasting, ending})
	if got := find(t, s, "c@b.example"); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	hit(t, s, "a@b.example", "full", noon.Add(-10*day).Add(1), 1)
	hit(t, s, "b@b.example", "full", noon, 2)
}

// testConcurrent is worth most under the race detector.
func testConcurrent(ctx context.Context, t *testing.T, s suppress.Store) {
	const workers, rounds = 8, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				key := fmt.Sprintf("user%d@example.com", i)
				e := suppress.Entry{Address: key, Cause: suppress.Manual, Source: fmt.Sprint(w), Time: noon}
				if err := s.Put(ctx, []suppress.Entry{e}); err != nil {
					t.Error(err)
				}
				if entries, err := s.Find(ctx, key); err != nil || len(entries) != 1 {
					t.Errorf("Find: %d entries, %v", len(entries), err)
				}
				h := suppress.Hit{Key: "one@example.com", Kind: "full", Time: noon.Add(time.Duration(w*rounds + i))}
				if n, err := s.Hit(ctx, h, day); err != nil || n < 1 {
					t.Errorf("Hit: %d, %v", n, err)
				}
			}
			for _, err := range s.All(ctx) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n, err := s.Hit(ctx, suppress.Hit{Key: "one@example.com", Kind: "full", Time: noon}, day)
	must(t, err)
	if n != workers*rounds {
		t.Fatalf("%d failures, want %d", n, workers*rounds)
	}
}
