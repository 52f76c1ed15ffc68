package queuetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/volleymail/volley/sender"
)

var takeTests = slices.Concat([]test{
	{"take/order", takeOrder},
	{"take/onceOnly", takeOnceOnly},
	{"take/streams", takeStreams},
	{"take/together", takeTogether},
	{"take/retriedTogether", takeRetriedTogether},
	{"take/lineByLine", takeLines},
	{"take/room", takeRoom},
	{"take/roomOfALongMessage", takeRoomOfALongMessage},
	{"take/max", takeMax},
	{"take/inTurn", takeInTurn},
	{"take/inTurnOverCalls", takeInTurnOverCalls},
	{"take/next", takeNext},
	{"take/nextAndRoom", takeNextAndRoom},
	{"take/endedContext", takeEndedContext},
},
	both("take/reopened", takeReopened),
	both("take/orderReopened", takeOrderReopened),
)

// takeOrder: within a line by due time, whatever the order of submission; due
// is what falls due at now.
func takeOrder(k *kit) {
	for _, minute := range []int{3, 1, 5, 2, 4} {
		m := k.mail(fmt.Sprint(minute), fmt.Sprintf("a%d@x.example", minute))
		m.Due = base.Add(time.Duration(minute) * time.Minute)
		k.submit(m)
	}
	k.takeAll()
	k.now = base.Add(3 * time.Minute)
	k.equal([]string{"a1@x.example"}, addrs(each(k.take(1))), "the first")
	k.equal([]string{"a2@x.example", "a3@x.example"}, addrs(each(k.take(10))), "those that are due")
	k.now = base.Add(4*time.Minute - time.Millisecond)
	k.takeAll()
	k.now = base.Add(time.Hour)
	k.equal([]string{"a4@x.example", "a5@x.example"}, addrs(each(k.take(10))), "the rest")
}

func takeOrderReopened(k *kit, crash bool) {
	k.letters(6, "a", "x.example", nil)
	k.now = k.now.Add(time.Hour)
	got := each(k.take(4))
	k.write(later(got[0], k.now.Add(time.Minute)), later(got[2], base.Add(10*time.Second)))
	k.reopen(crash)
	k.equal([]string{"a1@x.example", "a3@x.example", "a4@x.example", "a5@x.example", "a2@x.example"}, addrs(each(k.take(10))), "after reopening")
	k.now = k.now.Add(time.Minute)
	k.takeAll("a0@x.example")
}

// takeOnceOnly: what is handed out stays stored, and comes again only after Later.
func takeOnceOnly(k *kit) {
	k.submit(k.mail("1", "a@x.example"), k.mail("2", "b@x.example"))
	got := k.takeAll("a@x.example", "b@x.example")
	k.write(sender.Change{Kind: sender.Sending, ID: got[0].ID})
	k.now = k.now.Add(1000 * time.Hour)
	k.takeAll()
	k.write(sender.Change{Kind: sender.NotSending, ID: got[0].ID})
	k.takeAll()
	k.equal([]string{"a@x.example", "b@x.example"}, k.listed(sender.Selection{}), "stored")
	k.write(later(got[1], k.now.Add(time.Minute)))
	k.takeAll()
	k.now = k.now.Add(time.Minute)
	back := k.takeAll("b@x.example")
	k.equal(got[1].ID, back[0].ID, "ID of what comes again")
	k.equal(got[1].t.Number, back[0].t.Number, "Number of what comes again")
	k.end(got[0], back[0])
	k.takeAll()
}

func takeStreams(k *kit) {
	for _, s := range []string{"", "news", "receipts"} {
		m := k.mail("m-"+s, "a@x.example")
		m.Stream = s
		k.submit(m)
	}
	for _, s := range []string{"news", "", "receipts"} {
		taken, next := k.takeNext(s, 10, func(l sender.Line) int {
			k.equal(s, l.Stream, "Stream of the Line")
			return 10
		})
		k.equal(1, len(taken), "messages of stream %q", s)
		k.equal(s, taken[0].Message.Stream, "Stream")
		k.check(next.IsZero(), "next of stream %q is %v", s, next)
	}
	taken, next := k.takeNext("unheard of", 10, plenty)
	k.check(len(taken) == 0 && next.IsZero(), "from an unknown stream: %d, next %v", len(taken), next)
}

