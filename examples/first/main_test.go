package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

func Example() {
	main()
	// Output:
	// ann@example.com sent <nil>
	// bob@nowhere.example rejected sender: <bob@nowhere.example>: dns: mx: nowhere.example does not exist (NXDOMAIN)
}

// A policy of one's own.
func Example_policy() {
	policy := throttle.PolicyFunc(func(k throttle.Key) throttle.Limits {
		limits := throttle.DefaultLimits()
		if strings.HasSuffix(k.Site, ".bigmail.example") { // all domains whose mail bigmail takes
			limits.Rates = []throttle.Rate{{N: 20, Per: time.Second}, {N: 5000, Per: time.Hour}}
			limits.Conns = 2
		}
		return limits
	})

	sandbox, err := sendertest.New(sendertest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Close()
	sandbox.AddHost("mx.bigmail.example", sendertest.Behavior{})
	sandbox.AddDomain("example.com", "mx.bigmail.example")
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Policy: policy, Resolver: sandbox.Resolver(), Dial: sandbox.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Shutdown(context.Background())

	var messages []*sender.Message
	for _, to := range []string{"ann@example.com", "bob@example.com", "cleo@example.com"} {
		messages = append(messages, &sender.Message{From: "bounces@shop.example", To: []string{to}, Content: hello(to)})
	}
	start := time.Now()
	s.SendAll(context.Background(), messages...)
	fmt.Println("the third mail left 100 ms after the first:", time.Since(start) >= 100*time.Millisecond)
	// Output:
	// the third mail left 100 ms after the first: true
}

// The README shows the program as it is, and it stays short.
func TestREADME(t *testing.T) {
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	require.Less(t, strings.Count(string(program), "\n"), 40)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "```go\n"+string(program)+"```\n")
}

// And its policy is the one of the example above.
func TestREADMEPolicy(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```go\npolicy := ")
	require.True(t, found, "the README has no policy")
	block, _, _ := strings.Cut(rest, "```")
	source, err := os.ReadFile("main_test.go")
	require.NoError(t, err)
	dedented := strings.ReplaceAll(string(source), "\n\t", "\n")
	require.Contains(t, dedented, "policy := "+block)
}
