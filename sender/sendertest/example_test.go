package sendertest_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/smtp"
	"strings"
	"time"

	"github.com/volleymail/volley/sender/sendertest"
)

// send stands for the program under test: it delivers a message to the first
// mail server of the recipient's domain.
func send(s *sendertest.Sandbox, to string) error {
	ctx := context.Background()
	_, domain, _ := strings.Cut(to, "@")
	route, err := s.Resolver().Lookup(ctx, domain)
	if err != nil {
		return err
	}
	host := route.Hosts[0]
	nc, err := s.Dial(ctx, "tcp", host.Addrs[0].String()+":25")
	if err != nil {
		return err
	}
	defer nc.Close()
	c, err := smtp.NewClient(nc, host.Name)
	if err != nil {
		return err
	}
	if err := deliver(c, "news@example.net", []string{to}, "Subject: News\r\n\r\nNo news.\r\n"); err != nil {
		return err
	}
	return c.Quit()
}

func Example() {
	sandbox, err := sendertest.New(sendertest.Options{Memory: true}) // in a test: Start(t, ...)
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	mx := sandbox.AddHost("mx.example.com", sendertest.Behavior{
		Recipient: func(addr string) *sendertest.Reply {
			if addr == "nobody@example.com" {
				return sendertest.Answer("550 5.1.1 No such user")
			}
			return nil
		},
	})
	sandbox.AddDomain("example.com", "mx.example.com")

	fmt.Println(send(sandbox, "ann@example.com"))
	fmt.Println(send(sandbox, "nobody@example.com"))
	for _, m := range mx.Messages() {
		fmt.Printf("%s -> %s: %q\n", m.From, m.Rcpts, m.Data)
	}
	// Output:
	// <nil>
	// 550 "5.1.1 No such user"
	// news@example.net -> [ann@example.com]: "Subject: News\r\n\r\nNo news.\r\n"
}

func ExampleSandbox_SetDomain() {
	sandbox, err := sendertest.New(sendertest.Options{Memory: true})
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	sandbox.SetDomain("no-mail.example", sendertest.Domain{NullMX: true})
	sandbox.SetDomain("broken.example", sendertest.Domain{Fail: true})

	for _, to := range []string{"a@no-mail.example", "a@broken.example", "a@unknown.example"} {
		fmt.Println(to, send(sandbox, to) != nil)
	}
	// Output:
	// a@no-mail.example true
	// a@broken.example true
	// a@unknown.example true
}

func ExampleHost_SetBehavior() {
	sandbox, err := sendertest.New(sendertest.Options{Memory: true})
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	mx := sandbox.AddHost("mx.example.com", sendertest.Behavior{Greeting: sendertest.Answer("554 5.7.1 Your address is listed")})
	sandbox.AddDomain("example.com", "mx.example.com")

	fmt.Println(send(sandbox, "ann@example.com"))
	mx.SetBehavior(sendertest.Behavior{}) // delisted
	fmt.Println(send(sandbox, "ann@example.com"))
	// Output:
	// 554 "5.7.1 Your address is listed"
	// <nil>
}

func ExampleHost_Stats() {
	sandbox, err := sendertest.New(sendertest.Options{Memory: true})
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	mx := sandbox.AddHost("mx.example.com", sendertest.Behavior{
		Rate: sendertest.Rate{N: 2, Per: time.Hour},
	})
	sandbox.AddDomain("example.com", "mx.example.com")
	for range 5 {
		_ = send(sandbox, "ann@example.com")
	}
	stats := mx.Stats()
	fmt.Println(stats.TotalConns, "connections")
	fmt.Println(stats.Accepted, "accepted")
	fmt.Println(stats.SlowedDown, "slowed down")
	// Output:
	// 5 connections
	// 2 accepted
	// 3 slowed down
}

func ExampleRaw() {
	sandbox, err := sendertest.New(sendertest.Options{Memory: true})
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	sandbox.AddHost("mx.example.com", sendertest.Behavior{
		Script: sendertest.Raw(map[sendertest.Stage]string{
			sendertest.StageMail: "out of my mind\r\n", // in place of a reply
		}),
	})
	sandbox.AddDomain("example.com", "mx.example.com")
	fmt.Println(send(sandbox, "ann@example.com") != nil)
	// Output: true
}

func ExampleEndless() {
	b := make([]byte, 12)
	_, _ = io.ReadFull(sendertest.Endless("250-"), b)
	fmt.Printf("%s\n", b)
	// Output: 250-250-250-
}

func ExampleSandbox_Dial() {
	sandbox, err := sendertest.New(sendertest.Options{Memory: true})
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	mx := sandbox.AddHost("mx.example.com", sendertest.Behavior{Refuse: true})
	_, err = sandbox.Dial(context.Background(), "tcp", mx.Addr().String()+":25")
	fmt.Println(err)
	// Output: dial tcp 198.18.0.1:25: connect: connection refused
}
