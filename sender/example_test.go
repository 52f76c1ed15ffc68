package sender_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
	"github.com/wneessen/go-mail"
)

// The examples send into a sandbox. Without Resolver and Dial a Sender asks the
// system's DNS and connects to the recipients' mail servers.
func Example() {
	sandbox, _ := sendertest.New(sendertest.Options{})
	defer sandbox.Close()
	sandbox.AddHost("mx.example.com", sendertest.Behavior{Recipient: func(addr string) *sendertest.Reply {
		if strings.HasPrefix(addr, "gone@") {
			return sendertest.Answer("550 5.1.1 No such user here")
		}
		return nil
	}})
	sandbox.AddDomain("example.com", "mx.example.com")

	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial})
	if err != nil {
		log.Fatal(err)
	}
	var letters []*sender.Message
	for _, to := range []string{"ann@example.com", "gone@example.com"} {
		m := mail.NewMsg()
		m.From("news@shop.example")
		m.To(to)
		m.Subject("News")
		m.SetBodyString(mail.TypeTextPlain, "Hello!")
		letter, err := sender.FromMail(m)
		if err != nil {
			log.Fatal(err)
		}
		letters = append(letters, letter)
	}
	for _, r := range s.SendAll(context.Background(), letters...) {
		fmt.Println(r.Recipient, r.Outcome, r.Class.Category, r.Class.Action)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ann@example.com sent unknown none
	// gone@example.com rejected invalid-mailbox suppress
}

// Send yields results as they become known. A campaign can be larger than
// memory: messages are taken from the sequence as there is room.
func ExampleSender_Send() {
	sandbox, _ := sendertest.New(sendertest.Options{})
	defer sandbox.Close()
	sandbox.AddHost("mx.example.com", sendertest.Behavior{})
	sandbox.AddDomain("example.com", "mx.example.com")
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	campaign := func(yield func(*sender.Message) bool) {
		for i := range 100 {
			if !yield(letter(fmt.Sprintf("user%d@example.com", i))) {
				return
			}
		}
	}
	n := map[sender.Outcome]int{}
	for r := range s.Send(ctx, campaign) {
		n[r.Outcome]++
	}
	fmt.Println(n)
	// Output: map[sent:100]
}

// A policy sets the limits of each destination.
func ExampleConfig_policy() {
	policy := throttle.PolicyFunc(func(k throttle.Key) throttle.Limits {
		l := throttle.DefaultLimits()
		if strings.HasSuffix(k.Site, ".bigmail.example") {
			l.Rates = []throttle.Rate{{N: 20, Per: time.Second}, {N: 5000, Per: time.Hour}}
			l.Conns = 2
		}
		return l
	})
	sandbox, _ := sendertest.New(sendertest.Options{})
	defer sandbox.Close()
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Policy: policy, Resolver: sandbox.Resolver()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(s.Snapshot().Destinations), "destinations are busy")
	s.Shutdown(context.Background())
	// Output: 0 destinations are busy
}

// New reports all mistakes of a Config together, each with its remedy.
func ExampleNew_mistakes() {
	_, err := sender.New(sender.Config{MaxConns: -1})
	for line := range strings.Lines(err.Error()) {
		fmt.Println(strings.Fields(line)[1])
	}
	// Output:
	// Config.Hostname
	// Config.MaxConns
}

// Snapshot answers "why is this slow".
func ExampleSender_Snapshot() {
	sandbox, _ := sendertest.New(sendertest.Options{})
	defer sandbox.Close()
	sandbox.AddHost("mx.example.com", sendertest.Behavior{})
	sandbox.AddDomain("example.com", "mx.example.com")
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial,
		Policy: throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: time.Hour}}}
		})})
	if err != nil {
		log.Fatal(err)
	}
	msgs := []*sender.Message{letter("a@example.com"), letter("b@example.com")}
	for r := range s.Send(context.Background(), slices.Values(msgs)) {
		fmt.Println(r.Recipient, r.Outcome)
		for _, d := range s.Snapshot().Destinations {
			fmt.Println(d.Site, "queued:", d.Queued, "held back by:", d.Binding)
		}
		break // the other would go out in an hour
	}
	s.Shutdown(context.Background())
	// Output:
	// a@example.com sent
	// mx.example.com queued: 1 held back by: 1/h
}
