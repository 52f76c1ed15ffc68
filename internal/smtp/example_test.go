package smtp

import (
	"context"
	"fmt"
)

func ExampleSession_Run() {
	client, server := memPair(-1, -1) // a net.Conn to the server
	go (&receiver{ext: []string{"PIPELINING"}, refuse: "nobody"}).serve(server)

	ctx := context.Background()
	s, err := Open(ctx, client, &Options{Hello: "client.example", Host: "mx.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Quit(ctx)

	todo := []*Transaction{
		message("Subject: 1\r\n\r\nhello\r\n", "you@example.com", "nobody@example.com"),
		message("Subject: 2\r\n\r\nhello\r\n", "you@example.com"),
	}
	err = s.Run(ctx, func(inFlight bool) *Transaction {
		if len(todo) == 0 {
			return nil
		}
		t := todo[0]
		todo = todo[1:]
		return t
	}, func(t *Transaction) {
		for _, r := range t.Rcpts {
			fmt.Println(r.Addr, r.Fate, "-", r.Reply)
		}
	})
	fmt.Println(err)
	// Output:
	// you@example.com sent - 250 2.0.0 queued
	// nobody@example.com refused - 550 5.1.1 no such user
	// you@example.com sent - 250 2.0.0 queued
	// <nil>
}
