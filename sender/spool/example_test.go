package spool_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/sender/spool"
)

// What one process submits, the next one sends, or tells what became of it.
func Example() {
	sandbox, err := sendertest.New(sendertest.Options{}) // without it, and Resolver and Dial: real mail
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	sandbox.AddHost("mx.example.com", sendertest.Behavior{})
	sandbox.AddDomain("example.com", "mx.example.com")
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	process := func(do func(s *sender.Sender)) {
		queue, err := spool.Open(filepath.Join(dir, "mail.db"), nil)
		if err != nil {
			log.Fatal(err)
		}
		s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Queue: queue,
			Resolver: sandbox.Resolver(), Dial: sandbox.Dial})
		if err != nil {
			log.Fatal(err)
		}
		do(s)
		if err := s.Shutdown(ctx); err != nil { // first the Sender, then its Queue
			log.Fatal(err)
		}
		if err := queue.Close(); err != nil {
			log.Fatal(err)
		}
	}
	process(func(s *sender.Sender) {
		if err := s.Submit(ctx, &sender.Message{ID: "welcome", From: "bounces@shop.example", To: []string{"ann@example.com"},
			Content: strings.NewReader("From: us@shop.example\r\nTo: ann@example.com\r\nSubject: Welcome\r\n\r\nHello Ann\r\n")}); err != nil {
			log.Fatal(err)
		}
	})
	process(func(s *sender.Sender) {
		for r := range s.Results(ctx) {
			fmt.Println(r.Message.ID, r.Recipient, r.Outcome)
			s.Ack(r)
			break // a program goes on until ctx ends
		}
	})
	// Output: welcome ann@example.com sent
}

// What was submitted is there after a restart.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "spool.db")

	queue, err := spool.Open(path, nil) // sender.Config.Queue
	if err != nil {
		log.Fatal(err)
	}
	ctx, now := context.Background(), time.Now()
	err = queue.Submit(ctx, now, &sender.Submission{
		Message: &sender.Message{ID: "welcome/42", Stream: "welcome", From: "bounces@example.com", To: []string{"ann@example.org"}},
		Body:    []byte("From: us@example.com\r\nTo: ann@example.org\r\nSubject: Welcome\r\n\r\nHello Ann\r\n"),
		Due:     now,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := queue.Close(); err != nil {
		log.Fatal(err)
	}

	queue, err = spool.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer queue.Close()
	waiting, err := queue.List(ctx, sender.Selection{}, 0, 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range waiting {
		fmt.Println(w.MessageID, w.Recipient, w.Attempts)
	}
	// Output: welcome/42 ann@example.org 0
}

// A copy is taken while the Spool runs.
func ExampleSpool_Backup() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	queue, err := spool.Open(filepath.Join(dir, "spool.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer queue.Close()
	fmt.Println(queue.Backup(context.Background(), filepath.Join(dir, "monday.db")))
	// Output: <nil>
}
