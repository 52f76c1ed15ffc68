package sender_test

import (
	"context"
	"fmt"
	"log"
	"net/mail"
	"strings"
	"time"

	"github.com/volleymail/volley/sender"
	compose "github.com/volleymail/volley/sender/letter"
	"github.com/volleymail/volley/sender/sendertest"
)

// A campaign whose mails are a template's name and the recipients' data. The
// Queue is one for tests: with spool.Open of package sender/spool the campaign
// outlives the process.
func ExampleSender_Submit() {
	spring, err := compose.New(compose.Config{
		From:    mail.Address{Name: "The Shop", Address: "news@shop.example"},
		To:      "{{.email}}",
		Subject: "{{.first}}, your points: {{.points}}",
		Text:    "Hello {{.first}},\n\nyou have {{.points}} points.\n",
	})
	if err != nil {
		log.Fatal(err)
	}
	s, end := sandboxed(sender.Config{
		Queue:     sendertest.NewQueue(),
		Templates: map[string]sender.Template{"spring": spring},
	})
	defer end()
	ctx := context.Background()
	ann := &sender.Message{
		ID: "spring-2026", Campaign: "spring-2026", Template: "spring",
		From: "bounces@shop.example", To: []string{"ann@example.com"},
		Data: map[string]any{"email": "ann@example.com", "first": "Ann", "points": 120},
	}
	for range 2 { // as a job does that is started again: the second is passed over
		if err := s.Submit(ctx, ann); err != nil {
			log.Fatal(err)
		}
	}
	for r := range s.Results(ctx) {
		fmt.Println(r.Message.ID, r.Recipient, r.Outcome)
		s.Ack(r) // once it is stored: until then it comes again
		break    // a program goes on until ctx ends
	}
	// Output: spring-2026 ann@example.com sent
}

// What waits, why, and until when.
func ExampleSender_Queued() {
	s, end := sandboxed(sender.Config{Queue: sendertest.NewQueue()})
	defer end()
	ctx := context.Background()
	monday := time.Now().AddDate(0, 0, 7)
	if err := s.Submit(ctx, &sender.Message{
		ID: "spring-2026", Campaign: "spring-2026", NotBefore: monday,
		From: "bounces@shop.example", To: []string{"ann@example.com", "bob@example.com"},
		Content: strings.NewReader("From: news@shop.example\r\nSubject: Spring\r\n\r\nHello!\r\n"),
	}); err != nil {
		log.Fatal(err)
	}
	match := sender.Selection{Campaigns: []string{"spring-2026"}}
	for after := int64(0); ; {
		page, err := s.Queued(ctx, match, after, 100)
		if err != nil {
			log.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, w := range page {
			fmt.Println(w.Recipient, w.Attempts, w.Last == nil, w.Due.Equal(monday))
			after = w.ID
		}
	}
	// Output:
	// ann@example.com 0 true true
	// bob@example.com 0 true true
}
