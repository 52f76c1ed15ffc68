package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

var writeTests = slices.Concat([]test{
	{"write/laterClearsInFlight", writeInFlight},
	{"write/inOrder", writeInOrder},
	{"write/endedContext", writeEndedContext},
	{"write/none", func(k *kit) { k.write() }},
	{"write/resultsPaged", writeResultsPaged},
	{"write/acknowledgedTwice", writeAcknowledgedTwice},
	{"write/noticeOfCanceled", writeNoticeOfCanceled},
	{"write/noticeTwice", writeNoticeTwice},
},
	both("write/attempts", writeAttempts),
	both("write/results", writeResults),
	both("write/acknowledged", writeAcknowledged),
	both("write/notice", writeNotice),
)

// writeInFlight: every Change but Sending takes the mark back, over reopening.
func writeInFlight(k *kit) {
	k.submit(k.mail("1", "a@x.example"))
	o := k.takeAll("a@x.example")[0]
	k.check(!o.InFlight, "a new recipient is InFlight")
	sending := sender.Change{Kind: sender.Sending, ID: o.ID}
	for i, changes := range [][]sender.Change{
		{sending},
		{later(o, k.now)},
		{sending, {Kind: sender.NotSending, ID: o.ID}},
		{sending, later(o, k.now)},
		{sending, {Kind: sender.NotSending, ID: o.ID}, sending},
	} {
		k.write(changes...)
		k.reopen(i%2 == 0)
		o = k.takeAll("a@x.example")[0]
		k.equal(changes[len(changes)-1].Kind == sender.Sending, o.InFlight, "InFlight after %d changes of step %d", len(changes), i)
	}
	k.reopen(true) // nothing was written since
	o = k.takeAll("a@x.example")[0]
	k.check(o.InFlight, "the mark is gone though nothing was written since")
	k.end(o)
	k.reopen(true)
	k.takeAll()
}

// writeInOrder: changes of one Write count one after the other, and Seqs grow
// with them.
func writeInOrder(k *kit) {
	k.letters(5, "a", "x.example", nil)
	k.now = k.now.Add(time.Minute)
	got := each(k.take(10))
	slices.Reverse(got)
	var changes []sender.Change
	for _, o := range got {
		changes = append(changes, sender.Change{Kind: sender.Sending, ID: o.ID}, sent(o))
	}
	changes = k.write(changes...)
	for i := 3; i < len(changes); i += 2 {
		k.check(changes[i].Seq > changes[i-2].Seq, "Seq %d follows %d", changes[i].Seq, changes[i-2].Seq)
	}
	k.equal(addrs(got), resultsOf(k.results()), "results in the order of the changes")
}

func writeEndedContext(k *kit) {
	k.submit(k.mail("1", "a@x.example"))
	got := k.takeAll("a@x.example")
	k.withEndedContext(func() error { return k.q.Write(k.ctx, k.now, []sender.Change{sent(got[0])}) })
	k.equal(0, len(k.results()), "results after a Write that failed")
	k.equal([]string{"a@x.example"}, k.listed(sender.Selection{}), "stored after a Write that failed")
	k.end(got...)
	k.equal([]string{"a@x.example"}, resultsOf(k.results()), "results")
}

// withEndedContext calls what must fail for the context of the kit, which has ended.
func (k *kit) withEndedContext(call func() error) {
	k.Helper()
	ctx := k.ctx
	ended, cancel := context.WithCancel(ctx)
	cancel()
	k.ctx = ended
	k.is(call(), context.Canceled, "with a context that has ended")
	k.ctx = ctx
}

// writeAttempts: every field of the last attempt is kept, and nil is.
func writeAttempts(k *kit, crash bool) {
	k.submit(k.mail("1", "full@x.example"), k.mail("2", "bare@x.example"), k.mail("3", "none@x.example"))
	attempts := map[string]*sender.Attempt{"full@x.example": attempt(k.now), "bare@x.example": {Time: k.now}}
	var changes []sender.Change
	for _, o := range k.takeAll("full@x.example", "bare@x.example", "none@x.example") {
		changes = append(changes, sender.Change{Kind: sender.Later, ID: o.ID, Due: k.now, Attempts: 300, Last: attempts[o.addr]})
	}
	k.write(changes...)
	want := attempt(k.now)
	attempts["full@x.example"].Site = "changed later"
	attempts["full@x.example"] = want
	k.reopen(crash)
	for _, q := range k.list(sender.Selection{}) {
		k.sameAttempt(attempts[q.Recipient], q.Last, "Last in List of "+q.Recipient)
		k.equal(300, q.Attempts, "Attempts in List of %s", q.Recipient)
	}
	for _, o := range k.takeAll("full@x.example", "bare@x.example", "none@x.example") {
		k.sameAttempt(attempts[o.addr], o.Last, "Last of "+o.addr)
		k.equal(300, o.Attempts, "Attempts of %s", o.addr)
	}
	for _, o := range k.list(sender.Selection{}) {
		k.check(!o.Due.After(k.now), "Due of what is on its way is %v", o.Due)
	}
}

