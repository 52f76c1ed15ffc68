package throttle

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

func react(t *testing.T, list ...Trigger) *reactor {
	t.Helper()
	set, err := NewTriggers(list)
	require.NoError(t, err)
	return React(MustNew(Limits{Rates: []Rate{{20, time.Second}}, Conns: 10}), set).(*reactor)
}

func slow(text string) Feedback {
	return Feedback{Event: SlowDown, Code: 421, Category: "rate-limited", Scope: "source", Text: text, Conns: 3, Stream: "news"}
}

func TestTriggerMatches(t *testing.T) {
	f := Feedback{Event: SlowDown, Code: 421, Category: "rate-limited", Scope: "source", Rule: "google/rate",
		Text: "421 4.7.28 Our system has detected an unusual rate"}
	tests := []struct {
		name string
		t    Trigger
		want bool
	}{
		{"everything", Trigger{}, true},
		{"event", Trigger{On: []Event{Blocked, SlowDown}}, true},
		{"other event", Trigger{On: []Event{Blocked}}, false},
		{"category", Trigger{Categories: []string{"spam-content", "rate-limited"}}, true},
		{"other category", Trigger{Categories: []string{"spam-content"}}, false},
		{"rule", Trigger{Rules: []string{"google/rate"}}, true},
		{"other rule", Trigger{Rules: []string{"google"}}, false},
		{"scope", Trigger{Scopes: []string{"source"}}, true},
		{"other scope", Trigger{Scopes: []string{"site"}}, false},
		{"code", Trigger{Codes: []string{"450", "421"}}, true},
		{"class of codes", Trigger{Codes: []string{"42x"}}, true},
		{"other code", Trigger{Codes: []string{"5xx"}}, false},
		{"status", Trigger{Codes: []string{"4.7.28"}}, true},
		{"class of status", Trigger{Codes: []string{"x.7.x"}}, true},
		{"other status", Trigger{Codes: []string{"4.7.2"}}, false},
		{"text", Trigger{Text: `(?i)Unusual Rate`}, true},
		{"other text", Trigger{Text: `Unusual`}, false},
		{"all must hold", Trigger{Codes: []string{"421"}, Text: `TS03`}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.t.ID, test.t.Action, test.t.For = "x", Suspend, time.Hour
			set, err := NewTriggers([]Trigger{test.t})
			require.NoError(t, err)
			require.Equal(t, test.want, len(set.Matching(f)) == 1)
		})
	}
	set, err := NewTriggers([]Trigger{{ID: "x", Action: Suspend, For: 1, Codes: []string{"x.7.x"}}})
	require.NoError(t, err)
	for _, text := range []string{"", "421", "421 ", "421 4", "421 4.7", "421 4.7.", "421 4.7.1.2", "421-4.8.1 x"} {
		require.Empty(t, set.Matching(Feedback{Event: SlowDown, Code: 421, Text: text}), text)
	}
	require.Len(t, set.Matching(Feedback{Event: SlowDown, Code: 421, Text: "421-4.7.1 x"}), 1)
	for _, e := range []Event{Opening, Delivered, ConnFailed} {
		require.Empty(t, set.Matching(Feedback{Event: e, Code: 421, Text: "421 4.7.1 x"}))
	}
}

