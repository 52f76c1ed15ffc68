//go:build unix

package spool_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

// start is when the tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var streams = []string{"news", "receipts"}

const saveName = "power" // what is saved

var savePair = pair{id: saveName} // and its place in the ledger

// load works a queue like a Sender and its callers, and keeps the ledger of
// it. An error is passed to again, which says whether to try the same again.
type load struct {
	q      sender.Queue
	ledger *ledger
	life   string // in the IDs, so that each life has its own
	again  func(error) bool
}

// call makes a call until it works, or again has had enough. What it would
// write is uncertain meanwhile.
func (l *load) call(whole bool, fates map[pair]fate, do func() (map[pair]int64, error)) bool {
	w := l.ledger.begin(whole, fates)
	for {
		seqs, err := do()
		if err == nil {
			l.ledger.done(w, seqs)
			return true
		}
		if !l.again(err) {
			return false
		}
	}
}

// content is what the message with this ID consists of, in some size: a body of
// its own, a body that it shares, or data for a template.
func content(id string) (body, data []byte) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	sum := h.Sum64()
	line := []byte(id + "\r\n")
	switch size := int(sum>>8) & 0xfff; sum % 3 {
	case 0:
		return bytes.Repeat(line, 1+size/len(line)), nil
	case 1:
		return bytes.Repeat([]byte("the same for many\r\n"), 100+int(sum>>32)%3), nil
	default:
		return nil, fmt.Appendf(nil, `{"id":%q,"size":%d}`, id, size)
	}
}

func submission(id, campaign string, rng *rand.Rand) *sender.Submission {
	m := &sender.Message{ID: id, Campaign: campaign, From: "bounces@example.org", Stream: streams[rng.IntN(len(streams))],
		Tags: map[string]string{"id": id}}
	for n := range 1 + rng.IntN(3) {
		m.To = append(m.To, fmt.Sprintf("to%d@site%d.example", n, rng.IntN(4)))
	}
	slices.Sort(m.To)
	m.To = slices.Compact(m.To)
	sub := &sender.Submission{Message: m, Due: start.Add(time.Duration(rng.IntN(120)) * time.Minute)}
	if sub.Body, sub.Data = content(id); sub.Data != nil {
		m.Template = "a template"
	}
	return sub
}

// submit submits messages, of which some may be there already.
func (l *load) submit(ctx context.Context, subs ...*sender.Submission) bool {
	fates := map[pair]fate{}
	for _, sub := range subs {
		for _, to := range sub.To {
			p := pair{sub.ID, to}
			if l.ledger.of(p).stage == absent {
				fates[p] = fate{stage: waiting, due: sub.Due}
			}
		}
	}
	return l.call(false, fates, func() (map[pair]int64, error) { return nil, l.q.Submit(ctx, start, subs...) })
}

// produce submits batches until enough says so; now and then one message twice.
func (l *load) produce(ctx context.Context, name string, rng *rand.Rand, enough func() bool) {
	var before []*sender.Submission
	for n := 0; !enough(); {
		var batch []*sender.Submission
		for range 1 + rng.IntN(5) {
			n++
			batch = append(batch, submission(fmt.Sprintf("%s-%s-%d", l.life, name, n), "spring", rng))
		}
		if !l.submit(ctx, batch...) {
			return
		}
		before = batch
		if rng.IntN(4) == 0 && !l.submit(ctx, before...) {
			return
		}
	}
}

