package suppress

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

const day = 24 * time.Hour

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// sure makes the class that Classify gives a dead address.
func sure(c bounce.Category) bounce.Class {
	return bounce.Class{Category: c, Scope: bounce.ScopeRecipient, Permanent: true, Action: bounce.ActionSuppress, Rule: "generic/test", Confidence: 0.8}
}

func temporary(c bounce.Category) bounce.Class {
	return bounce.Class{Category: c, Scope: bounce.ScopeRecipient, Action: bounce.ActionRetry, Rule: "generic/test", Confidence: 0.8}
}

func newList(t *testing.T, rules *Rules) *List {
	t.Helper()
	l, err := New(NewMemory(), rules)
	require.NoError(t, err)
	return l
}

func suppressed(t *testing.T, l *List, recipient, stream string) bool {
	t.Helper()
	reason, yes, err := l.Suppressed(t.Context(), recipient, stream)
	require.NoError(t, err)
	require.Equal(t, yes, reason != "")
	return yes
}

func observe(t *testing.T, l *List, at time.Time, c bounce.Class) bool {
	t.Helper()
	yes, err := l.Observe(t.Context(), Event{Recipient: "Ann@example.com", Stream: "news", Time: at}, c)
	require.NoError(t, err)
	return yes
}

func TestSuppressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil)
		now := time.Now()
		require.NoError(t, l.Add(t.Context(),
			Entry{Address: "Ann@Example.com", Cause: HardBounce, Category: bounce.InvalidMailbox, Source: "550 5.1.1 no such user", Time: noon},
			Entry{Address: "bob@example.com", Stream: "news", Cause: Unsubscribed},
			Entry{Address: "cid@example.com", Cause: SoftBounces, Expires: now.Add(time.Hour)},
			Entry{Address: "dan@example.com", Cause: SoftBounces},
			Entry{Address: "dan@example.com", Cause: Complained},
			Entry{Address: "dan@example.com", Stream: "news", Cause: Unsubscribed},
		))
		reason, yes, err := l.Suppressed(t.Context(), "ANN@example.COM", "news")
		require.NoError(t, err)
		require.True(t, yes)
		require.Equal(t, "hard-bounce (invalid-mailbox) on 2026-11-21: 550 5.1.1 no such user", reason)
		require.True(t, suppressed(t, l, `"ann"@example.com`, ""))
		require.False(t, suppressed(t, l, "anna@example.com", ""))
		require.False(t, suppressed(t, l, "no address", ""))

		require.True(t, suppressed(t, l, "bob@example.com", "news"))
		require.False(t, suppressed(t, l, "bob@example.com", "receipts"))
		require.False(t, suppressed(t, l, "bob@example.com", ""))

		require.True(t, suppressed(t, l, "cid@example.com", ""))
		time.Sleep(time.Hour)
		require.False(t, suppressed(t, l, "cid@example.com", ""))

		e, found, err := l.Find(t.Context(), "dan@example.com", "news")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, Complained, e.Cause)
		require.Equal(t, now.UTC(), e.Time)
		about, err := l.About(t.Context(), "DAN@example.com")
		require.NoError(t, err)
		require.Len(t, about, 3)

		// A second chance for a bouncing address does not forget the others.
		require.NoError(t, l.Remove(t.Context(), "Dan@example.com", "", Complained))
		require.NoError(t, l.Remove(t.Context(), "Dan@example.com", "", SoftBounces))
		require.True(t, suppressed(t, l, "dan@example.com", "news"))
		require.False(t, suppressed(t, l, "dan@example.com", ""))

		require.NoError(t, l.Prune(t.Context()))
		about, err = l.About(t.Context(), "cid@example.com")
		require.NoError(t, err)
		require.Empty(t, about)
	})
}

func TestAddRefuses(t *testing.T) {
	for name, e := range map[string]Entry{
		"address":  {Address: "ann", Cause: Manual},
		"cause":    {Address: "ann@example.com"},
		"category": {Address: "ann@example.com", Cause: Manual, Category: 200},
		"stream":   {Address: "ann@example.com", Cause: Manual, Stream: " news"},
		"newline":  {Address: "ann@example.com", Cause: Manual, Stream: "a\nb"},
		"long":     {Address: "ann@example.com", Cause: Manual, Stream: strings.Repeat("x", 256)},
		"year":     {Address: "ann@example.com", Cause: Manual, Expires: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			l := newList(t, nil)
			require.Error(t, l.Add(t.Context(), Entry{Address: "bob@example.com", Cause: Manual}, e))
			require.False(t, suppressed(t, l, "bob@example.com", ""), "all or none")
		})
	}
}

