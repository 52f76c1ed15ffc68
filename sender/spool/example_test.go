package spool_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/spool"
)

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