// takeTogether: recipients of a message that are due together in a line come as
// one Taken, in the order of To; those of other lines or messages do not.
func takeTogether(k *kit) {
	k.submit(k.mail("1", "c@x.example", "a@x.example", "z@y.example", "b@X.example"), k.mail("2", "d@x.example"), k.mail("3", "bad", "worse"))
	got := map[string][]string{}
	numbers := map[int64]string{}
	for _, t := range k.take(100) {
		key := t.Message.ID + " " + t.Domain
		k.check(got[key] == nil, "a second Taken of %s", key)
		got[key] = t.Message.To
		k.check(numbers[t.Number] == "" || numbers[t.Number] == t.Message.ID, "messages %s and %s have one Number", numbers[t.Number], t.Message.ID)
		numbers[t.Number] = t.Message.ID
	}
	k.equal(map[string][]string{"1 x.example": {"c@x.example", "a@x.example", "b@X.example"}, "1 y.example": {"z@y.example"},
		"2 x.example": {"d@x.example"}, "3 ": {"bad", "worse"}}, got, "To by message and domain")
	k.equal(3, len(numbers), "Numbers")
}

// takeRetriedTogether: recipients that come back for the same time go out
// together again, each with its state.
func takeRetriedTogether(k *kit) {
	k.submit(k.mail("1", "a@x.example", "b@x.example", "c@x.example"), k.mail("2", "d@x.example"))
	got := k.takeAll("a@x.example", "b@x.example", "c@x.example", "d@x.example")
	due := k.now.Add(5 * time.Minute)
	slices.SortFunc(got, func(a, b one) int { return int(a.ID - b.ID) })
	changes := []sender.Change{later(got[0], due), later(got[1], due.Add(time.Hour)), later(got[2], due), later(got[3], due)}
	changes[2].Attempts, changes[2].Warned = 7, true
	k.write(changes...)
	k.now = due
	taken := k.take(100)
	k.equal(2, len(taken), "messages that come again")
	for _, t := range taken {
		if t.Message.ID == "1" {
			k.equal([]string{"a@x.example", "c@x.example"}, t.Message.To, "To")
			k.equal([]int{1, 7}, []int{t.Recipients[0].Attempts, t.Recipients[1].Attempts}, "Attempts")
			k.equal([]bool{false, true}, []bool{t.Recipients[0].Warned, t.Recipients[1].Warned}, "Warned")
			k.sameAttempt(attempt(due), t.Recipients[0].Last, "Last")
		}
	}
	k.now = due.Add(time.Hour)
	k.takeAll("b@x.example")
}

// takeLines: domain, stream and campaign part the lines.
func takeLines(k *kit) {
	want := map[sender.Line]int{}
	for i, campaign := range []string{"", "spring", "summer"} {
		for j, domain := range []string{"x.example", "y.example"} {
			m := k.mail(fmt.Sprint(i, j), "a@"+domain)
			m.Campaign = campaign
			k.submit(m)
			want[sender.Line{Domain: domain, Campaign: campaign}] = 1
		}
	}
	asked, got := map[sender.Line]int{}, map[sender.Line]int{}
	taken, _ := k.takeNext("", 100, func(l sender.Line) int { asked[l]++; return 5 })
	for _, t := range taken {
		got[t.Line]++
	}
	k.equal(want, got, "lines handed out")
	k.equal(want, asked, "lines that room was asked about, once each")
}

// takeRoom: no line gets more than its room, and the others are not held up.
func takeRoom(k *kit) {
	k.letters(5, "a", "full.example", nil)
	k.letters(5, "b", "some.example", nil)
	k.letters(5, "c", "free.example", nil)
	k.now = k.now.Add(time.Hour)
	rooms := map[string]int{"full.example": 0, "some.example": 2, "free.example": 100}
	room := func(l sender.Line) int { return rooms[l.Domain] }
	got := func() []string {
		taken, _ := k.takeNext("", 100, room)
		return sorted(addrs(each(taken)))
	}
	k.equal([]string{"b0@some.example", "b1@some.example", "c0@free.example", "c1@free.example", "c2@free.example", "c3@free.example", "c4@free.example"},
		got(), "with room 0, 2 and 100")
	rooms["full.example"], rooms["some.example"] = 1, -1
	k.equal([]string{"a0@full.example"}, got(), "with room 1 and -1")
	rooms["full.example"], rooms["some.example"] = 100, 100
	k.equal(7, len(got()), "the rest")
}