func TestSourceIsOneLine(t *testing.T) {
	l := newList(t, nil)
	require.NoError(t, l.Add(t.Context(), Entry{Address: "ann@example.com", Cause: Manual, Source: "550 no\r\n550 user\xff\x00" + strings.Repeat("ü", 500)}))
	e, _, err := l.Find(t.Context(), "ann@example.com", "")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(e.Source, "550 no  550 user\uFFFD ü"), e.Source)
	require.LessOrEqual(t, len(e.Source), maxSource)
	require.True(t, isLine(e.Source))
}

// What one failure does under the default rules.
func TestObserveOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		class bounce.Class
		want  bool
	}{
		{"user unknown", sure(bounce.InvalidMailbox), true},
		{"disabled", sure(bounce.MailboxDisabled), true},
		{"no such domain", func() bounce.Class {
			c := sure(bounce.InvalidDomain)
			c.Scope = bounce.ScopeSite
			return c
		}(), true},
		{"classified", bounce.Classify(bounce.Reply{Stage: bounce.StageRcpt, Code: 550, Status: bounce.Status{5, 1, 1}, Text: "no such user here"}), true},
		{"zero", bounce.Class{}, false},
		{"user unknown for now", temporary(bounce.InvalidMailbox), false},
		{"unsure", func() bounce.Class {
			c := sure(bounce.InvalidMailbox)
			c.Confidence = 0.25
			return c
		}(), false},
		{"of unknown scope", func() bounce.Class {
			c := sure(bounce.InvalidMailbox)
			c.Scope = bounce.ScopeUnknown
			return c
		}(), false},
		{"mailbox of a whole site", func() bounce.Class {
			c := sure(bounce.InvalidMailbox)
			c.Scope = bounce.ScopeSite
			return c
		}(), false},
		{"full", sure(bounce.MailboxFull), false},
		{"ours", sure(bounce.Suppressed), false},
		{"unknown", sure(bounce.Unknown), false},
		{"bare 550", bounce.Classify(bounce.Reply{Stage: bounce.StageRcpt, Code: 550}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newList(t, nil)
			require.Equal(t, tt.want, observe(t, l, noon, tt.class))
			require.Equal(t, tt.want, suppressed(t, l, "ann@example.com", "receipts"), "for all streams")
		})
	}
}

// A block never counts against an address, whatever it says otherwise and
// however often it comes.
func TestBlocksNeverSuppress(t *testing.T) {
	l := newList(t, nil)
	for _, c := range bounce.Categories() {
		for _, scope := range []bounce.Scope{bounce.ScopeMessage, bounce.ScopeSource, bounce.ScopeSenderDomain} {
			class := sure(c)
			class.Scope = scope
			for i := range 20 {
				require.False(t, observe(t, l, noon.Add(time.Duration(i)*day), class), "%v %v", c, scope)
			}
		}
		if c.Outcome() == bounce.Block {
			for i := range 20 {
				require.False(t, observe(t, l, noon.Add(time.Duration(i)*day), sure(c)), c)
			}
		}
	}
}