func TestTriggerMistakes(t *testing.T) {
	good := Trigger{ID: "x", Action: Suspend, For: time.Hour}
	tests := map[string]func(t *Trigger){
		"ID":       func(t *Trigger) { t.ID = "" },
		"On":       func(t *Trigger) { t.On = []Event{Delivered} },
		"Codes":    func(t *Trigger) { t.Codes = []string{"42"} },
		"Text":     func(t *Trigger) { t.Text = "(" },
		"Count":    func(t *Trigger) { t.Count = -1 },
		"Within":   func(t *Trigger) { t.Count = 2 },
		"Action":   func(t *Trigger) { t.Action = 0 },
		"For":      func(t *Trigger) { t.For = 0 },
		"Rate":     func(t *Trigger) { t.Action, t.Rate = Limit, Rate{N: -1, Per: 1} },
		"Conns":    func(t *Trigger) { t.Action, t.Conns = Limit, -1 },
		"Messages": func(t *Trigger) { t.Action, t.Messages = Limit, -1 },
	}
	require.NoError(t, good.Validate())
	for field, spoil := range tests {
		t.Run(field, func(t *testing.T) {
			bad := good
			spoil(&bad)
			list := unjoin(bad.Validate())
			require.Len(t, list, 1, "%v", list)
			require.Equal(t, field, list[0].Field)
		})
	}
	for _, bad := range []Trigger{
		{ID: "x", Action: Limit, For: 1},
		{ID: "x", Action: Suspend, For: 1, Conns: 1},
		{ID: "x", Action: Recover, For: time.Minute},
		{ID: "x", Action: Suspend, For: 8 * day},
		{ID: "x", Action: Suspend, For: 1, Within: time.Hour},
	} {
		require.Len(t, unjoin(bad.Validate()), 1, "%+v", bad)
	}
	_, err := NewTriggers([]Trigger{good, good, {Action: Hold, For: 1}})
	require.EqualError(t, err, "throttle: Triggers[1].ID \"x\": another trigger has it\nthrottle: Triggers[2].ID \"\": must be given")
}

func TestTriggerInTOML(t *testing.T) {
	var file struct {
		Trigger []Trigger `toml:"trigger"`
	}
	meta, err := toml.Decode(`
[[trigger]]
id = "google/unusual-rate"
on = ["slow-down"]
categories = ["rate-limited"]
codes = ["421", "4.7.28"]
text = "(?i)unusual rate"
count = 2
within = "1h"
action = "limit"
for = "30m"
rate = "10/min"
conns = 1
messages = 20
source = "a page"
samples = ["421 4.7.28 Unusual rate"]
`, &file)
	require.NoError(t, err)
	require.Empty(t, meta.Undecoded())
	require.Equal(t, Trigger{ID: "google/unusual-rate", On: []Event{SlowDown}, Categories: []string{"rate-limited"},
		Codes: []string{"421", "4.7.28"}, Text: "(?i)unusual rate", Count: 2, Within: time.Hour, Action: Limit,
		For: 30 * time.Minute, Rate: Rate{10, time.Minute}, Conns: 1, Messages: 20, Source: "a page",
		Samples: []string{"421 4.7.28 Unusual rate"}}, file.Trigger[0])
	require.NoError(t, file.Trigger[0].Validate())
}

func TestNamesInText(t *testing.T) {
	for a := Suspend; a <= Hold; a++ {
		text, err := a.MarshalText()
		require.NoError(t, err)
		var back Action
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, a, back)
	}
	for e := Opening; e <= Refused; e++ {
		text, err := e.MarshalText()
		require.NoError(t, err)
		var back Event
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, e, back)
	}
	_, err := Action(0).MarshalText()
	require.Error(t, err)
	_, err = Event(99).MarshalText()
	require.Error(t, err)
	require.Error(t, new(Action).UnmarshalText(nil))
	require.Error(t, new(Event).UnmarshalText([]byte("slow down")))
	require.Equal(t, "unknown event, unknown action", fmt.Sprint(Event(99), ", ", Action(9)))
}

func TestSuspend(t *testing.T) {
	r := react(t, Trigger{ID: "stop", Action: Suspend, For: time.Hour})
	r.Observe(noon, slow("421 later"))
	end := noon.Add(time.Hour)
	require.Equal(t, end, r.Next(noon))
	require.Equal(t, Conns{Next: end, Messages: 50, Idle: defaultIdle}, r.Conns(noon))
	require.Equal(t, "suspended", r.Binding(noon))
	require.Equal(t, Detail{"suspended", "stop", end, "421 later"}, r.Detail(noon))
	require.Equal(t, end, r.Settled(noon))

	r.Observe(noon.Add(time.Minute), slow("421 of the same burst"))
	require.Equal(t, end, r.Next(noon), "does not grow")
	require.Equal(t, end, r.Next(end))
	require.Equal(t, 10, r.Conns(end).Max)
	require.Empty(t, r.Binding(end))

	r.Observe(end, Feedback{Event: SlowDown, Wait: 2 * time.Hour})
	require.Equal(t, end.Add(2*time.Hour), r.Next(end), "the reply asks for more")
}

