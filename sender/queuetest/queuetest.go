// Package queuetest tests implementations of sender.Queue against its contract:
// what is stored and in which order it comes back, also after a crash.
//
//	func TestQueue(t *testing.T) {
//		queuetest.Run(t, func(t *testing.T) queuetest.Open {
//			file := filepath.Join(t.TempDir(), "queue.db")
//			...
//			return func(crash bool) sender.Queue { ... }
//		})
//	}
//
// What a power cut does, and what does not fit in memory or on the disk, each
// implementation has to test on its own.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

// Open opens one test's Queue: empty when it is called first. Each later call
// ends the Queue of the one before, which is not used any more, and opens it
// again with what was stored: after an orderly end, or, with crash, as it is
// found when the process has been killed. What a test leaves open is the
// caller's to close with t.Cleanup.
type Open func(crash bool) sender.Queue

// Run runs all tests, each with a Queue of its own that start makes.
func Run(t *testing.T, start func(t *testing.T) Open) {
	for _, tests := range [][]test{submitTests, takeTests, writeTests, adminTests, loadTests} {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) { tt.run(newKit(t, start(t))) })
		}
	}
	for seed := range uint64(modelSeeds) {
		t.Run(fmt.Sprintf("model/%d", seed), func(t *testing.T) { runModel(newKit(t, start(t)), seed) })
	}
}

// test is one test of the suite.
type test struct {
	name string
	run  func(*kit)
}

// base is when tests begin: not near the time of any clock, so that a Queue
// that looks at one is caught.
var base = time.Date(2041, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))

// kit is what a test works with. Its methods end the test when the Queue fails.
type kit struct {
	*testing.T
	open func(crash bool) sender.Queue
	q    sender.Queue
	ctx  context.Context
	now  time.Time
}

func newKit(t *testing.T, open Open) *kit {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return &kit{T: t, open: open, q: open(false), ctx: ctx, now: base}
}

// reopen opens the Queue again.
func (k *kit) reopen(crash bool) { k.q = k.open(crash) }

// both runs a test after an orderly end and after a crash.
func both(name string, run func(k *kit, crash bool)) []test {
	return []test{
		{name + "/closed", func(k *kit) { run(k, false) }},
		{name + "/crashed", func(k *kit) { run(k, true) }},
	}
}

func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) equal(want, got any, what string, args ...any) {
	k.Helper()
	if !reflect.DeepEqual(want, got) {
		k.Fatalf("%s:\nwant %+v\ngot  %+v", fmt.Sprintf(what, args...), want, got)
	}
}

func (k *kit) check(ok bool, what string, args ...any) {
	k.Helper()
	if !ok {
		k.Fatalf(what, args...)
	}
}

func (k *kit) is(err, target error, what string) {
	k.Helper()
	if !errors.Is(err, target) {
		k.Fatalf("%s: want an error that wraps %q, got %v", what, target, err)
	}
}

// mail is a message with a Body, due now.
func (k *kit) mail(id string, to ...string) *sender.Submission {
	return &sender.Submission{Message: &sender.Message{ID: id, From: "news@sender.example", To: to},
		Body: []byte("Subject: " + id + "\r\n\r\nHello\r\n"), Due: k.now}
}

func (k *kit) submit(msgs ...*sender.Submission) {
	k.Helper()
	k.ok(k.q.Submit(k.ctx, k.now, msgs...))
}

// letters submits n messages to one recipient each, due one second after the
// other, and named prefix0, prefix1 ... at the domain.
func (k *kit) letters(n int, prefix, domain string, change func(*sender.Submission)) {
	k.Helper()
	msgs := make([]*sender.Submission, n)
	for i := range msgs {
		name := fmt.Sprintf("%s%d", prefix, i)
		msgs[i] = k.mail(name, name+"@"+domain)
		msgs[i].Due = k.now.Add(time.Duration(i) * time.Second)
		if change != nil {
			change(msgs[i])
		}
	}
	k.submit(msgs...)
}

func plenty(sender.Line) int { return 1 << 20 }

// take takes from the stream "" without a limit of room.
func (k *kit) take(max int) []*sender.Taken {
	k.Helper()
	taken, _ := k.takeNext("", max, plenty)
	return taken
}

func (k *kit) takeNext(stream string, max int, room func(sender.Line) int) ([]*sender.Taken, time.Time) {
	k.Helper()
	taken, next, err := k.q.Take(k.ctx, stream, k.now, max, room)
	k.ok(err)
	for _, t := range taken {
		k.equal(len(t.Message.To), len(t.Recipients), "Recipients for To of a Taken")
		k.check(len(t.Recipients) > 0, "a Taken has no recipients")
		k.equal(t.Stream, t.Message.Stream, "streams of a Taken")
		k.equal(t.Campaign, t.Message.Campaign, "campaigns of a Taken")
	}
	return taken, next
}

// one is a recipient that was handed out.
type one struct {
	sender.Waiting
	t    *sender.Taken
	addr string
}