func TestObserveRepeated(t *testing.T) {
	full, odd := temporary(bounce.MailboxFull), temporary(bounce.InvalidMailbox)
	for _, tt := range []struct {
		name  string
		class bounce.Class
		days  []float64 // when it fails
		want  int       // which of them suppresses, from 1; 0 = none
	}{
		{"five days", full, []float64{0, 1, 2, 3, 4}, 5},
		{"told in another order", full, []float64{4, 2, 0, 1, 3}, 5},
		{"many times a day", full, []float64{0, 0.1, 0.2, 0.3, 0.4, 1, 1.1, 2, 2.1, 3}, 0},
		{"within thirty days", full, []float64{0, 7, 14, 21, 28}, 5},
		{"not within thirty days", full, []float64{0, 8, 16, 24, 32, 40, 48}, 0},
		{"only the last thirty days count", full, []float64{0, 1, 40, 41, 42, 43, 44}, 7},
		{"in doubt", odd, []float64{0, 1, 2}, 3},
		{"in doubt, on one day", odd, []float64{0, 0.1, 0.2, 0.3}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newList(t, nil)
			for i, d := range tt.days {
				at := noon.Truncate(day).Add(time.Duration(d * float64(day)))
				require.Equal(t, i+1 == tt.want, observe(t, l, at, tt.class), "failure %d", i+1)
			}
			about, err := l.About(t.Context(), "ann@example.com")
			require.NoError(t, err)
			if tt.want == 0 {
				require.Empty(t, about)
				return
			}
			require.Len(t, about, 1)
			require.Equal(t, SoftBounces, about[0].Cause)
			require.Equal(t, tt.class.Category, about[0].Category)
			require.Equal(t, "generic/test", about[0].Source)
			require.False(t, about[0].Expires.IsZero())
		})
	}
}

func TestDeliveredResets(t *testing.T) {
	l := newList(t, nil)
	full := temporary(bounce.MailboxFull)
	for i := range 4 {
		require.False(t, observe(t, l, noon.Add(time.Duration(i)*day), full))
	}
	require.NoError(t, l.Delivered(t.Context(), Event{Recipient: "ann@EXAMPLE.com", Time: noon.Add(3*day + time.Hour)}))
	for i := 4; i < 8; i++ {
		require.False(t, observe(t, l, noon.Add(time.Duration(i)*day), full))
	}
	// A delivery of long ago, told late, resets nothing newer.
	require.NoError(t, l.Delivered(t.Context(), Event{Recipient: "ann@example.com", Time: noon}))
	require.True(t, observe(t, l, noon.Add(8*day), full))
	// Nor does it take anybody off the list.
	require.NoError(t, l.Delivered(t.Context(), Event{Recipient: "ann@example.com"}))
	e, found, err := l.Find(t.Context(), "ann@example.com", "")
	require.NoError(t, err)
	require.Equal(t, e.Expires.After(time.Now()), found)
	require.Error(t, l.Delivered(t.Context(), Event{Recipient: "ann"}))
	once := DefaultRules()
	once.Bounces = nil
	once.Doubtful = Rule{}
	require.NoError(t, newList(t, &once).Delivered(t.Context(), Event{Recipient: "ann"}), "nothing to look up")
}

func TestComplaint(t *testing.T) {
	l := newList(t, nil)
	yes, err := l.Complaint(t.Context(), Event{Recipient: "ann@example.com", Stream: "news", Source: "arf"})
	require.NoError(t, err)
	require.True(t, yes)
	require.True(t, suppressed(t, l, "ann@example.com", "receipts"))

	twice := DefaultRules()
	twice.AllStreams = false
	twice.Complaint = Rule{After: 2, Within: day}
	l = newList(t, &twice)
	complain := func(stream string, at time.Time, want bool) {
		t.Helper()
		yes, err := l.Complaint(t.Context(), Event{Recipient: "ann@example.com", Stream: stream, Time: at})
		require.NoError(t, err)
		require.Equal(t, want, yes)
	}
	complain("news", noon, false)
	complain("offers", noon, false)
	require.NoError(t, l.Delivered(t.Context(), Event{Recipient: "ann@example.com", Time: noon.Add(time.Minute)}))
	complain("news", noon.Add(time.Hour), true)
	require.True(t, suppressed(t, l, "ann@example.com", "news"))
	require.False(t, suppressed(t, l, "ann@example.com", "offers"))

	none := DefaultRules()
	none.Complaint = Rule{}
	l = newList(t, &none)
	complain("news", noon, false)
}

func TestUnsubscribe(t *testing.T) {
	l := newList(t, &Rules{})
	require.NoError(t, l.Unsubscribe(t.Context(), Event{Recipient: "ann@example.com", Stream: "news"}))
	require.NoError(t, l.Unsubscribe(t.Context(), Event{Recipient: "bob@example.com"}))
	require.True(t, suppressed(t, l, "ann@example.com", "news"))
	require.False(t, suppressed(t, l, "ann@example.com", "receipts"))
	require.True(t, suppressed(t, l, "bob@example.com", "receipts"))
	require.Error(t, l.Unsubscribe(t.Context(), Event{Recipient: "bob"}))
}