func TestSeveralWithinAPeriod(t *testing.T) {
	r := react(t, Trigger{ID: "x", Count: 3, Within: time.Hour, Action: Suspend, For: time.Minute})
	at := func(m int) time.Time { return noon.Add(time.Duration(m) * time.Minute) }
	for _, m := range []int{0, 30, 61, 95} { // never three within an hour
		r.Observe(at(m), slow("421 no"))
		require.Equal(t, at(m), r.Next(at(m)), "%d", m)
	}
	r.Observe(at(100), slow("421 no"))
	require.Equal(t, at(101), r.Next(at(100)))
	r.Observe(at(102), slow("421 no"))
	require.Equal(t, at(102), r.Next(at(102)), "counts from nothing again")
}

func TestLimit(t *testing.T) {
	r := react(t, Trigger{ID: "x", Action: Limit, For: 10 * time.Minute, Rate: Rate{1, time.Minute}, Conns: 1, Messages: 5})
	r.Observe(noon, slow("421 no"))
	require.Equal(t, noon.Add(time.Minute), r.Next(noon), "what was refused counts")
	require.Equal(t, Conns{Max: 1, Messages: 5, Idle: defaultIdle}, r.Conns(noon))
	require.Equal(t, Detail{"1/min", "x", noon.Add(10 * time.Minute), "421 no"}, r.Detail(noon))
	now := noon.Add(time.Minute)
	r.Take(now)
	require.Equal(t, now.Add(time.Minute), r.Next(now))
	r.Observe(now, slow("421 again"))
	require.Equal(t, now.Add(time.Minute), r.Next(now), "goes on, and longer")
	end := now.Add(10 * time.Minute)
	require.Equal(t, end, r.Detail(now).Until)
	r.Take(end.Add(-time.Second))
	require.Equal(t, end, r.Next(end.Add(-time.Second)), "the end of the limit comes first")
	require.Equal(t, 10, r.Conns(end).Max)

	r = react(t, Trigger{ID: "x", Action: Limit, For: time.Hour, Conns: 1})
	r.Observe(noon, slow("421 no"))
	require.Equal(t, "1 connection", r.Detail(noon).Limit)
	require.Empty(t, r.Binding(noon))
}

// Google's recipe for 4.7.28.
func TestRecover(t *testing.T) {
	r := react(t, Trigger{ID: "x", Action: Recover, For: 10 * time.Minute})
	r.Observe(noon, slow("421 4.7.28 no"))
	now := noon.Add(10 * time.Minute)
	require.Equal(t, now, r.Next(noon), "stop")
	require.Equal(t, now, r.Conns(noon).Next)
	require.Zero(t, r.Conns(noon).Max)
	require.Equal(t, 1, r.Conns(now).Max, "then one connection")
	require.Equal(t, "1 connection", r.Detail(now).Limit)

	r.Observe(now, slow("421 4.7.28 no"))
	require.Equal(t, now.Add(10*time.Minute), r.Next(now), "it fails: again")
	now = now.Add(10 * time.Minute)

	for conns := 2; conns < 10; conns++ {
		for range 5 { // a success, and as many more as come within the minute
			r.Observe(now, Feedback{Event: Delivered, Conns: conns - 1})
		}
		require.Equal(t, conns, r.Conns(now).Max, "one more")
		now = now.Add(time.Minute)
	}
	r.Observe(now, Feedback{Event: Delivered, Conns: 9})
	require.Equal(t, 10, r.Conns(now).Max)
	require.Zero(t, r.Detail(now))
	require.NotPanics(t, func() { r.Observe(now, Feedback{Event: Delivered, Conns: 10}) })
	require.Empty(t, r.effects, "it is over")
}

func TestOneFailureStopsARecoveryAgain(t *testing.T) {
	r := react(t, Trigger{ID: "x", Count: 2, Within: time.Hour, Action: Recover, For: 10 * time.Minute})
	r.Observe(noon, slow("421 no"))
	require.Equal(t, noon, r.Next(noon))
	r.Observe(noon, slow("421 no"))
	now := r.Next(noon)
	require.Equal(t, noon.Add(10*time.Minute), now)
	r.Observe(now, slow("421 no"))
	require.Equal(t, now.Add(10*time.Minute), r.Next(now), "not two, as at first")
}