// cancel submits a campaign of its own, cancels it, and submits more of it, again
// and again.
func (l *load) cancel(ctx context.Context, rng *rand.Rand, enough func() bool) {
	for n := 0; !enough(); n++ {
		campaign := fmt.Sprintf("%s-canceled-%d", l.life, n)
		fates := map[pair]fate{}
		for i := range 5 {
			sub := submission(fmt.Sprintf("%s-%d", campaign, i), campaign, rng)
			sub.Due = far.Add(-time.Hour) // the keeper will not get it
			if !l.submit(ctx, sub) {
				return
			}
			for _, to := range sub.To {
				fates[pair{sub.ID, to}] = fate{stage: ended, outcome: sender.Canceled}
			}
		}
		if !l.call(false, fates, func() (map[pair]int64, error) {
			for more := true; more; {
				var err error
				if _, more, err = l.q.Cancel(ctx, campaign, start, 4); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}) {
			return
		}
	}
}

// reschedule submits a campaign of its own, and moves it.
func (l *load) reschedule(ctx context.Context, rng *rand.Rand) bool {
	sub := submission(l.life+"-moved", l.life+"-moved", rng)
	sub.Due = far.Add(-time.Hour)
	if !l.submit(ctx, sub) {
		return false
	}
	due := far.Add(-2 * time.Hour)
	fates := map[pair]fate{}
	for _, to := range sub.To {
		fates[pair{sub.ID, to}] = fate{stage: waiting, due: due}
	}
	return l.call(false, fates, func() (map[pair]int64, error) {
		_, err := l.q.Reschedule(ctx, sender.Selection{Campaigns: []string{sub.Campaign}}, due)
		return nil, err
	})
}

// save saves numbers that grow.
func (l *load) save(ctx context.Context, enough func() bool) {
	for n := l.ledger.of(savePair).seq + 1; !enough(); n++ {
		value := []byte(strconv.FormatInt(n, 10))
		if !l.call(true, map[pair]fate{savePair: {stage: saved, seq: n}}, func() (map[pair]int64, error) {
			return nil, l.q.Save(ctx, saveName, value)
		}) {
			return
		}
	}
}

// held is a recipient that was handed out.
type held struct {
	sender.Waiting
	message *sender.Message
	to      string
}

func (h held) pair() pair { return pair{h.message.ID, h.to} }

// keeper is who takes, and writes what became of it.
type keeper struct {
	*load
	rng     *rand.Rand
	now     time.Time
	held    []held
	notices int
	after   int64
}

// keep does the keeper's work until enough says so.
func (l *load) keep(ctx context.Context, rng *rand.Rand, enough func() bool) {
	k := &keeper{load: l, rng: rng}
	for !enough() {
		k.now = l.ledger.pass(10 * time.Minute)
		if !k.take(ctx) || !k.mark(ctx) || !k.end(ctx) || !k.acknowledge(ctx) {
			return
		}
	}
}

func (k *keeper) take(ctx context.Context) bool {
	for _, stream := range streams {
		taken, _, err := k.q.Take(ctx, stream, k.now, 40, func(sender.Line) int { return 20 })
		if err != nil {
			return k.again(err) // at the next round
		}
		for _, t := range taken {
			for i, r := range t.Recipients {
				h := held{r, t.Message, t.Message.To[i]}
				k.ledger.seen(h.pair())
				k.held = append(k.held, h)
			}
		}
	}
	return true
}

// mark writes that all that is held may be on the wire.
func (k *keeper) mark(ctx context.Context) bool {
	var changes []sender.Change
	fates := map[pair]fate{}
	for _, h := range k.held {
		changes = append(changes, sender.Change{Kind: sender.Sending, ID: h.ID})
		fates[h.pair()] = fate{stage: marked}
	}
	return k.write(ctx, changes, fates)
}

// end writes what became of it; a few are not sent after all, and stay.
func (k *keeper) end(ctx context.Context) bool {
	var changes []sender.Change
	fates := map[pair]fate{}
	var stay []held
	for _, h := range k.held {
		switch p := h.pair(); k.rng.IntN(6) {
		case 0:
			changes = append(changes, sender.Change{Kind: sender.NotSending, ID: h.ID})
			fates[p] = fate{stage: waiting, attempts: h.Attempts, warned: h.Warned}
			stay = append(stay, h)
		case 1, 2:
			c := sender.Change{Kind: sender.Later, ID: h.ID, Due: k.now.Add(time.Duration(1+k.rng.IntN(90)) * time.Minute),
				Attempts: h.Attempts + 1, Warned: h.Warned || k.rng.IntN(2) == 0, Last: attempt(k.now, h.to)}
			fates[p] = fate{stage: waiting, due: c.Due, attempts: c.Attempts, warned: c.Warned}
			if c.Warned && !h.Warned {
				c.Notice = k.notice(fates)
			}
			changes = append(changes, c)
		default:
			c := sender.Change{Kind: sender.EndedNow, ID: h.ID, Result: result(h)}
			fates[p] = fate{stage: ended, outcome: c.Result.Outcome}
			if c.Result.Outcome == sender.Rejected {
				c.Notice = k.notice(fates)
			}
			changes = append(changes, c)
		}
	}
	k.held = stay
	return k.write(ctx, changes, fates)
}

func attempt(now time.Time, to string) *sender.Attempt {
	return &sender.Attempt{Time: now, Site: "a site", Source: "a source", Err: "an error",
		Reply: bounce.Reply{Stage: bounce.StageRcpt, Code: 450, Text: to}}
}

func result(h held) *sender.Result {
	r := &sender.Result{Message: h.message, Recipient: h.to, Outcome: []sender.Outcome{sender.Sent, sender.Rejected, sender.Unknown}[h.ID%3],
		Attempts: h.Attempts + 1, Reply: bounce.Reply{Stage: bounce.StageData, Code: 250, Text: "fine"}}
	if r.Outcome != sender.Sent {
		r.Reply = bounce.Reply{Stage: bounce.StageRcpt, Code: 550, Text: "no such user"}
		r.Err = &sender.Error{Recipient: h.to, Stage: bounce.StageRcpt, Reply: r.Reply, Dot: r.Outcome == sender.Unknown}
	}
	return r
}

func (k *keeper) notice(fates map[pair]fate) *sender.Submission {
	k.notices++
	sub := submission(fmt.Sprintf("%s-notice-%d", k.life, k.notices), "", k.rng)
	for _, to := range sub.To {
		fates[pair{sub.ID, to}] = fate{stage: waiting, due: sub.Due}
	}
	return sub
}

// acknowledge writes that most results of the next page are known.
func (k *keeper) acknowledge(ctx context.Context) bool {
	results, err := k.q.Results(ctx, k.after, 40)
	if err != nil {
		return k.again(err)
	}
	var changes []sender.Change
	fates := map[pair]fate{}
	for _, r := range results {
		k.after = r.Seq
		k.ledger.seen(pair{r.Result.Message.ID, r.Result.Recipient})
		if k.rng.IntN(5) > 0 {
			changes = append(changes, sender.Change{Kind: sender.Acknowledged, Seq: r.Seq})
			fates[pair{r.Result.Message.ID, r.Result.Recipient}] = fate{stage: gone}
		}
	}
	return k.write(ctx, changes, fates)
}

func (k *keeper) write(ctx context.Context, changes []sender.Change, fates map[pair]fate) bool {
	if len(changes) == 0 {
		return true
	}
	return k.call(true, fates, func() (map[pair]int64, error) {
		if err := k.q.Write(ctx, k.now, changes); err != nil {
			return nil, err
		}
		seqs := map[pair]int64{}
		for _, c := range changes {
			if c.Kind == sender.EndedNow {
				seqs[pair{c.Result.Message.ID, c.Result.Recipient}] = c.Seq
			}
		}
		return seqs, nil
	})
}

// run works the queue with all of these at once, until enough says so.
func (l *load) run(ctx context.Context, seed uint64, enough func() bool) {
	var wg sync.WaitGroup
	rng := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	for n := range uint64(3) {
		wg.Go(func() { l.produce(ctx, strconv.FormatUint(n, 10), rng(n), enough) })
	}
	wg.Go(func() { l.keep(ctx, rng(10), enough) })
	wg.Go(func() { l.cancel(ctx, rng(11), enough) })
	wg.Go(func() { l.save(ctx, enough) })
	wg.Wait()
}
