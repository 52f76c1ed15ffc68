package queuetest

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/volleymail/volley/sender"
)

var submitTests = slices.Concat([]test{
	{"submit/once", submitOnce},
	{"submit/onceInABatch", submitOnceInABatch},
	{"submit/otherRecipients", submitOtherRecipients},
	{"submit/addresses", submitAddresses},
	{"submit/malformed", submitMalformed},
	{"submit/copies", submitCopies},
	{"submit/sharedBodies", submitSharedBodies},
	{"submit/contentTwice", submitContentTwice},
	{"submit/notBefore", submitNotBefore},
	{"submit/none", func(k *kit) { k.submit(); k.takeAll() }},
},
	both("submit/onceAfterReopening", submitOnceReopened),
	both("submit/roundTrip", submitRoundTrip),
	both("submit/neverUsedAgain", submitNumbers),
)

// submitOnce: a pair is passed over while it waits, is handed out, has ended,
// and is acknowledged.
func submitOnce(k *kit) {
	again := func() { k.submit(k.mail("1", "a@x.example")) }
	again()
	again()
	got := k.takeAll("a@x.example")
	again()
	k.takeAll()
	k.write(later(got[0], k.now))
	again()
	got = k.takeAll("a@x.example")
	seqs := k.end(got...)
	again()
	k.takeAll()
	k.acknowledge(seqs...)
	again()
	k.takeAll()
	k.equal(0, len(k.list(sender.Selection{})), "recipients left")
	k.equal(0, len(k.results()), "results left")
}

func submitOnceReopened(k *kit, crash bool) {
	k.submit(k.mail("waits", "a@x.example"), k.mail("ended", "a@x.example"), k.mail("gone", "a@x.example"))
	for _, o := range k.takeAll("a@x.example", "a@x.example", "a@x.example") {
		switch o.t.Message.ID {
		case "ended":
			k.end(o)
		case "gone":
			k.acknowledge(k.end(o)...)
		}
	}
	k.reopen(crash)
	k.submit(k.mail("waits", "A@x.example", "a@x.example"), k.mail("ended", "a@X.example"), k.mail("gone", "a@x.example"))
	k.takeAll("A@x.example", "a@x.example")
}

func submitOnceInABatch(k *kit) {
	k.submit(k.mail("1", "a@x.example", "b@x.example", "a@x.example"), k.mail("1", "b@x.example"), k.mail("2", "a@x.example"))
	k.takeAll("a@x.example", "b@x.example", "a@x.example")
}

// submitOtherRecipients: the same ID with other recipients brings in those that
// are new, with the content that came with them.
func submitOtherRecipients(k *kit) {
	k.submit(k.mail("1", "a@x.example"))
	second := k.mail("1", "a@x.example", "b@x.example", "c@y.example")
	second.Body = []byte("the second\r\n")
	k.submit(second)
	for _, o := range k.takeAll("a@x.example", "b@x.example", "c@y.example") {
		k.equal("1", o.t.Message.ID, "ID of %s", o.addr)
		if o.addr != "a@x.example" {
			k.equal("the second\r\n", k.text(o.t.Message), "content for %s", o.addr)
		}
	}
}

// submitAddresses: domains are compared without case, local parts with it, and
// addresses come back as they were given.
func submitAddresses(k *kit) {
	k.submit(k.mail("1", "Ann@Example.COM", "ann@Bücher.example", "ann@[192.0.2.1]"))
	k.submit(k.mail("1", "Ann@example.com", "ann@example.com", "ann@BÜCHER.example", "ann@XN--bcher-kva.example", "ann@[192.0.2.1]"))
	domains := map[string]string{}
	for _, o := range k.takeAll("Ann@Example.COM", "ann@example.com", "ann@Bücher.example", "ann@[192.0.2.1]") {
		domains[o.addr] = o.t.Domain
	}
	k.equal(map[string]string{"Ann@Example.COM": "example.com", "ann@example.com": "example.com",
		"ann@Bücher.example": "xn--bcher-kva.example", "ann@[192.0.2.1]": "[192.0.2.1]"}, domains, "Domain by recipient")
}

func submitMalformed(k *kit) {
	bad := []string{"nobody", "", "two words@x.example", "a@b@", "<a@x.example>", "Nobody", "\xff@x.example", "nul\x00@x.example", "a\r\nb@x.example", "a@-x.example"}
	k.submit(k.mail("1", append(bad, "good@x.example")...))
	k.submit(k.mail("1", bad...))
	got := k.takeAll(append(bad, "good@x.example")...)
	for _, o := range got {
		if o.addr != "good@x.example" {
			k.equal(sender.Line{}, o.t.Line, "Line of %q", o.addr)
		}
	}
	k.end(got...)
	k.equal(sorted(addrs(got)), sorted(resultsOf(k.results())), "recipients of the Results")
}