// All passes on what its controllers have to say.
func TestAllPassesOn(t *testing.T) {
	r := react(t,
		Trigger{ID: "hold", Text: "hold", Action: Hold, For: time.Hour},
		Trigger{ID: "one", Text: "one", Action: Limit, For: time.Hour, Conns: 1},
		Trigger{ID: "stop", Text: "stop", Action: Suspend, For: time.Hour})
	plain := MustNew(Limits{Rates: []Rate{{1, time.Minute}}})
	c := All(plain, r).(all)
	require.False(t, c.Adapts())
	require.True(t, All(plain, Adaptive(plain, AdaptOptions{})).(Adapter).Adapts())
	require.Zero(t, c.Detail(noon))
	require.Nil(t, c.Advice(noon))

	c.Observe(noon, slow("421 hold"))
	require.Equal(t, r.Advice(noon), c.Advice(noon))
	require.Len(t, c.Advice(noon), 1)
	c.Observe(noon, slow("421 one"))
	require.Equal(t, "one", c.Detail(noon).Rule)
	c.Take(noon)
	require.Equal(t, Detail{Limit: "1/min"}, c.Detail(noon), "plain limits have no more to say")
	c.Observe(noon, slow("421 stop"))
	require.Equal(t, "stop", c.Detail(noon).Rule)
}

func TestLongRepliesAreShortened(t *testing.T) {
	require.Equal(t, "short", shorten("short"))
	long := strings.Repeat("ä", maxReply)
	require.Equal(t, strings.Repeat("ä", maxReply/2)+"...", shorten(long))
	require.True(t, utf8.ValidString(shorten("x"+long)))
}

func TestHold(t *testing.T) {
	r := react(t, Trigger{ID: "x", On: []Event{Blocked}, Action: Hold, For: time.Hour})
	require.Nil(t, r.Advice(noon))
	r.Observe(noon, Feedback{Event: Blocked, Stream: "news", Text: "550 domain blocked"})
	r.Observe(noon, Feedback{Event: Blocked, Text: "550 domain blocked"})
	end := noon.Add(time.Hour)
	require.Equal(t, []Advice{
		{Hold: "news", Until: end, Why: "550 domain blocked", Rule: "x"},
		{Hold: "*", Until: end, Why: "550 domain blocked", Rule: "x"},
	}, r.Advice(noon))
	require.Equal(t, noon, r.Next(noon), "the destination goes on")
	require.Equal(t, 10, r.Conns(noon).Max)
	require.Nil(t, r.Advice(end))
}

// New triggers act from now on; what the old ones have set goes on.
func TestAdoptTriggers(t *testing.T) {
	r := react(t, Trigger{ID: "old", Action: Suspend, For: time.Hour})
	r.Observe(noon, slow("421 no"))
	set, err := NewTriggers([]Trigger{{ID: "new", Action: Limit, For: 2 * time.Hour, Conns: 2}})
	require.NoError(t, err)
	r.adopt(set)
	require.Equal(t, "old", r.Detail(noon).Rule)
	r.Observe(noon.Add(time.Minute), slow("421 no"))
	later := noon.Add(time.Hour)
	require.Equal(t, 2, r.Conns(later).Max)
	r.adopt(nil)
	r.Observe(later, slow("421 no"))
	require.Equal(t, noon.Add(2*time.Hour+time.Minute), r.Detail(later).Until)
}

func FuzzTrigger(f *testing.F) {
	f.Add("4.7.28", "(?i)rate", "421 4.7.28 Unusual rate", 421)
	f.Add("4xx", "", "450-4.7.1 x\n450 y", 450)
	f.Add("x.x.x", "", "550 5", 550)
	f.Fuzz(func(t *testing.T, code, pattern, text string, number int) {
		set, err := NewTriggers([]Trigger{{ID: "x", Codes: []string{code}, Text: pattern, Action: Suspend, For: time.Hour}})
		if err != nil {
			return
		}
		fb := Feedback{Event: SlowDown, Code: number, Text: text}
		matches := len(set.Matching(fb)) == 1
		c := React(MustNew(Limits{}), set)
		c.Observe(noon, fb)
		require.Equal(t, matches, c.Next(noon).After(noon))
		require.LessOrEqual(t, len(c.(Detailer).Detail(noon).Reply), maxReply+3)
	})
}
