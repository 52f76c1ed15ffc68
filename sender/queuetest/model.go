package queuetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/volleymail/volley/sender"
)

const (
	modelSeeds = 6
	modelSteps = 150
)

// model is what a Queue should hold, told by pairs, and the luck that decides
// what is done to it.
type model struct {
	*kit
	luck     *rand.Rand
	waiting  map[string]*modeled // by pair: all that has not ended
	seen     map[string]bool     // pairs
	canceled map[string]bool     // campaigns
	journal  []sender.Ended      // not acknowledged
	seq      int64               // the highest so far
}

// modeled is a recipient that has not ended.
type modeled struct {
	pair     string
	addr     string
	msg      *sender.Message
	line     sender.Line
	born     time.Time
	due      time.Time
	past     bool // due was past when it was set: such may come in any order
	out      *one // nil while it waits
	inFlight bool
	attempts int
	last     *sender.Attempt
	warned   bool
	id       int64 // 0 until it was seen
}

// runModel does random things to a Queue, and looks after each whether it holds
// what it should.
func runModel(k *kit, seed uint64) {
	m := &model{kit: k, luck: rand.New(rand.NewPCG(seed, 17)), waiting: map[string]*modeled{}, seen: map[string]bool{}, canceled: map[string]bool{}}
	steps := []func(){m.submitSome, m.submitSome, m.takeSome, m.takeSome, m.takeSome, m.writeSome, m.writeSome, m.writeSome,
		m.acknowledgeSome, m.rescheduleSome, m.pass, m.pass, m.rare}
	for range modelSteps {
		steps[m.luck.IntN(len(steps))]()
		m.compare()
	}
	m.finish()
}

// rare is what would empty the Queue if it were done more often.
func (m *model) rare() {
	switch m.luck.IntN(4) {
	case 0:
		m.cancelSome()
	default:
		m.reopenModel()
	}
}

func (m *model) pass() { m.now = m.now.Add(time.Duration(m.luck.IntN(600)) * time.Second) }

func (m *model) pick(names ...string) string { return names[m.luck.IntN(len(names))] }

func pair(id, addr string) string {
	local, domain := sender.SplitRecipient(addr)
	return id + "|" + local + "|" + domain
}

func (m *model) submitSome() {
	var msgs []*sender.Submission
	for range 1 + m.luck.IntN(6) {
		s := m.mail(fmt.Sprintf("m%d", m.luck.IntN(400)), m.address())
		for m.luck.IntN(3) == 0 {
			s.To = append(s.To, m.address())
		}
		s.Stream = m.pick("", "", "news")
		s.Campaign = m.pick("", "spring", "summer", "autumn", "winter")
		if !m.canceled[s.Campaign] || m.luck.IntN(10) == 0 {
			s.Due = m.now.Add(time.Duration(m.luck.IntN(4)*m.luck.IntN(900)) * time.Second)
			s.Body = []byte(m.pick("one", "two", "three", s.ID))
			msgs = append(msgs, s)
		}
	}
	refused := slices.ContainsFunc(msgs, func(s *sender.Submission) bool { return m.canceled[s.Campaign] })
	if refused { // the others may be stored or not, so they come one by one
		for _, s := range msgs {
			if m.canceled[s.Campaign] {
				m.is(m.q.Submit(m.ctx, m.now, s), sender.ErrCanceled, "Submit of a canceled campaign")
				continue
			}
			m.submit(s)
			m.store(s)
		}
		return
	}
	m.submit(msgs...)
	for _, s := range msgs {
		m.store(s)
	}
}

func (m *model) address() string {
	return fmt.Sprintf("u%d@", m.luck.IntN(5)) + m.pick("a.example", "A.example", "b.example", "c.example", "d.example", "ü.example", "bad domain")
}

// store is Submit in the model.
func (m *model) store(s *sender.Submission) {
	for _, addr := range s.To {
		p := pair(s.ID, addr)
		if m.seen[p] {
			continue
		}
		m.seen[p] = true
		_, domain := sender.SplitRecipient(addr)
		m.waiting[p] = &modeled{pair: p, addr: addr, msg: s.Message, born: m.now, due: s.Due, past: s.Due.Before(m.now),
			line: sender.Line{Domain: domain, Stream: s.Stream, Campaign: s.Campaign}}
	}
}

func (m *model) takeSome() {
	stream, limit := m.pick("", "", "news"), m.luck.IntN(12)
	rooms, given := map[sender.Line]int{}, map[sender.Line]int{}
	taken, next := m.takeNext(stream, limit, func(l sender.Line) int {
		rooms[l] = m.luck.IntN(6)
		return rooms[l]
	})
	total, lastDue := 0, map[sender.Line]time.Time{}
	for _, t := range taken {
		m.check(total < limit, "another message after %d with max %d", total, limit)
		for _, o := range each([]*sender.Taken{t}) {
			w := m.handOut(o, stream)
			if !w.past {
				m.check(!w.due.Before(lastDue[t.Line]), "%s, due %v, comes after one due %v", o.addr, w.due, lastDue[t.Line])
				lastDue[t.Line] = w.due
			}
			given[t.Line]++
			total++
		}
	}
	for line, n := range given {
		m.check(n <= rooms[line], "%d handed out of %+v with room for %d", n, line, rooms[line])
	}
	m.checkRest(stream, limit-total, rooms, given, lastDue, next)
}