// submitCopies: what was submitted can be changed afterwards.
func submitCopies(k *kit) {
	m := k.mail("1", "a@x.example")
	m.Tags = map[string]string{"k": "v"}
	m.DSN = &sender.DSN{Notify: "NEVER"}
	d := k.mail("2", "a@y.example")
	d.Template, d.Body, d.Data = "welcome", nil, []byte(`{"name":"Ann"}`)
	k.submit(m, d)
	copy(m.Body, "XXXXXXXX")
	copy(d.Data, "XXXXXXXX")
	m.To[0], m.Tags["k"], m.DSN.Notify = "other@x.example", "other", "SUCCESS"
	for _, o := range k.takeAll("a@x.example", "a@y.example") {
		if o.addr == "a@y.example" {
			k.equal(json.RawMessage(`{"name":"Ann"}`), o.t.Message.Data, "Data")
			continue
		}
		k.equal("Subject: 1\r\n\r\nHello\r\n", k.text(o.t.Message), "content")
		k.equal(map[string]string{"k": "v"}, o.t.Message.Tags, "Tags")
		k.equal(&sender.DSN{Notify: "NEVER"}, o.t.Message.DSN, "DSN")
	}
}

// submitSharedBodies: messages with the same Body, in a batch or over several,
// keep it until the last of them has ended.
func submitSharedBodies(k *kit) {
	body := func(id, to string) *sender.Submission {
		m := k.mail(id, to)
		m.Body = []byte("the same for all\r\n")
		return m
	}
	k.submit(body("1", "a@x.example"), body("2", "b@y.example"), k.mail("3", "c@z.example"))
	first := k.takeAll("a@x.example", "b@y.example", "c@z.example")
	k.submit(body("4", "d@x.example"))
	seqs := k.end(first[0], first[1], first[2])
	k.acknowledge(seqs...)
	k.reopen(true)
	fourth := k.takeAll("d@x.example")
	k.equal("the same for all\r\n", k.text(fourth[0].t.Message), "content of the last")
	k.end(fourth...)
	k.submit(body("5", "e@x.example"))
	k.equal("the same for all\r\n", k.text(k.takeAll("e@x.example")[0].t.Message), "content that was there before")
}

// submitContentTwice: Content gives the same each time, to many at once.
func submitContentTwice(k *kit) {
	m := k.mail("1", "a@x.example")
	m.Body = make([]byte, 300_000)
	for i := range m.Body {
		m.Body[i] = byte(i * i >> 8) // any octets, NUL too
	}
	empty := k.mail("2", "b@x.example")
	empty.Body = []byte{}
	k.submit(m, empty)
	for _, o := range k.takeAll("a@x.example", "b@x.example") {
		want := string(m.Body)
		if o.addr == "b@x.example" {
			want = ""
		}
		var wg sync.WaitGroup
		texts, errs := make([]string, 4), make([]error, 4)
		for i := range texts {
			wg.Go(func() { texts[i], errs[i] = read(o.t.Message) })
		}
		wg.Wait()
		k.ok(errors.Join(errs...))
		for _, got := range texts {
			k.check(got == want, "Content of %d octets came back as %d others", len(want), len(got))
		}
	}
}

func submitNotBefore(k *kit) {
	m := k.mail("future", "a@x.example")
	m.NotBefore = k.now.Add(time.Hour)
	m.Due = m.NotBefore
	past := k.mail("past", "b@x.example")
	past.NotBefore = k.now.Add(-time.Hour)
	start := k.now
	k.submit(m, past)
	k.sameTime(start, k.takeAll("b@x.example")[0].t.Born, "Born of what could start at once")
	k.now = k.now.Add(time.Hour)
	o := k.takeAll("a@x.example")[0]
	k.sameTime(m.NotBefore, o.t.Born, "Born")
	k.sameTime(m.NotBefore, o.t.Message.NotBefore, "NotBefore")
	for _, q := range k.list(sender.Selection{Messages: []string{"future"}}) {
		k.sameTime(m.NotBefore, q.Submitted, "Submitted")
	}
}

