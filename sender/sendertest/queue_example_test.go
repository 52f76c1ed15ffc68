package sendertest_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

func ExampleNewQueue() {
	sandbox, err := sendertest.New(sendertest.Options{Memory: true})
	if err != nil {
		panic(err)
	}
	defer sandbox.Close()
	sandbox.AddHost("mx.example.com", sendertest.Behavior{})
	sandbox.AddDomain("example.com", "mx.example.com")
	s, err := sender.New(sender.Config{Hostname: "mail.sender.example", Queue: sendertest.NewQueue(),
		Resolver: sandbox.Resolver(), Dial: sandbox.Dial})
	if err != nil {
		panic(err)
	}
	defer s.Shutdown(context.Background())
	m := &sender.Message{ID: "order-1", From: "shop@sender.example", To: []string{"ann@example.com"},
		Content: strings.NewReader("From: shop@sender.example\r\nSubject: Your order\r\n\r\nThanks!\r\n")}
	if err := s.Submit(context.Background(), m); err != nil {
		panic(err)
	}
	for r := range s.Results(context.Background()) {
		fmt.Println(r.Message.ID, r.Recipient, r.Outcome)
		s.Ack(r)
		break
	}
	// Output: order-1 ann@example.com sent
}