// each takes Taken apart.
func each(taken []*sender.Taken) (out []one) {
	for _, t := range taken {
		for i, w := range t.Recipients {
			out = append(out, one{w, t, t.Message.To[i]})
		}
	}
	return out
}

func addrs(list []one) (out []string) {
	for _, o := range list {
		out = append(out, o.addr)
	}
	return out
}

// takeAll takes all that is due in the stream "" and wants exactly these recipients.
func (k *kit) takeAll(want ...string) []one {
	k.Helper()
	got := each(k.take(1 << 20))
	k.equal(sorted(want), sorted(addrs(got)), "recipients that are handed out")
	return got
}

func sorted(s []string) []string {
	s = append([]string{}, s...)
	slices.Sort(s)
	return s
}

func (k *kit) write(changes ...sender.Change) []sender.Change {
	k.Helper()
	k.ok(k.q.Write(k.ctx, k.now, changes))
	return changes
}

// later is the change that puts a recipient back.
func later(o one, due time.Time) sender.Change {
	return sender.Change{Kind: sender.Later, ID: o.ID, Due: due, Attempts: o.Attempts + 1, Last: attempt(due), Warned: o.Warned}
}

func attempt(at time.Time) *sender.Attempt {
	return &sender.Attempt{Time: at.Add(-time.Minute), Site: "mx.site.example", Source: "ip1", Reply: someReply, Class: someClass, Err: "the door is shut"}
}

var (
	someReply = bounce.Reply{Stage: bounce.StageRcpt, Code: 451, Status: bounce.Status{4, 7, 1}, Text: "Greylisted,\ncome back \"later\" äöü", Host: "mx1.site.example"}
	someClass = bounce.Class{Category: bounce.Greylisted, Scope: bounce.ScopeRecipient, Permanent: false, Action: bounce.ActionRetry,
		RetryAfter: 90 * time.Second, Rule: "test/greylist", Confidence: 0.75}
)

// sent is the change that ends a recipient.
func sent(o one) sender.Change {
	return sender.Change{Kind: sender.EndedNow, ID: o.ID, Result: &sender.Result{Message: o.t.Message, Recipient: o.addr, Outcome: sender.Sent, Attempts: o.Attempts + 1}}
}

// end ends recipients and returns the Seq of their Results.
func (k *kit) end(list ...one) (seqs []int64) {
	k.Helper()
	var changes []sender.Change
	for _, o := range list {
		changes = append(changes, sent(o))
	}
	for _, c := range k.write(changes...) {
		seqs = append(seqs, c.Seq)
	}
	return seqs
}

func (k *kit) acknowledge(seqs ...int64) {
	k.Helper()
	var changes []sender.Change
	for _, s := range seqs {
		changes = append(changes, sender.Change{Kind: sender.Acknowledged, Seq: s})
	}
	k.write(changes...)
}

func (k *kit) results() []sender.Ended {
	k.Helper()
	out, err := k.q.Results(k.ctx, 0, 1<<20)
	k.ok(err)
	return out
}

// resultsOf names the recipients of Results, in their order.
func resultsOf(list []sender.Ended) (out []string) {
	for _, e := range list {
		out = append(out, e.Result.Recipient)
	}
	return out
}

func (k *kit) list(match sender.Selection) []sender.Queued {
	k.Helper()
	out, err := k.q.List(k.ctx, match, 0, 1<<20)
	k.ok(err)
	return out
}

// listed names the recipients that have not ended and match.
func (k *kit) listed(match sender.Selection) (out []string) {
	k.Helper()
	for _, q := range k.list(match) {
		out = append(out, q.Recipient)
	}
	return sorted(out)
}

// text is what a Message's Content writes.
func (k *kit) text(m *sender.Message) string {
	k.Helper()
	text, err := read(m)
	k.ok(err)
	return text
}

func read(m *sender.Message) (string, error) {
	if m.Content == nil {
		return "", fmt.Errorf("message %s has no Content", m.ID)
	}
	var b strings.Builder
	n, err := m.Content.WriteTo(&b)
	if err == nil && int64(b.Len()) != n {
		return "", fmt.Errorf("WriteTo wrote %d octets and returned %d", b.Len(), n)
	}
	return b.String(), err
}

// ms makes times comparable: Queues keep milliseconds at least.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (k *kit) sameTime(want, got time.Time, what string) {
	k.Helper()
	k.check(ms(want) == ms(got), "%s: want %v, got %v", what, want, got)
}

func (k *kit) sameAttempt(want, got *sender.Attempt, what string) {
	k.Helper()
	if want == nil || got == nil {
		k.check(want == nil && got == nil, "%s: want %+v, got %+v", what, want, got)
		return
	}
	k.sameTime(want.Time, got.Time, what+": Time")
	w, g := *want, *got
	w.Time, g.Time = time.Time{}, time.Time{}
	k.equal(w, g, "%s", what)
}