// errorsToKeep are the causes that errors.Is must know again.
var errorsToKeep = []error{sender.ErrShutdown, sender.ErrExpired, sender.ErrAttempts, sender.ErrSuppressed, sender.ErrStopped, sender.ErrCanceled}

// manyResults are results with all that can be in them.
func manyResults() []sender.Result {
	results := []sender.Result{
		{Outcome: sender.Sent, Reply: bounce.Reply{Stage: bounce.StageBody, Code: 250, Status: bounce.Status{2, 0, 0}, Text: "OK <1@x>", Host: "mx.x.example"},
			Site: "mx.site.example", Source: "ip1", Attempts: 3, Elapsed: 90 * time.Minute},
		{Outcome: sender.Rejected, Class: someClass, Reply: someReply, Site: "s", Source: "ip2", Attempts: 1, Elapsed: time.Millisecond,
			Err: &sender.Error{Host: "mx1.site.example", Source: "ip2", Stage: bounce.StageRcpt, Reply: someReply, TLS: true}},
		{Outcome: sender.Unknown, Class: bounce.Class{Category: bounce.ConnectionFailure},
			Err: &sender.Error{Stage: bounce.StageBody, Dot: true, Err: errors.New("connection reset: \"quoted\" ü")}},
		{Outcome: sender.Suppressed, Err: &sender.Error{Err: errors.Join(sender.ErrSuppressed, errors.New("by hand"))}},
	}
	for _, err := range errorsToKeep {
		results = append(results, sender.Result{Outcome: sender.Deferred, RetryAt: base.Add(time.Hour), Class: someClass,
			Err: &sender.Error{Err: fmt.Errorf("in the end: %w", err), Reply: someReply}})
	}
	return results
}

// writeResults: a Result is in the journal, as it was, until it is acknowledged.
func writeResults(k *kit, crash bool) {
	want := manyResults()
	for i := range want {
		m := full(k.now)
		m.ID, m.Stream, m.To = fmt.Sprint(i), "", []string{fmt.Sprintf("a%d@x.example", i), "other@x.example"}
		k.submit(&sender.Submission{Message: m, Data: []byte("{}"), Due: k.now.Add(time.Duration(i) * time.Second)})
	}
	k.now = k.now.Add(time.Hour)
	var changes []sender.Change
	for _, o := range each(k.take(1000)) {
		var i int
		if n, _ := fmt.Sscanf(o.addr, "a%d@", &i); n == 0 {
			continue
		}
		want[i].Message, want[i].Recipient = o.t.Message, o.addr
		if e, ok := want[i].Err.(*sender.Error); ok {
			e.Recipient = o.addr
		}
		changes = append(changes, sender.Change{Kind: sender.EndedNow, ID: o.ID, Result: &want[i]})
	}
	changes = k.write(changes...)
	for range 2 {
		got := k.results()
		k.equal(len(changes), len(got), "results")
		for i, c := range changes {
			k.equal(c.Seq, got[i].Seq, "Seq")
			k.sameResult(c.Result, &got[i].Result)
		}
		k.reopen(crash)
	}
	k.equal(len(want), len(k.listed(sender.Selection{})), "recipients that have not ended")
}

func (k *kit) sameResult(want, got *sender.Result) {
	k.Helper()
	k.check(got.Message != nil, "the Result of %s has no Message", want.Recipient)
	k.check(got.Message.Content == nil && got.Message.Data == nil, "the Message of a Result has Content or Data")
	m := *want.Message
	m.To = []string{want.Recipient}
	k.sameMessage(&m, got.Message)
	k.sameTime(want.RetryAt, got.RetryAt, "RetryAt")
	k.sameError(want.Err, got.Err)
	k.equal(want.Elapsed.Round(time.Millisecond), got.Elapsed.Round(time.Millisecond), "Elapsed")
	k.equal([]any{want.Recipient, want.Outcome, want.Class, want.Reply, want.Site, want.Source, want.Attempts},
		[]any{got.Recipient, got.Outcome, got.Class, got.Reply, got.Site, got.Source, got.Attempts}, "Result")
}

func (k *kit) sameError(want, got error) {
	k.Helper()
	if want == nil {
		k.check(got == nil, "Err: want nil, got %v", got)
		return
	}
	var w, g *sender.Error
	k.check(errors.As(want, &w) && errors.As(got, &g), "Err: want an *Error, got %T", got)
	k.equal(want.Error(), got.Error(), "text of Err")
	for _, target := range errorsToKeep {
		k.equal(errors.Is(want, target), errors.Is(got, target), "Err is %q", target)
	}
	k.equal([]any{w.Recipient, w.Host, w.Source, w.Stage, w.Reply, w.TLS, w.Dot, w.Err == nil},
		[]any{g.Recipient, g.Host, g.Source, g.Stage, g.Reply, g.TLS, g.Dot, g.Err == nil}, "Err")
}

