// Command first sends two mails, to a mail server that it brings along.
package main

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// hello is the mail to an address: header, empty line, body.
type hello string

func (to hello) WriteTo(w io.Writer) (int64, error) {
	n, err := fmt.Fprintf(w, "From: news@shop.example\nTo: %s\nSubject: Hello\n\nNice to meet you.\n", string(to))
	return int64(n), err
}

func main() {
	sandbox, err := sendertest.New(sendertest.Options{}) // a small internet in this process
	if err != nil {
		log.Fatal(err)
	}
	sandbox.AddHost("mx.example.com", sendertest.Behavior{})
	sandbox.AddDomain("example.com", "mx.example.com")
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial}) // without the last two: real mail
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	for _, r := range s.SendAll(context.Background(),
		&sender.Message{From: "bounces@shop.example", To: []string{"ann@example.com"}, Content: hello("ann@example.com")},
		&sender.Message{From: "bounces@shop.example", To: []string{"bob@nowhere.example"}, Content: hello("bob@nowhere.example")}) {
		fmt.Println(r.Recipient, r.Outcome, r.Err)
	}
}
