package sender_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/wneessen/go-mail"
)

// A stream that asks for notices: here the program takes them itself. Without
// Handle they go to the return path, through Config.Queue.
func ExampleNotices() {
	sandbox, _ := sendertest.New(sendertest.Options{})
	defer sandbox.Close()
	sandbox.AddHost("mx.example.com", sendertest.Behavior{Recipient: func(string) *sendertest.Reply {
		return sendertest.Answer("550 5.1.1 No such user here")
	}})
	sandbox.AddDomain("example.com", "mx.example.com")
	notices := &sender.Notices{Handle: func(n *sender.Notice) {
		var content bytes.Buffer
		n.Message.Content.WriteTo(&content)
		report, err := bounce.Parse(&content)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n.Kind, "for", n.Message.To[0])
		fmt.Println(report.Recipients[0].Address, report.Recipients[0].Diagnostic)
	}}
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial,
		Streams: map[string]sender.Stream{"receipts": {Notices: notices}}})
	if err != nil {
		log.Fatal(err)
	}
	m := mail.NewMsg()
	m.From("orders@shop.example")
	m.To("gone@example.com")
	m.Subject("Your receipt")
	m.SetBodyString(mail.TypeTextPlain, "Thank you.")
	receipt, err := sender.FromMail(m)
	if err != nil {
		log.Fatal(err)
	}
	receipt.Stream = "receipts"
	s.SendAll(context.Background(), receipt)
	if err := s.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// failure for orders@shop.example
	// gone@example.com smtp; 550 5.1.1 No such user here
}
