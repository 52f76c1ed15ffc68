package throttle_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/volleymail/volley/throttle"
)

// monday is any time; owners of Controllers pass time.Now().
var monday = time.Date(2026, time.March, 2, 8, 59, 59, 0, time.UTC)

// send takes count messages as early as c allows and prints when they start.
func send(c throttle.Controller, now time.Time, count int) {
	for range count {
		if next := c.Next(now); next.After(now) {
			now = next
		}
		c.Take(now)
		fmt.Println(now.Format("15:04:05.000"))
	}
}

// A policy of one's own: limits for each destination.
func ExamplePolicyFunc() {
	policy := throttle.PolicyFunc(func(k throttle.Key) throttle.Limits {
		limits := throttle.DefaultLimits()
		if strings.HasSuffix(k.Domain, ".example") {
			limits.Rates = []throttle.Rate{{N: 20, Per: time.Second}, {N: 5000, Per: time.Hour}}
			limits.Conns = 2
		}
		return limits
	})

	c := policy.For(throttle.Key{Site: "mx.shop.example", Domain: "shop.example"})
	send(c, monday, 4)
	fmt.Println(c.Conns(monday).Max, "connections")
	// Output:
	// 08:59:59.000
	// 08:59:59.050
	// 08:59:59.100
	// 08:59:59.150
	// 2 connections
}

// officeHours is a Controller that lets messages start from 9 to 17 o'clock and
// has no opinion on the rest. All joins it to limits.
type officeHours struct{}

func (officeHours) Next(now time.Time) time.Time {
	y, m, d := now.Date()
	opens := time.Date(y, m, d, 9, 0, 0, 0, now.Location())
	switch {
	case now.Before(opens):
		return opens
	case now.Before(opens.Add(8 * time.Hour)):
		return now
	default:
		return opens.AddDate(0, 0, 1)
	}
}

func (officeHours) Take(time.Time)                       {}
func (officeHours) Observe(time.Time, throttle.Feedback) {}
func (officeHours) Binding(time.Time) string             { return "office hours" }

func (officeHours) Conns(time.Time) throttle.Conns {
	return throttle.Conns{Max: 100, Idle: time.Minute}
}

// A Controller of one's own, put together with limits.
func ExampleController() {
	limits := throttle.Limits{Rates: []throttle.Rate{{N: 2, Per: time.Second}}, Conns: 3}
	c := throttle.All(officeHours{}, throttle.MustNew(limits))

	fmt.Println(c.(throttle.Explainer).Binding(monday))
	send(c, monday, 3)
	fmt.Println(c.Conns(monday).Max, "connections")
	// Output:
	// office hours
	// 09:00:00.000
	// 09:00:00.500
	// 09:00:01.000
	// 3 connections
}

// backOff is a Controller that learns: half the pace for each reply that asks
// for less, a little more for each message that is accepted.
type backOff struct {
	gap  time.Duration
	next time.Time
}

func (b *backOff) Next(now time.Time) time.Time { return b.next }
func (b *backOff) Take(now time.Time)           { b.next = now.Add(b.gap) }

func (b *backOff) Conns(time.Time) throttle.Conns {
	return throttle.Conns{Max: 5, Messages: 50, Idle: 30 * time.Second}
}

func (b *backOff) Observe(now time.Time, f throttle.Feedback) {
	switch f.Event {
	case throttle.SlowDown:
		b.gap = min(2*b.gap, time.Minute)
		b.next = now.Add(max(b.gap, f.Wait))
	case throttle.Delivered:
		b.gap = max(b.gap-b.gap/100, 100*time.Millisecond)
	}
}

// A Controller that heeds what the destination says.
func ExampleFeedback() {
	c := &backOff{gap: time.Second}
	send(c, monday, 2)
	c.Observe(monday.Add(time.Second), throttle.Feedback{Event: throttle.SlowDown, Conns: 1, Wait: 10 * time.Second})
	send(c, monday, 2)
	// Output:
	// 08:59:59.000
	// 09:00:00.000
	// 09:00:10.000
	// 09:00:12.000
}

// Messages start evenly, unless a burst is allowed; also then no second sees
// more than five.
func ExampleNew() {
	c, err := throttle.New(throttle.Limits{Rates: []throttle.Rate{{N: 5, Per: time.Second}}, Burst: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	send(c, monday, 7)
	// Output:
	// 08:59:59.000
	// 08:59:59.000
	// 08:59:59.200
	// 08:59:59.400
	// 08:59:59.600
	// 09:00:00.000
	// 09:00:00.000
}

// A limit of one source and one that all sources to a site share.
func ExampleAll() {
	site := throttle.MustNew(throttle.Limits{Rates: []throttle.Rate{{N: 2, Per: time.Second}}})
	one := throttle.All(site, throttle.MustNew(throttle.Limits{Conns: 3}))
	two := throttle.All(site, throttle.MustNew(throttle.Limits{Conns: 4}))

	one.Take(monday)
	fmt.Println(two.Next(monday).Sub(monday), two.(throttle.Explainer).Binding(monday))
	// Output: 500ms 2/s
}

func ExampleParseRate() {
	r, err := throttle.ParseRate("5000/h")
	fmt.Println(r.N, r.Per, err)
	_, err = throttle.ParseRate("many/h")
	fmt.Println(err)
	// Output:
	// 5000 1h0m0s <nil>
	// throttle: rate "many/h": the number is not a whole number in range
}

func ExampleLimits_Validate() {
	fmt.Println(throttle.Limits{Rates: []throttle.Rate{{N: 20}}, Burst: -1}.Validate())
	// Output:
	// throttle: Rates[0] "20/0s": the period must be longer than 0
	// throttle: Burst "-1": must be 0 to 1000000000
}