// handOut checks what comes of a recipient, and marks it.
func (m *model) handOut(o one, stream string) *modeled {
	m.Helper()
	w := m.waiting[pair(o.t.Message.ID, o.addr)]
	m.check(w != nil, "%s of %s is handed out though it does not wait", o.addr, o.t.Message.ID)
	m.check(w.out == nil, "%s of %s is handed out twice", o.addr, o.t.Message.ID)
	m.check(!w.due.After(m.now), "%s is handed out before it is due at %v", o.addr, w.due)
	m.check(w.id == 0 || w.id == o.ID, "ID %d of %s was %d", o.ID, o.addr, w.id)
	m.equal([]any{w.line, stream, w.attempts, w.inFlight, w.warned, w.msg.From}, []any{o.t.Line, o.t.Stream, o.Attempts, o.InFlight, o.Warned, o.t.Message.From},
		"what comes of %s", o.addr)
	m.sameAttempt(w.last, o.Last, "Last of "+o.addr)
	m.sameTime(w.born, o.t.Born, "Born of "+o.addr)
	w.out, w.id = &o, o.ID
	return w
}

// checkRest checks that what was left was left for a reason, and that next is
// when the first of them falls due. left is what max would have allowed.
func (m *model) checkRest(stream string, left int, rooms, given map[sender.Line]int, lastDue map[sender.Line]time.Time, next time.Time) {
	m.Helper()
	var must time.Time // next, without what later falls due in lines that are full
	for _, w := range m.waiting {
		if w.out != nil || w.line.Stream != stream {
			continue
		}
		room, asked := rooms[w.line]
		full := asked && given[w.line] >= room
		due := !w.due.After(m.now)
		if due {
			m.check(full || left <= 0, "%s was due and not handed out: %d of %d in its line, %d more allowed", w.addr, given[w.line], room, left)
			m.check(w.past || lastDue[w.line].IsZero() || !w.due.Before(lastDue[w.line]), "%s, due %v, waits behind one due %v", w.addr, w.due, lastDue[w.line])
		}
		if !full {
			must = earliest(must, w.due)
		}
	}
	if !must.IsZero() && !must.After(m.now) {
		m.check(!next.IsZero() && !next.After(m.now), "next is %v though more is due", next)
		return
	}
	if must.IsZero() && next.IsZero() {
		return
	}
	// Early costs a look in vain; at once, or late, would spin or stall.
	m.check(next.After(m.now), "next is %v though nothing more is due", next)
	m.check(must.IsZero() || ms(next) <= ms(must), "next is %v, not %v", next, must)
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// writeSome writes changes of a part of what is handed out.
func (m *model) writeSome() {
	var changes []sender.Change
	var after []func()
	for _, p := range slices.Sorted(maps.Keys(m.waiting)) {
		w := m.waiting[p]
		if w.out == nil || m.luck.IntN(2) == 0 {
			continue
		}
		var c sender.Change
		switch m.luck.IntN(5) {
		case 0, 1:
			c = sender.Change{Kind: sender.Sending, ID: w.id}
			after = append(after, func() { w.inFlight = true })
		case 2:
			c = sender.Change{Kind: sender.NotSending, ID: w.id}
			after = append(after, func() { w.inFlight = false })
		case 3:
			c = later(*w.out, m.now.Add(time.Duration(m.luck.IntN(1200))*time.Second))
			c.Warned = m.luck.IntN(2) == 0
			after = append(after, func() {
				w.due, w.attempts, w.last, w.warned, w.inFlight, w.out = c.Due, c.Attempts, c.Last, c.Warned, false, nil
				w.past = false
			})
		default:
			c = sent(*w.out)
			c.Result.Outcome = sender.Outcome(m.luck.IntN(5))
			after = append(after, func() { delete(m.waiting, p) })
		}
		if c.Kind > sender.NotSending && m.luck.IntN(4) == 0 {
			c.Notice = m.notice("notice-" + p)
			after = append(after, func() { m.store(c.Notice) })
		}
		changes = append(changes, c)
	}
	m.write(changes...)
	for _, f := range after {
		f()
	}
	for _, c := range changes {
		if c.Kind == sender.EndedNow {
			m.journaled(sender.Ended{Seq: c.Seq, Result: *c.Result})
		}
	}
}

// journaled adds a Result, which must have a new Seq.
func (m *model) journaled(e sender.Ended) {
	m.Helper()
	m.check(e.Seq > m.seq, "Seq %d comes after %d", e.Seq, m.seq)
	m.seq = e.Seq
	m.journal = append(m.journal, e)
}

func (m *model) acknowledgeSome() {
	var seqs []int64
	m.journal = slices.DeleteFunc(m.journal, func(e sender.Ended) bool {
		gone := m.luck.IntN(2) == 0
		if gone {
			seqs = append(seqs, e.Seq)
		}
		return gone
	})
	m.luck.Shuffle(len(seqs), func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
	m.acknowledge(seqs...)
}

func (m *model) rescheduleSome() {
	match := sender.Selection{Domains: []string{m.pick("a.example", "b.example", "xn--tda.example")}, Streams: []string{m.pick("", "news")}}
	due, want := m.now.Add(time.Duration(m.luck.IntN(600)-300)*time.Second), 0
	for _, w := range m.waiting {
		if w.out == nil && w.line.Domain == match.Domains[0] && w.line.Stream == match.Streams[0] {
			w.due, w.past = due, due.Before(m.now)
			want++
		}
	}
	m.equal(want, m.reschedule(match, due), "rescheduled")
}

// cancelSome cancels a campaign; what is handed out stays, and what may have
// been sent.
func (m *model) cancelSome() {
	campaign := m.pick("spring", "summer", "autumn")
	want := map[string]bool{}
	for p, w := range m.waiting {
		if w.line.Campaign == campaign && w.out == nil && !w.inFlight {
			want[p] = true
			delete(m.waiting, p)
		}
	}
	m.canceled[campaign] = true
	m.equal(len(want), m.cancelAll(campaign, 1+m.luck.IntN(5)), "canceled")
	for _, e := range m.results() {
		if e.Seq > m.seq {
			p := pair(e.Result.Message.ID, e.Result.Recipient)
			m.check(want[p] && e.Result.Outcome == sender.Canceled, "%s has ended as %v", p, e.Result.Outcome)
			delete(want, p)
			m.journaled(e)
		}
	}
	m.equal(0, len(want), "canceled without a result")
}

func (m *model) reopenModel() {
	m.reopen(m.luck.IntN(2) == 0)
	for _, w := range m.waiting {
		w.out = nil
	}
}

// compare looks whether the Queue holds what the model does.
func (m *model) compare() {
	m.Helper()
	var want, got []string
	for _, w := range m.waiting {
		due := w.due
		if w.out != nil {
			due = time.Time{}
		}
		want = append(want, fmt.Sprintf("%s %s %+v %d %d %v", w.pair, w.addr, w.line, ms(due), w.attempts, w.last != nil))
	}
	ids := map[int64]bool{}
	for _, q := range m.list(sender.Selection{}) {
		w := m.waiting[pair(q.MessageID, q.Recipient)]
		m.check(w != nil, "%s of %s is listed though it has ended", q.Recipient, q.MessageID)
		m.check(w.id == 0 || w.id == q.ID, "ID %d of %s was %d", q.ID, w.addr, w.id)
		m.check(!ids[q.ID], "ID %d is listed twice", q.ID)
		ids[q.ID], w.id = true, q.ID
		if w.out != nil {
			m.check(!q.Due.After(m.now), "%s is on its way, and due %v", w.addr, q.Due)
			q.Due = time.Time{}
		}
		got = append(got, fmt.Sprintf("%s %s %+v %d %d %v", w.pair, q.Recipient, q.Line, ms(q.Due), q.Attempts, q.Last != nil))
	}
	m.equal(strings.Join(sorted(want), "\n"), strings.Join(sorted(got), "\n"), "recipients")
	want, got = nil, nil
	for _, e := range m.journal {
		want = append(want, fmt.Sprintf("%d %s %s %v", e.Seq, e.Result.Message.ID, e.Result.Recipient, e.Result.Outcome))
	}
	for _, e := range m.results() {
		got = append(got, fmt.Sprintf("%d %s %s %v", e.Seq, e.Result.Message.ID, e.Result.Recipient, e.Result.Outcome))
	}
	m.equal(strings.Join(want, "\n"), strings.Join(got, "\n"), "results")
}

// finish ends all that is left: nothing hides.
func (m *model) finish() {
	m.reopenModel()
	m.now = m.now.Add(100 * time.Hour)
	for _, stream := range []string{"", "news"} {
		taken, next := m.takeNext(stream, 1<<20, plenty)
		for _, o := range each(taken) {
			w := m.handOut(o, stream)
			m.end(o)
			delete(m.waiting, w.pair)
		}
		m.check(next.IsZero(), "next is %v though all is handed out", next)
	}
	m.equal(0, len(m.waiting), "recipients that never came")
	m.equal(0, len(m.list(sender.Selection{})), "recipients left")
}
