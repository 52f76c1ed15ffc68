package queuetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/volleymail/volley/sender"
)

var adminTests = slices.Concat([]test{
	{"list/selection", listSelection},
	{"list/paged", listPaged},
	{"list/fields", listFields},
	{"reschedule", reschedule},
	{"reschedule/selection", rescheduleSelection},
	{"cancel/onItsWay", cancelOnItsWay},
	{"cancel/result", cancelResult},
	{"cancel/unheardOf", cancelUnheardOf},
	{"endedContext", endedContext},
},
	both("cancel", cancel),
	both("cancel/inFlight", cancelInFlight),
	both("uses", uses),
	both("save", save),
)

// varied submits twelve messages with one recipient each, that differ in what a
// Selection looks at, and gives half of them a last attempt at a site.
func (k *kit) varied() {
	k.Helper()
	var msgs []*sender.Submission
	for i := range 12 {
		m := k.mail(fmt.Sprintf("m%d", i), fmt.Sprintf("U%d@D%d.example", i, i%3))
		m.Stream = []string{"", "news"}[i/6]
		m.Campaign = []string{"spring", "summer", "", "autumn"}[i%4]
		msgs = append(msgs, m)
	}
	k.submit(msgs...)
	for _, stream := range []string{"", "news"} {
		taken, _ := k.takeNext(stream, 100, plenty)
		for _, o := range each(taken) {
			c := sender.Change{Kind: sender.Later, ID: o.ID, Due: k.now}
			var i int
			fmt.Sscanf(o.addr, "U%d@", &i)
			if i%2 == 0 {
				c = later(o, k.now)
				c.Last.Site = fmt.Sprintf("site%d", i%3)
			}
			k.write(c)
		}
	}
}