// full is a message with every field set that a Queue keeps.
func full(now time.Time) *sender.Message {
	return &sender.Message{
		ID: "id-ü", Stream: "news", Campaign: "spring ü", From: "bounces+1@sender.example", To: []string{"a@x.example", "b@x.example"},
		Template: "welcome", Engaged: true, NotBefore: now.Add(-time.Hour), Zone: "Europe/Berlin",
		DSN:  &sender.DSN{Notify: "FAILURE,DELAY", Return: "HDRS", EnvID: "QQ 314159"},
		Tags: map[string]string{"list": "all", "ü": "\"quoted\"\n"},
	}
}

// submitRoundTrip: a message comes back as it went in, before and after
// reopening, whether it has a Body or a Template.
func submitRoundTrip(k *kit, crash bool) {
	template := &sender.Submission{Message: full(k.now), Data: []byte(`{"name":"Ann","n":[1,2.50]}`), Due: k.now}
	bare := &sender.Submission{Message: &sender.Message{ID: "bare", To: []string{"c@x.example"}, Stream: "news"}, Body: []byte("Hi\r\n"), Due: k.now}
	nodata := &sender.Submission{Message: &sender.Message{ID: "nodata", To: []string{"d@x.example"}, Stream: "news", Template: "welcome"}, Due: k.now}
	k.submit(template, bare, nodata)
	numbers := map[string]int64{}
	for range 2 {
		taken, _ := k.takeNext("news", 100, plenty)
		k.equal(3, len(taken), "messages handed out")
		for _, t := range taken {
			k.sameTime(base, t.Born, "Born")
			if n := numbers[t.Message.ID]; n != 0 {
				k.equal(n, t.Number, "Number of %s after reopening", t.Message.ID)
			}
			numbers[t.Message.ID] = t.Number
			switch t.Message.ID {
			case "bare":
				k.equal("Hi\r\n", k.text(t.Message), "content")
				k.check(t.Message.Data == nil, "a message without Data has some: %v", t.Message.Data)
				k.sameMessage(bare.Message, t.Message)
			case "nodata":
				k.check(t.Message.Content == nil, "a message with a Template has Content")
				k.check(t.Message.Data == nil, "a message without Data has some: %v", t.Message.Data)
				k.sameMessage(nodata.Message, t.Message)
			default:
				k.equal(json.RawMessage(template.Data), t.Message.Data, "Data")
				k.check(t.Message.Content == nil, "a message with a Template has Content")
				k.sameMessage(template.Message, t.Message)
			}
		}
		k.reopen(crash)
	}
}

// sameMessage compares what a Queue keeps, but for Content and Data.
func (k *kit) sameMessage(want, got *sender.Message) {
	k.Helper()
	k.sameTime(want.NotBefore, got.NotBefore, "NotBefore")
	w, g := envelope(want), envelope(got)
	w.NotBefore, g.NotBefore = time.Time{}, time.Time{}
	k.equal(w, g, "message %s", want.ID)
}

// envelope leaves out what is compared in other ways.
func envelope(m *sender.Message) sender.Message {
	c := sender.Message{ID: m.ID, Stream: m.Stream, Campaign: m.Campaign, From: m.From, To: m.To, Template: m.Template,
		Engaged: m.Engaged, NotBefore: m.NotBefore, Zone: m.Zone, DSN: m.DSN}
	if len(m.Tags) > 0 { // nil and empty are one
		c.Tags = m.Tags
	}
	return c
}

// submitNumbers: numbers of messages, recipients and results are not used
// again, though the last ones are gone when the Queue is opened again.
func submitNumbers(k *kit, crash bool) {
	ids, numbers, seqs := map[int64]bool{}, map[int64]bool{}, map[int64]bool{}
	last := int64(0)
	for _, id := range []string{"1", "2", "3"} {
		k.submit(k.mail(id, "a@x.example", "b@x.example"))
		got := k.takeAll("a@x.example", "b@x.example")
		k.check(!numbers[got[0].t.Number], "Number %d is used again", got[0].t.Number)
		k.equal(got[0].t.Number, got[1].t.Number, "Number of the other recipient")
		numbers[got[0].t.Number] = true
		for i, seq := range k.end(got...) {
			k.check(seq > last, "Seq %d comes after %d", seq, last)
			k.check(!ids[got[i].ID], "ID %d is used again", got[i].ID)
			k.check(got[i].ID > 0, "ID %d is not positive", got[i].ID)
			last, ids[got[i].ID], seqs[seq] = seq, true, true
			k.acknowledge(seq)
		}
		k.reopen(crash)
	}
}