// takeRoomOfALongMessage: one message for more than there is room for comes in parts.
func takeRoomOfALongMessage(k *kit) {
	var to []string
	for i := range 25 {
		to = append(to, fmt.Sprintf("a%02d@x.example", i))
	}
	k.submit(k.mail("1", to...))
	var got []string
	for range 5 {
		taken, _ := k.takeNext("", 1000, func(sender.Line) int { return 5 })
		list := addrs(each(taken))
		k.check(len(list) > 0 && len(list) <= 5, "%d handed out with room for 5", len(list))
		got = append(got, list...)
	}
	k.equal(to, got, "recipients in parts of 5")
}

func takeMax(k *kit) {
	k.letters(20, "a", "x.example", nil)
	k.letters(20, "b", "y.example", nil)
	k.now = k.now.Add(time.Hour)
	k.equal(0, len(k.take(0)), "handed out with max 0")
	seen := map[string]bool{}
	for range 14 {
		got := each(k.take(3))
		k.check(len(got) <= 3, "%d single recipients handed out with max 3", len(got))
		for _, o := range got {
			k.check(!seen[o.addr], "%s is handed out twice", o.addr)
			seen[o.addr] = true
		}
	}
	k.equal(40, len(seen), "handed out in 14 calls of 3")
}

// takeInTurn: a line with much that was due long before does not keep others
// waiting: those with less than their share come whole.
func takeInTurn(k *kit) {
	k.letters(500, "a", "big.example", func(m *sender.Submission) { m.Due = m.Due.Add(-time.Hour) })
	var small []string
	for i := range 9 {
		domain := fmt.Sprintf("small%d.example", i)
		k.letters(3, "b", domain, func(m *sender.Submission) { m.ID += domain })
		small = append(small, "b0@"+domain, "b1@"+domain, "b2@"+domain)
	}
	k.now = k.now.Add(time.Hour)
	got := map[string]bool{}
	for _, o := range each(k.take(100)) {
		got[o.addr] = true
	}
	for _, addr := range small {
		k.check(got[addr], "%s waits behind 500 of another line: only %d of 100 were handed out, or all of that line", addr, len(got))
	}
	k.equal(100, len(got), "handed out")
}

// takeInTurnOverCalls: where a call is too small for all lines, the next goes on
// with the others.
func takeInTurnOverCalls(k *kit) {
	for i := range 10 {
		domain := fmt.Sprintf("d%d.example", i)
		k.letters(50, "a", domain, func(m *sender.Submission) { m.ID += domain })
	}
	k.now = k.now.Add(time.Hour)
	got := map[string]int{}
	for range 10 {
		for _, o := range each(k.take(4)) {
			got[o.t.Domain]++
		}
	}
	k.equal(10, len(got), "lines that had a turn in 10 calls of 4")
	for domain, n := range got {
		k.check(n <= 8, "%s had %d turns of 40, in ten lines", domain, n)
	}
}

func takeNext(k *kit) {
	_, next := k.takeNext("", 10, plenty)
	k.check(next.IsZero(), "next of an empty Queue is %v", next)
	for i, minutes := range []int{0, 0, 30, 90} {
		m := k.mail(fmt.Sprint(i), "a@x.example")
		m.Due = base.Add(time.Duration(minutes) * time.Minute)
		k.submit(m)
	}
	m := k.mail("other", "a@y.example")
	m.Due = base.Add(20 * time.Minute)
	k.submit(m)
	taken, next := k.takeNext("", 1, plenty)
	k.equal(1, len(taken), "handed out")
	k.check(!next.IsZero() && !next.After(k.now), "next is %v though another is due", next)
	taken, next = k.takeNext("", 10, plenty)
	k.equal(1, len(taken), "handed out")
	k.sameTime(base.Add(20*time.Minute), next, "next")
	k.now = base.Add(30 * time.Minute)
	_, next = k.takeNext("", 10, plenty)
	k.sameTime(base.Add(90*time.Minute), next, "next")
	k.now = base.Add(90 * time.Minute)
	_, next = k.takeNext("", 10, plenty)
	k.check(next.IsZero(), "next is %v though all is handed out", next)
	k.write(later(each(taken)[0], base.Add(100*time.Minute)))
	_, next = k.takeNext("", 10, plenty)
	k.sameTime(base.Add(100*time.Minute), next, "next after Later")
}

