package spool

import (
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
)

// honest is what processes would report that were never killed.
func honest(t *testing.T) (l *killLedger, accepted map[string]int) {
	l, accepted = newKillLedger(), map[string]int{}
	l.begin()
	l.note("submitted 300")
	for to := range maps.Clone(l.waiting) {
		kind, _, _ := killParse(to)
		l.note("result " + fate(t, to, map[string]sender.Outcome{"bad": sender.Rejected, "dotbad": sender.Rejected,
			"malformed": sender.Rejected, "never": sender.Deferred}[kind]))
		if l.results[to].Outcome == sender.Sent {
			accepted[to] = 1
		}
	}
	return l, accepted
}

func fate(t *testing.T, to string, o sender.Outcome) string {
	_, i, _ := killParse(to)
	r := sender.Result{Message: killMessage(i, 0), Recipient: to, Outcome: o}
	if o != sender.Sent {
		r.Err = &sender.Error{Recipient: to, Err: errors.New("why")}
	}
	text, err := json.Marshal(r)
	require.NoError(t, err)
	return string(text)
}

// TestKillCheck: the checks of the other tests find what they are for.
func TestKillCheck(t *testing.T) {
	l, accepted := honest(t)
	require.Empty(t, l.check(accepted, nil))
	find := func(kind, domain string, sure bool) string {
		for to := range l.results {
			if k, i, d := killParse(to); k == kind && d == domain && killSure(i) == sure {
				return to
			}
		}
		t.Fatal("there is none")
		return ""
	}
	news, sure, cut := find("ok", "a.example", false), find("ok", "a.example", true), find("ok", killCutDomain, false)
	sureCut := find("ok", killCutDomain, true)
	bad := find("bad", "a.example", false)
	unknown := func(l *killLedger, to string) {
		delete(l.results, to)
		l.note("result " + fate(t, to, sender.Unknown))
	}
	canceled := func(l *killLedger, to string) {
		l.canceled[l.results[to].Message.Campaign] = true
		delete(l.results, to)
		l.note("result " + fate(t, to, sender.Canceled))
	}
	for name, tc := range map[string]struct {
		change func(l *killLedger, accepted, unsaid map[string]int)
		want   string // "" = no fault
	}{
		"lost":                    {func(l *killLedger, _, _ map[string]int) { delete(l.results, news) }, "it is lost"},
		"not sent":                {func(_ *killLedger, a, _ map[string]int) { delete(a, news) }, "is not sent"},
		"sent twice":              {func(_ *killLedger, a, _ map[string]int) { a[news] = 2 }, "was sent twice"},
		"needlessly sent twice":   {func(_ *killLedger, a, _ map[string]int) { a[sure] = 2 }, "without need"},
		"sent twice as wanted":    {func(l *killLedger, a, _ map[string]int) { a[sure], l.lost[sure] = 2, 1 }, ""},
		"sent, and not said":      {func(_ *killLedger, a, _ map[string]int) { a[bad] = 1 }, "it is said that it was not"},
		"unknown":                 {func(l *killLedger, _, _ map[string]int) { unknown(l, news); l.lost[news] = 1 }, ""},
		"unknown, sent twice":     {func(l *killLedger, a, _ map[string]int) { unknown(l, news); l.lost[news], a[news] = 1, 2 }, "was sent twice"},
		"unknown without a mark":  {func(l *killLedger, _, _ map[string]int) { unknown(l, news) }, "is not unknown"},
		"unknown, connection cut": {func(l *killLedger, _, _ map[string]int) { unknown(l, cut) }, ""},
		"unknown, sure":           {func(l *killLedger, _, _ map[string]int) { unknown(l, sure); l.lost[sure] = 1 }, "should have been tried again"},
		"marked, not unknown":     {func(l *killLedger, _, _ map[string]int) { l.lost[news] = 1 }, "should be unknown"},
		"unsaid, not unknown":     {func(_ *killLedger, _, u map[string]int) { u[cut] = 1 }, "should be unknown"},
		"not canceled": {func(l *killLedger, a, _ map[string]int) {
			delete(l.results, news)
			delete(a, news)
			l.note("result " + fate(t, news, sender.Canceled))
		}, "was not canceled"},
		"canceled, and sent":                 {func(l *killLedger, _, _ map[string]int) { canceled(l, sure) }, "it is said that it was not"},
		"canceled, fate unknown":             {func(l *killLedger, _, _ map[string]int) { canceled(l, sure); l.lost[sure] = 1 }, ""},
		"canceled, connection cut":           {func(l *killLedger, _, _ map[string]int) { canceled(l, sureCut) }, ""},
		"canceled, connection cut, not sure": {func(l *killLedger, _, _ map[string]int) { canceled(l, cut) }, "it is said that it was not"},
		"another fate":                       {func(l *killLedger, _, _ map[string]int) { l.note("result " + fate(t, news, sender.Unknown)) }, "two fates"},
		"again":                              {func(l *killLedger, _, _ map[string]int) { l.note("result " + fate(t, news, sender.Sent)) }, ""},
		"strange":                            {func(_ *killLedger, a, _ map[string]int) { a["ok-300-0@a.example"] = 1 }, "sent and not submitted"},
		"marks without end": {func(l *killLedger, _, _ map[string]int) {
			for i := range 2*killConns + 1 {
				l.note("lost ok-" + strconv.Itoa(i) + "-0@a.example")
			}
			l.note("opened")
		}, "transactions were marked"},
	} {
		t.Run(name, func(t *testing.T) {
			l, accepted := honest(t)
			unsaid := map[string]int{}
			tc.change(l, accepted, unsaid)
			faults := l.check(accepted, unsaid)
			if tc.want == "" {
				require.Empty(t, faults)
				return
			}
			require.NotEmpty(t, faults)
			require.Contains(t, faults[0], tc.want)
		})
	}
}