func TestValidate(t *testing.T) {
	require.NoError(t, DefaultRules().Validate())
	require.NoError(t, Rules{}.Validate())
	bad := Rules{
		Bounces: map[bounce.Category]Rule{
			bounce.ReputationBlock: {After: 1},
			bounce.Suppressed:      {After: 1},
			bounce.MailboxFull:     {After: 3},
			bounce.InvalidMailbox:  {After: -1},
			bounce.InvalidDomain:   {After: 1, For: -1},
			bounce.MailboxDisabled: {After: 5, Within: day, Apart: day},
			200:                    {After: 1},
		},
		Doubtful:      Rule{After: 1001, Within: day},
		Complaint:     Rule{After: 2},
		MinConfidence: 1.5,
	}
	err := bad.Validate()
	require.Error(t, err)
	for _, want := range []string{"Bounces[reputation-block]", "Bounces[suppressed]", "Bounces[mailbox-full]", "Bounces[invalid-mailbox]",
		"Bounces[invalid-domain]", "Bounces[mailbox-disabled]", "Bounces[category(200)]", "Doubtful", "Complaint", "MinConfidence"} {
		require.ErrorContains(t, err, want)
	}
	_, err = New(NewMemory(), &bad)
	require.Error(t, err)
	_, err = New(nil, nil)
	require.Error(t, err)

	good := DefaultRules()
	l := newList(t, &good)
	clear(good.Bounces) // the caller's own
	require.True(t, observe(t, l, noon, sure(bounce.InvalidMailbox)))
}

func TestCauseNames(t *testing.T) {
	for c := SoftBounces; c <= Complained; c++ {
		text, err := c.MarshalText()
		require.NoError(t, err)
		require.Equal(t, c.String(), string(text))
		var back Cause
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, c, back)
		word, ok := parseCause(c.String())
		require.True(t, ok)
		require.Equal(t, c, word)
	}
	for _, c := range []Cause{0, Complained + 1} {
		_, err := c.MarshalText()
		require.Error(t, err)
	}
	var c Cause
	require.Error(t, c.UnmarshalText(nil))
	require.Error(t, c.UnmarshalText([]byte("Manual")))
}

// broken is a Store that fails.
type broken struct{ *Memory }

var errBroken = errors.New("the disk is full")

func (broken) Find(context.Context, string) ([]Entry, error)        { return nil, errBroken }
func (broken) Put(context.Context, []Entry) error                   { return errBroken }
func (broken) Hit(context.Context, Hit, time.Duration) (int, error) { return 0, errBroken }
func (broken) Forget(context.Context, string, time.Time) error      { return errBroken }
func (broken) Delete(context.Context, string, string, Cause) error  { return errBroken }
func (broken) Prune(context.Context, time.Time) error               { return errBroken }

func TestStoreFails(t *testing.T) {
	l, err := New(broken{NewMemory()}, nil)
	require.NoError(t, err)
	ctx, ann := t.Context(), Event{Recipient: "ann@example.com"}
	_, yes, err := l.Suppressed(ctx, "ann@example.com", "")
	require.ErrorIs(t, err, errBroken)
	require.False(t, yes)
	for _, c := range []bounce.Class{sure(bounce.InvalidMailbox), temporary(bounce.MailboxFull)} {
		_, err = l.Observe(ctx, ann, c)
		require.ErrorIs(t, err, errBroken)
	}
	_, err = l.Complaint(ctx, ann)
	require.ErrorIs(t, err, errBroken)
	require.ErrorIs(t, l.Unsubscribe(ctx, ann), errBroken)
	require.ErrorIs(t, l.Delivered(ctx, ann), errBroken)
	require.ErrorIs(t, l.Remove(ctx, "ann@example.com", "", Manual), errBroken)
	require.ErrorIs(t, l.Prune(ctx), errBroken)
	done, err := l.Import(ctx, strings.NewReader("email\nann@example.com\n"), ReadOptions{})
	require.ErrorIs(t, err, errBroken)
	require.Zero(t, done.Added)
}