// takeNextAndRoom: what was passed over for want of room does not make the
// Sender ask again at once.
func takeNextAndRoom(k *kit) {
	k.letters(3, "a", "full.example", func(m *sender.Submission) { m.Due = k.now })
	m := k.mail("later", "b@y.example")
	m.Due = base.Add(time.Hour)
	k.submit(m)
	for _, room := range []int{0, 1} {
		_, next := k.takeNext("", 10, func(l sender.Line) int { return room })
		k.sameTime(base.Add(time.Hour), next, fmt.Sprintf("next with room %d", room))
	}
	k.now = base.Add(time.Hour)
	taken, _ := k.takeNext("", 10, func(l sender.Line) int { return 1 })
	k.equal([]string{"a1@full.example", "b@y.example"}, sorted(addrs(each(taken))), "handed out later")
	_, next := k.takeNext("", 10, func(l sender.Line) int { return 0 })
	k.check(next.IsZero(), "next is %v though the only one left has no room", next)
}

func takeEndedContext(k *kit) {
	k.submit(k.mail("1", "a@x.example"))
	k.withEndedContext(func() error {
		_, _, err := k.q.Take(k.ctx, "", k.now, 10, plenty)
		return err
	})
	k.takeAll("a@x.example")
}

// takeReopened: what was handed out and has not ended is handed out again, with
// what was last written of it.
func takeReopened(k *kit, crash bool) {
	due := base.Add(time.Hour)
	k.submit(k.mail("1", "taken@x.example", "sending@x.example", "not@x.example", "ended@x.example", "later@x.example", "again@x.example"))
	m := k.mail("2", "waiting@x.example")
	m.Due = due
	k.submit(m)
	var ids map[string]int64
	list := func(got []one) map[string]one {
		m := map[string]one{}
		for _, o := range got {
			m[o.addr] = o
			if ids != nil {
				k.equal(ids[o.addr], o.ID, "ID of %s", o.addr)
			}
		}
		return m
	}
	got := list(k.takeAll(m1To...))
	ids = map[string]int64{}
	for addr, o := range got {
		ids[addr] = o.ID
	}
	k.write(sender.Change{Kind: sender.Sending, ID: ids["sending@x.example"]}, sender.Change{Kind: sender.Sending, ID: ids["not@x.example"]},
		sender.Change{Kind: sender.Sending, ID: ids["again@x.example"]})
	warned := later(got["later@x.example"], due)
	warned.Warned = true
	k.write(sender.Change{Kind: sender.NotSending, ID: ids["not@x.example"]}, sent(got["ended@x.example"]), warned,
		later(got["again@x.example"], k.now))
	k.reopen(crash)
	delete(ids, "ended@x.example")

	got = list(k.takeAll("taken@x.example", "sending@x.example", "not@x.example", "again@x.example"))
	for addr, o := range got {
		k.equal(addr == "sending@x.example", o.InFlight, "InFlight of %s", addr)
	}
	k.check(got["taken@x.example"].Last == nil && got["taken@x.example"].Attempts == 0, "taken@ has %+v", got["taken@x.example"].Waiting)
	k.sameAttempt(attempt(k.now), got["again@x.example"].Last, "Last of again@")
	k.now = due
	ids = nil
	got = list(k.takeAll("later@x.example", "waiting@x.example"))
	o := got["later@x.example"]
	k.check(o.Warned && o.Attempts == 1 && !o.InFlight, "later@ comes as %+v", o.Waiting)
	k.sameAttempt(attempt(due), o.Last, "Last of later@")
}

var m1To = []string{"taken@x.example", "sending@x.example", "not@x.example", "ended@x.example", "later@x.example", "again@x.example"}