func writeResultsPaged(k *kit) {
	k.letters(10, "a", "x.example", nil)
	k.now = k.now.Add(time.Minute)
	seqs := k.end(each(k.take(100))...)
	k.acknowledge(seqs[3], seqs[4])
	var got []int64
	for after := int64(0); ; {
		page, err := k.q.Results(k.ctx, after, 3)
		k.ok(err)
		k.check(len(page) <= 3, "%d results with max 3", len(page))
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			got = append(got, e.Seq)
		}
		after = page[len(page)-1].Seq
	}
	k.equal(slices.Delete(slices.Clone(seqs), 3, 5), got, "results by 3")
	page, err := k.q.Results(k.ctx, seqs[3], 2) // after one that is gone
	k.ok(err)
	k.equal([]int64{seqs[5], seqs[6]}, []int64{page[0].Seq, page[1].Seq}, "results after one that is gone")
}

func writeAcknowledged(k *kit, crash bool) {
	k.letters(4, "a", "x.example", nil)
	k.now = k.now.Add(time.Minute)
	got := each(k.take(100))
	seqs := k.end(got[:3]...)
	k.write(sender.Change{Kind: sender.Acknowledged, Seq: seqs[1]}, sent(got[3]), sender.Change{Kind: sender.Acknowledged, Seq: seqs[0]})
	k.equal([]string{"a2@x.example", "a3@x.example"}, resultsOf(k.results()), "results")
	k.reopen(crash)
	k.equal([]string{"a2@x.example", "a3@x.example"}, resultsOf(k.results()), "results after reopening")
	k.takeAll()
}

// writeAcknowledgedTwice: an application may acknowledge again what it is not
// sure of.
func writeAcknowledgedTwice(k *kit) {
	k.letters(2, "a", "x.example", nil)
	k.now = k.now.Add(time.Minute)
	seqs := k.end(each(k.take(100))...)
	k.acknowledge(seqs[0], seqs[0])
	k.acknowledge(seqs[0], seqs[1]+1000)
	k.equal([]string{"a1@x.example"}, resultsOf(k.results()), "results")
}

// notice is a mail about another.
func (k *kit) notice(id string) *sender.Submission {
	m := k.mail(id, "owner@sender.example")
	m.Message.From = ""
	m.Body = []byte("Subject: about " + id + "\r\n\r\nSorry\r\n")
	return m
}

// writeNotice: the Notice is there if the Change is.
func writeNotice(k *kit, crash bool) {
	k.submit(k.mail("1", "a@x.example", "b@x.example"))
	got := k.takeAll("a@x.example", "b@x.example")
	warned, failed := later(got[0], k.now.Add(time.Hour)), sent(got[1])
	warned.Warned, warned.Notice = true, k.notice("delay-1")
	failed.Notice = k.notice("failed-1")
	k.withEndedContext(func() error { return k.q.Write(k.ctx, k.now, []sender.Change{warned, failed}) })
	k.takeAll()
	k.now = k.now.Add(time.Minute)
	for _, c := range []*sender.Change{&warned, &failed} {
		c.Notice.Due = k.now
	}
	k.write(warned, failed)
	k.reopen(crash)
	for _, o := range k.takeAll("owner@sender.example", "owner@sender.example") {
		k.sameTime(k.now, o.t.Born, "Born of a notice")
		k.equal("Subject: about "+o.t.Message.ID+"\r\n\r\nSorry\r\n", k.text(o.t.Message), "content of a notice")
		k.equal("", o.t.Message.From, "From of a notice")
	}
}

func writeNoticeTwice(k *kit) {
	k.submit(k.mail("1", "a@x.example", "b@x.example"))
	got := k.takeAll("a@x.example", "b@x.example")
	for _, o := range got {
		c := sent(o)
		c.Notice = k.notice("failed-1")
		k.write(c)
	}
	k.takeAll("owner@sender.example")
}

// writeNoticeOfCanceled: a Notice that Submit would refuse does not keep the
// Change from being stored.
func writeNoticeOfCanceled(k *kit) {
	k.submit(k.mail("1", "a@x.example"))
	got := k.takeAll("a@x.example")
	_, _, err := k.q.Cancel(k.ctx, "spring", k.now, 10)
	k.ok(err)
	c := sent(got[0])
	c.Notice = k.notice("failed-1")
	c.Notice.Campaign = "spring"
	k.write(c)
	k.equal([]string{"a@x.example"}, resultsOf(k.results()), "results")
	k.takeAll()
}
