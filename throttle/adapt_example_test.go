package throttle_test

import (
	"bytes"
	"fmt"
	"time"

	"github.com/volleymail/volley/throttle"
)

// A Controller that finds out itself how fast a destination takes mail, within
// limits.
func ExampleAdaptive() {
	limits := throttle.Limits{Rates: []throttle.Rate{{N: 50, Per: time.Second}}, Conns: 10}
	c := throttle.Adaptive(throttle.MustNew(limits), throttle.AdaptOptions{})

	now := monday
	c.Take(now)
	c.Observe(now, throttle.Feedback{Event: throttle.SlowDown, Conns: 1, Text: "421 4.7.0 Try again later"})
	fmt.Println(c.Next(now).Sub(now))
	d := c.(throttle.Detailer).Detail(now)
	fmt.Println(d.Limit, "by", d.Rule, "after", d.Reply)
	// Output:
	// 1s
	// paused by adaptive after 421 4.7.0 Try again later
}

// A policy whose destinations adapt: a type with one method.
type adapting struct{ throttle.Limits }

func (a adapting) For(throttle.Key) throttle.Controller {
	return throttle.Adaptive(throttle.MustNew(a.Limits), throttle.AdaptOptions{})
}

func ExampleForecast() {
	policy := adapting{throttle.Limits{Rates: []throttle.Rate{{N: 20, Per: time.Second}, {N: 5000, Per: time.Hour}}, Conns: 10}}
	report := throttle.Forecast(policy, monday,
		throttle.Load{Site: "mx.big.example", Domain: "big.example", Messages: 18_000},
		throttle.Load{Site: "mx.shop.example", Domain: "shop.example", Messages: 3000})
	for _, site := range report.Sites {
		most := site.Waiting[0]
		fmt.Printf("%s: ends after %v, mostly waits for %s\n", site.Site, site.Ends.Sub(monday).Round(time.Minute), most.Limit)
	}
	// Output:
	// mx.big.example: ends after 3h3m0s, mostly waits for 5000/h
	// mx.shop.example: ends after 3m0s, mostly waits for 20/s
}

// Google's recipe for "unusual rate": stop for ten minutes, go on with one
// connection, then one more at a time.
func ExampleTrigger() {
	triggers, err := throttle.NewTriggers([]throttle.Trigger{{
		ID:     "google/unusual-rate",
		Codes:  []string{"4.7.28"},
		Action: throttle.Recover,
		For:    10 * time.Minute,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := throttle.React(throttle.MustNew(throttle.Limits{Conns: 5}), triggers)

	c.Observe(monday, throttle.Feedback{Event: throttle.SlowDown, Conns: 5, Text: "421 4.7.28 Unusual rate of mail"})
	now := c.Next(monday)
	fmt.Println("stopped for", now.Sub(monday), "by", c.(throttle.Detailer).Detail(monday).Rule)
	for range 4 {
		fmt.Println(c.Conns(now).Max, "connections")
		c.Observe(now, throttle.Feedback{Event: throttle.Delivered, Conns: 1})
		now = now.Add(time.Minute)
	}
	// Output:
	// stopped for 10m0s by google/unusual-rate
	// 1 connections
	// 2 connections
	// 3 connections
	// 4 connections
}

// A new source is warmed up; the one called "old" is warm already.
func ExampleWarmup() {
	warmup, err := throttle.NewWarmup(throttle.Default(), throttle.WarmupOptions{
		Curve: throttle.Curve{100, 150, 250, 400},
		Unit: func(k throttle.Key) string {
			if k.Source == "old" {
				return ""
			}
			return k.Source
		},
		Spread: 10 * time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := warmup.For(throttle.Key{Site: "mx.shop.example", Source: "new"}) // the engine does this
	send(c, monday, 3)
	for _, p := range warmup.Progress(monday) {
		fmt.Printf("%s at %s: day %d, %d of %d\n", p.Unit, p.Site, p.Day, p.Sent, p.Cap)
	}

	var file bytes.Buffer // to go on after a restart
	if err := warmup.Save(&file); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 08:59:59.000
	// 09:05:59.000
	// 09:11:59.000
	// new at mx.shop.example: day 1, 3 of 100
}

func ExampleCurves() {
	curve, _ := throttle.Curves("standard")
	fmt.Println(curve[:5])
	// Output: [200 300 450 675 1010]
}