// selections are Selections of what varied submits, and the numbers of the
// messages that they pick.
var selections = []struct {
	match sender.Selection
	want  []int
}{
	{sender.Selection{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
	{sender.Selection{Sites: []string{"site0"}}, []int{0, 6}},
	{sender.Selection{Sites: []string{"site0", "site2", "elsewhere"}}, []int{0, 2, 6, 8}},
	{sender.Selection{Domains: []string{"d1.example"}}, []int{1, 4, 7, 10}},
	{sender.Selection{Domains: []string{"d1.example", "d2.example"}}, []int{1, 2, 4, 5, 7, 8, 10, 11}},
	{sender.Selection{Streams: []string{"news"}}, []int{6, 7, 8, 9, 10, 11}},
	{sender.Selection{Streams: []string{""}}, []int{0, 1, 2, 3, 4, 5}},
	{sender.Selection{Campaigns: []string{"summer", "autumn"}}, []int{1, 3, 5, 7, 9, 11}},
	{sender.Selection{Campaigns: []string{""}}, []int{2, 6, 10}},
	{sender.Selection{Messages: []string{"m3", "m11", "m99"}}, []int{3, 11}},
	{sender.Selection{Recipients: []string{"U4@D1.example", "U5@D2.example"}}, []int{4, 5}},
	{sender.Selection{Streams: []string{"news"}, Campaigns: []string{"spring"}}, []int{8}},
	{sender.Selection{Sites: []string{"site2", "site1"}, Domains: []string{"d1.example"}, Streams: []string{""}}, []int{4}},
	{sender.Selection{Sites: []string{"site0"}, Domains: []string{"d1.example"}}, nil},
	{sender.Selection{Recipients: []string{"nobody@x.example"}}, nil},
	{sender.Selection{Messages: []string{"' OR 1=1 --", "%", "m_"}}, nil},
	{sender.Selection{Sites: []string{"site1"}, Domains: []string{"d1.example"}, Streams: []string{""}, Campaigns: []string{"spring"},
		Messages: []string{"m4"}, Recipients: []string{"U4@D1.example"}}, []int{4}},
}

func listSelection(k *kit) {
	k.varied()
	k.take(3) // what is handed out is listed too
	for _, s := range selections {
		var want []string
		for _, i := range s.want {
			want = append(want, fmt.Sprintf("U%d@D%d.example", i, i%3))
		}
		k.equal(sorted(want), k.listed(s.match), "%+v", s.match)
	}
}

func listPaged(k *kit) {
	k.letters(10, "a", "x.example", nil)
	k.letters(10, "b", "y.example", nil)
	k.now = k.now.Add(time.Hour)
	got, after := []string{}, int64(0)
	for {
		page, err := k.q.List(k.ctx, sender.Selection{Domains: []string{"x.example"}}, after, 3)
		k.ok(err)
		k.check(len(page) <= 3, "%d listed with max 3", len(page))
		if len(page) == 0 {
			break
		}
		for _, q := range page {
			k.check(q.ID > after, "ID %d comes after %d", q.ID, after)
			after = q.ID
			got = append(got, q.Recipient)
		}
		if len(got) == 3 { // the one that the list goes on from ends meanwhile
			for _, o := range each(k.take(100)) {
				if o.ID == after {
					k.end(o)
				}
			}
		}
	}
	k.equal(k.listed(sender.Selection{Domains: []string{"x.example"}}), sorted(slices.DeleteFunc(got, func(s string) bool { return s == "a2@x.example" })), "listed by 3")
}

func listFields(k *kit) {
	m := k.mail("1", "Ann@X.example")
	m.Campaign, m.Due = "spring", k.now.Add(time.Hour)
	k.submit(m)
	q := k.list(sender.Selection{})[0]
	k.equal(sender.Queued{ID: q.ID, Line: sender.Line{Domain: "x.example", Campaign: "spring"}, MessageID: "1", Recipient: "Ann@X.example"},
		sender.Queued{ID: q.ID, Line: q.Line, MessageID: q.MessageID, Recipient: q.Recipient, Attempts: q.Attempts, Last: q.Last}, "Queued")
	k.sameTime(k.now, q.Submitted, "Submitted")
	k.sameTime(m.Due, q.Due, "Due")
	k.now = m.Due
	o := k.takeAll("Ann@X.example")[0]
	k.equal(q.ID, o.ID, "ID")
	k.check(!k.list(sender.Selection{})[0].Due.After(k.now), "Due of what is on its way is not past")
	k.write(later(o, k.now.Add(time.Hour)))
	q = k.list(sender.Selection{})[0]
	k.equal(1, q.Attempts, "Attempts")
	k.sameTime(k.now.Add(time.Hour), q.Due, "Due")
	k.sameAttempt(attempt(k.now.Add(time.Hour)), q.Last, "Last")
}

func (k *kit) reschedule(match sender.Selection, due time.Time) int {
	k.Helper()
	n, err := k.q.Reschedule(k.ctx, match, due)
	k.ok(err)
	return n
}

func reschedule(k *kit) {
	k.letters(5, "a", "x.example", func(m *sender.Submission) { m.Due = m.Due.Add(time.Hour) })
	k.submit(k.mail("out", "out@x.example"), k.mail("ended", "ended@x.example"))
	for _, o := range k.takeAll("out@x.example", "ended@x.example") {
		if o.addr == "ended@x.example" {
			k.end(o)
		}
	}
	k.equal(0, k.reschedule(sender.Selection{Messages: []string{"nothing"}}, k.now), "rescheduled of nothing")
	k.equal(2, k.reschedule(sender.Selection{Messages: []string{"a3", "a1"}}, k.now), "rescheduled")
	k.takeAll("a1@x.example", "a3@x.example")
	k.equal(3, k.reschedule(sender.Selection{}, k.now.Add(100*time.Hour)), "rescheduled of all")
	k.now = k.now.Add(99 * time.Hour)
	_, next := k.takeNext("", 100, plenty)
	k.sameTime(base.Add(100*time.Hour), next, "next")
	k.reopen(true) // those that were handed out keep their due time
	k.takeAll("out@x.example", "a1@x.example", "a3@x.example")
	k.now = k.now.Add(time.Hour)
	k.takeAll("a0@x.example", "a2@x.example", "a4@x.example")
}

func rescheduleSelection(k *kit) {
	k.varied()
	for i, s := range selections {
		due := k.now.Add(time.Duration(i+1) * time.Hour)
		k.equal(len(s.want), k.reschedule(s.match, due), "rescheduled of %+v", s.match)
		n := 0
		for _, q := range k.list(sender.Selection{}) {
			if q.Due.Equal(due) {
				n++
			}
		}
		k.equal(len(s.want), n, "due then of %+v", s.match)
	}
}

// cancelAll calls Cancel in slices of max, as often as it says that there is
// more, and returns how many it ended.
func (k *kit) cancelAll(campaign string, max int) (total int) {
	k.Helper()
	for range 1000 {
		n, more, err := k.q.Cancel(k.ctx, campaign, k.now, max)
		k.ok(err)
		total += n
		if !more {
			return total
		}
		k.check(n > 0, "Cancel ended none, and says that there is more")
	}
	k.Fatal("Cancel says without end that there is more")
	return 0
}

func cancel(k *kit, crash bool) {
	spring := func(m *sender.Submission) { m.Campaign = "spring" }
	k.letters(10, "a", "x.example", spring)
	k.letters(5, "b", "y.example", func(m *sender.Submission) { m.Campaign, m.Stream = "spring", "news" })
	k.letters(3, "c", "x.example", func(m *sender.Submission) { m.Campaign = "summer" })
	k.letters(3, "d", "x.example", nil)
	ended := k.cancelAll("spring", 4)
	k.equal(15, ended, "canceled")
	k.equal(0, k.cancelAll("spring", 4), "canceled again")
	for range 2 {
		k.equal([]string{"c0@x.example", "c1@x.example", "c2@x.example", "d0@x.example", "d1@x.example", "d2@x.example"},
			k.listed(sender.Selection{}), "left")
		results := k.results()
		k.equal(15, len(results), "results")
		for _, r := range results {
			k.equal(sender.Canceled, r.Result.Outcome, "Outcome")
		}
		m := k.mail("more", "z@x.example")
		m.Campaign = "spring"
		k.is(k.q.Submit(k.ctx, k.now, m), sender.ErrCanceled, "Submit of a canceled campaign")
		old := k.mail("a1", "a1@x.example")
		old.Campaign = "spring"
		k.is(k.q.Submit(k.ctx, k.now, old), sender.ErrCanceled, "Submit again")
		k.reopen(crash)
	}
	k.submit(k.mail("other", "e@x.example"))
	k.now = k.now.Add(time.Hour)
	k.takeAll("c0@x.example", "c1@x.example", "c2@x.example", "d0@x.example", "d1@x.example", "d2@x.example", "e@x.example")
}

// cancelOnItsWay: what is handed out is the Sender's to end; what comes back is
// ended when Cancel is called again.
func cancelOnItsWay(k *kit) {
	k.letters(4, "a", "x.example", func(m *sender.Submission) { m.Campaign, m.Due = "spring", k.now })
	got := each(k.take(2))
	k.equal(2, k.cancelAll("spring", 100), "canceled while 2 of 4 are handed out")
	k.end(got[0])
	k.equal([]string{got[1].addr}, k.listed(sender.Selection{}), "left")
	k.write(later(got[1], k.now.Add(time.Hour)))
	k.equal(1, k.cancelAll("spring", 100), "canceled of what came back")
	k.equal(0, len(k.listed(sender.Selection{})), "left")
	outcomes := map[sender.Outcome]int{}
	for _, r := range k.results() {
		outcomes[r.Result.Outcome]++
	}
	k.equal(map[sender.Outcome]int{sender.Sent: 1, sender.Canceled: 3}, outcomes, "outcomes")
}

// cancelInFlight: nobody knows whether what was InFlight was delivered, so it is
// not Canceled: the Sender gets it and decides.
func cancelInFlight(k *kit, crash bool) {
	k.letters(3, "a", "x.example", func(m *sender.Submission) { m.Campaign, m.Due = "spring", k.now })
	got := each(k.take(2))
	k.write(sender.Change{Kind: sender.Sending, ID: got[0].ID})
	k.reopen(crash)
	k.equal(2, k.cancelAll("spring", 1), "canceled")
	back := k.takeAll(got[0].addr)
	k.check(back[0].InFlight, "the mark is gone")
}

// cancelResult: who is canceled ends with what is known of him.
func cancelResult(k *kit) {
	tried, fresh := k.mail("1", "tried@x.example"), k.mail("2", "fresh@x.example")
	tried.Campaign, fresh.Campaign = "spring", "spring"
	tried.Tags = map[string]string{"k": "v"}
	k.submit(tried, fresh)
	for _, o := range k.takeAll("tried@x.example", "fresh@x.example") {
		if o.addr == "tried@x.example" {
			k.write(later(o, k.now))
		} else {
			k.write(sender.Change{Kind: sender.Later, ID: o.ID, Due: k.now})
		}
	}
	k.now = k.now.Add(90 * time.Minute)
	k.equal(2, k.cancelAll("spring", 100), "canceled")
	for _, e := range k.results() {
		r := e.Result
		var cause *sender.Error
		k.check(errors.As(r.Err, &cause), "Err is no *Error but %v", r.Err)
		k.is(r.Err, sender.ErrCanceled, "Err")
		k.equal(r.Recipient, cause.Recipient, "Recipient of Err")
		k.equal(90*time.Minute, r.Elapsed.Round(time.Millisecond), "Elapsed")
		k.equal([]string{r.Recipient}, r.Message.To, "To")
		if r.Recipient == "fresh@x.example" {
			k.equal([]any{"2", 0, "", ""}, []any{r.Message.ID, r.Attempts, r.Site, r.Source}, "Result of fresh@")
			continue
		}
		last := attempt(k.now)
		k.equal([]any{"1", 1, last.Site, last.Source, last.Reply, last.Class}, []any{r.Message.ID, r.Attempts, r.Site, r.Source, r.Reply, r.Class}, "Result of tried@")
		k.equal(tried.Tags, r.Message.Tags, "Tags")
	}
}

// cancelUnheardOf: a campaign can be canceled before any of it came.
func cancelUnheardOf(k *kit) {
	k.submit(k.mail("1", "a@x.example"))
	k.equal(0, k.cancelAll("never", 10), "canceled")
	m := k.mail("2", "b@x.example")
	m.Campaign = "never"
	k.is(k.q.Submit(k.ctx, k.now, m), sender.ErrCanceled, "Submit")
	k.takeAll("a@x.example")
}

func uses(k *kit, crash bool) {
	want := func(streams, templates []string) {
		k.Helper()
		s, tpl, err := k.q.Uses(k.ctx)
		k.ok(err)
		s = slices.DeleteFunc(s, func(name string) bool { return name == "" }) // may be named or not
		k.equal(sorted(streams), sorted(s), "streams")
		k.equal(sorted(templates), sorted(tpl), "templates")
	}
	want(nil, nil)
	var msgs []*sender.Submission
	for i, use := range [][2]string{{"", ""}, {"news", ""}, {"news", "letter"}, {"receipts", "receipt"}, {"", "letter"}} {
		m := k.mail(fmt.Sprint(i), fmt.Sprintf("a%d@x.example", i))
		m.Stream, m.Template = use[0], use[1]
		if m.Template != "" {
			m.Body = nil
		}
		msgs = append(msgs, m)
	}
	k.submit(msgs...)
	want([]string{"news", "receipts"}, []string{"letter", "receipt"})
	k.takeNext("receipts", 10, plenty)
	k.reopen(crash)
	want([]string{"news", "receipts"}, []string{"letter", "receipt"})
	taken, _ := k.takeNext("receipts", 10, plenty)
	want([]string{"news", "receipts"}, []string{"letter", "receipt"})
	k.end(each(taken)...)
	want([]string{"news"}, []string{"letter"})
}

func save(k *kit, crash bool) {
	load := func(name string) []byte {
		v, err := k.q.Load(k.ctx, name)
		k.ok(err)
		return v
	}
	k.check(load("a") == nil, "Load of what was not saved")
	value := []byte("one\x00\xff")
	k.ok(k.q.Save(k.ctx, "a", value))
	copy(value, "XXX")
	k.ok(k.q.Save(k.ctx, "b", []byte("two")))
	k.ok(k.q.Save(k.ctx, "gone", []byte("three")))
	k.ok(k.q.Save(k.ctx, "gone", nil))
	k.ok(k.q.Save(k.ctx, "never", nil))
	for range 2 {
		k.check(bytes.Equal([]byte("one\x00\xff"), load("a")), "Load gives %q", load("a"))
		k.check(bytes.Equal([]byte("two"), load("b")), "Load gives %q", load("b"))
		k.check(load("gone") == nil && load("never") == nil, "Load of what was forgotten")
		k.reopen(crash)
	}
	long := bytes.Repeat([]byte("long"), 100_000)
	k.ok(k.q.Save(k.ctx, "a", long))
	k.check(bytes.Equal(long, load("a")), "Load of a long value")
}

// endedContext: no method works for a context that has ended.
func endedContext(k *kit) {
	k.submit(k.mail("1", "a@x.example"))
	for _, call := range []func() error{
		func() error { return k.q.Submit(k.ctx, k.now, k.mail("2", "b@x.example")) },
		func() error { _, err := k.q.Results(k.ctx, 0, 1); return err },
		func() error { _, err := k.q.List(k.ctx, sender.Selection{}, 0, 1); return err },
		func() error { _, err := k.q.Reschedule(k.ctx, sender.Selection{}, k.now); return err },
		func() error { _, _, err := k.q.Cancel(k.ctx, "", k.now, 1); return err },
		func() error { _, _, err := k.q.Uses(k.ctx); return err },
		func() error { return k.q.Save(k.ctx, "a", []byte("b")) },
		func() error { _, err := k.q.Load(k.ctx, "a"); return err },
	} {
		k.withEndedContext(call)
	}
	k.submit(k.mail("2", "b@x.example"))
	k.takeAll("a@x.example", "b@x.example")
}
