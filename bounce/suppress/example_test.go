package suppress_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/bounce/suppress"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// letter is a mail that is the same for all.
type letter string

func (l letter) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(l))
	return int64(n), err
}

// The Sender asks the list before each message, and each result is told to it.
func Example() {
	sandbox, err := sendertest.New(sendertest.Options{}) // a small internet in this process
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	sandbox.AddDomain("example.com", "mx.example.com")
	sandbox.AddHost("mx.example.com", sendertest.Behavior{Script: func(s sendertest.Stage, line string) io.Reader {
		if s == sendertest.StageRcpt && strings.Contains(line, "bob@") {
			return strings.NewReader("550 5.1.1 no such user here\r\n")
		}
		return nil
	}})
	list, err := suppress.New(suppress.NewMemory(), nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial, Suppression: list})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(ctx)
	for range 2 {
		for _, r := range s.SendAll(ctx, &sender.Message{From: "bounces@shop.example", To: []string{"ann@example.com", "bob@example.com"},
			Content: letter("From: news@shop.example\r\nSubject: hello\r\n\r\nhello\r\n")}) {
			event := suppress.Event{Recipient: r.Recipient, Stream: r.Message.Stream, Source: r.Reply.String()}
			if r.Outcome == sender.Sent {
				err = list.Delivered(ctx, event)
			} else {
				_, err = list.Observe(ctx, event, r.Class)
			}
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(r.Recipient, r.Outcome)
		}
	}
	// Unordered output:
	// ann@example.com sent
	// bob@example.com rejected
	// ann@example.com sent
	// bob@example.com suppressed
}

// A List is given to the Sender as Config.Suppression, and told what becomes
// of each message.
func ExampleList() {
	ctx := context.Background()
	list, err := suppress.New(suppress.NewMemory(), nil)
	if err != nil {
		log.Fatal(err)
	}
	reply := bounce.ParseReply("550 5.1.1 <ann@example.com>: user unknown in virtual mailbox table")
	reply.Stage = bounce.StageRcpt
	event := suppress.Event{Recipient: "ann@example.com", Stream: "news", Source: reply.String(), Time: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	if _, err := list.Observe(ctx, event, bounce.Classify(reply)); err != nil {
		log.Fatal(err)
	}
	reason, suppressed, err := list.Suppressed(ctx, "Ann@Example.com", "receipts")
	fmt.Println(suppressed, err)
	fmt.Println(reason)
	// Output:
	// true <nil>
	// hard-bounce (invalid-mailbox) on 2026-11-21: 550 5.1.1 <ann@example.com>: user unknown in virtual mailbox table
}

func ExampleList_Import() {
	ctx := context.Background()
	list, err := suppress.New(suppress.NewMemory(), nil)
	if err != nil {
		log.Fatal(err)
	}
	file := strings.NewReader(`Email Address,Reason,Created
ann@example.com,Spam Complaint,2026-11-20 08:00:00
bob@example.com,bounce,2026-11-21 09:30:00
not an address,bounce,
`)
	done, err := list.Import(ctx, file, suppress.ReadOptions{})
	fmt.Println(done.Added, "added,", done.Bad, "bad", err)
	for _, bad := range done.Lines {
		fmt.Println(bad)
	}
	if err := list.Export(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 2 added, 1 bad <nil>
	// line 4: address "not an address": it has no @
	// email,stream,reason,category,source,created_at,expires_at
	// ann@example.com,,complained,,,2026-11-20T08:00:00Z,
	// bob@example.com,,hard-bounce,,,2026-11-21T09:30:00Z,
}

// Own rules: complaints end only the stream complained about, and a mailbox
// that is full three times in two weeks is held back for a month.
func ExampleRules() {
	rules := suppress.DefaultRules()
	rules.AllStreams = false
	rules.Bounces[bounce.MailboxFull] = suppress.Rule{After: 3, Within: 14 * 24 * time.Hour, Apart: 24 * time.Hour, For: 30 * 24 * time.Hour}
	_, err := suppress.New(suppress.NewMemory(), &rules)
	fmt.Println(err)
	rules.Bounces[bounce.ReputationBlock] = suppress.Rule{After: 1}
	_, err = suppress.New(suppress.NewMemory(), &rules)
	fmt.Println(err)
	// Output:
	// <nil>
	// suppress: Bounces[reputation-block]: this category says nothing about an address
}

// A list in a database, whose driver the program imports.
func ExampleNewSQL() {
	db, err := sql.Open("pgx", "postgres://shop@db.example/mail")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := suppress.NewSQL(db, suppress.SQLOptions{Dialect: suppress.Postgres})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateTables(context.Background()); err != nil {
		log.Fatal(err)
	}
	list, err := suppress.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = list // sender.Config.Suppression
}

// A bounce that came by mail.
func ExampleList_ObserveReport() {
	mail := strings.ReplaceAll(`From: MAILER-DAEMON@mx.example.com
To: bounces@shop.example
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; ann@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user here

--b--
`, "\n", "\r\n")
	report, err := bounce.Parse(strings.NewReader(mail))
	if err != nil {
		log.Fatal(err)
	}
	list, err := suppress.New(suppress.NewMemory(), nil)
	if err != nil {
		log.Fatal(err)
	}
	addresses, err := list.ObserveReport(context.Background(), suppress.Event{}, report)
	fmt.Println(addresses, err)
	// Output:
	// [ann@example.com] <nil>
}

// A list goes from one system to another without being held in memory.
func ExampleReadCSV() {
	file := strings.NewReader("EmailAddress,Reason,LastUpdateTime\nann@example.com,COMPLAINT,2026-11-20T08:00:00Z\n?,BOUNCE,\n")
	for entry, err := range suppress.ReadCSV(file, suppress.ReadOptions{}) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(entry.Address, entry.Cause, entry.Time)
	}
	// Output:
	// ann@example.com complained 2026-11-20 08:00:00 +0000 UTC
	// line 3: address "?": it has no @
}
