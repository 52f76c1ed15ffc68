package sender_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// sandboxed is a Sender into a sandbox with one mail server.
func sandboxed(cfg sender.Config) (*sender.Sender, func()) {
	sandbox, err := sendertest.New(sendertest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	sandbox.AddHost("mx.example.com", sendertest.Behavior{})
	sandbox.AddDomain("example.com", "mx.example.com")
	cfg.Hostname, cfg.Resolver, cfg.Dial = "mail.shop.example", sandbox.Resolver(), sandbox.Dial
	s, err := sender.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return s, func() {
		if err := s.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
		sandbox.Close()
	}
}

// The newsletter stops at one site, until somebody has looked into it.
func ExampleSender_Suspend() {
	s, end := sandboxed(sender.Config{Streams: map[string]sender.Stream{"news": {}}})
	defer end()
	ctx := context.Background()
	news := sender.Selection{Streams: []string{"news"}, Sites: []string{"mx.example.com"}}
	if err := s.Suspend(ctx, news, time.Time{}); err != nil {
		log.Fatal(err)
	}
	for _, p := range s.Suspensions() {
		fmt.Println(p.Selection.Streams, p.Selection.Sites)
	}
	if err := s.Resume(ctx, news); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(s.Suspensions()))
	// Output:
	// [news] [mx.example.com]
	// 0
}

// A campaign that should not have started is canceled.
func ExampleSender_Cancel() {
	s, end := sandboxed(sender.Config{})
	defer end()
	if err := s.Cancel(context.Background(), "spring"); err != nil {
		log.Fatal(err)
	}
	m := letter("ann@example.com")
	m.Campaign = "spring"
	r := s.SendAll(context.Background(), m)[0]
	fmt.Println(r.Outcome, r.Err)
	// Output: canceled sender: <ann@example.com>: the campaign is canceled
}

// Mail to a site goes by another source, while the first is in trouble there.
func ExampleSender_Move() {
	s, end := sandboxed(sender.Config{Sources: []sender.Source{{Name: "east"}, {Name: "west"}},
		Streams: map[string]sender.Stream{"receipts": {Sources: []string{"east"}}}})
	defer end()
	ctx := context.Background()
	site := sender.Selection{Sites: []string{"mx.example.com"}}
	if err := s.Move(ctx, site, "west"); err != nil {
		log.Fatal(err)
	}
	m := letter("ann@example.com")
	m.Stream = "receipts"
	fmt.Println(s.SendAll(ctx, m)[0].Source)
	if err := s.Move(ctx, site, ""); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.SendAll(ctx, m)[0].Source)
	// Output:
	// west
	// east
}

// What waits for its scheduled start goes now.
func ExampleSender_SendNow() {
	s, end := sandboxed(sender.Config{})
	defer end()
	ctx := context.Background()
	m := letter("ann@example.com")
	m.Campaign, m.NotBefore = "spring", time.Now().Add(24*time.Hour)
	done := make(chan sender.Result)
	go func() { done <- s.SendAll(ctx, m)[0] }()
	for n := 0; n == 0; { // it may not have got there yet
		var err error
		if n, err = s.SendNow(ctx, sender.Selection{Campaigns: []string{"spring"}}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println((<-done).Outcome)
	// Output: sent
}
