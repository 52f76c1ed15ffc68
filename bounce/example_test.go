package bounce_test

import (
	"fmt"
	"strings"

	"github.com/volleymail/volley/bounce"
)

func ExampleClassify() {
	for _, text := range []string{
		"550 5.1.1 <a@example.com>: Recipient address rejected: User unknown",
		"550 5.7.1 Too many invalid recipients",
		"451 4.7.1 Greylisted, try again in 5 minutes",
	} {
		c := bounce.Classify(bounce.ParseReply(text))
		fmt.Println(c.Category, c.Outcome(), c.Action, c.RetryAfter)
	}
	// Output:
	// invalid-mailbox hard suppress 0s
	// reputation-block block pause 1h0m0s
	// greylisted soft retry 5m0s
}

func ExampleParseReply() {
	r := bounce.ParseReply("host mx.example.com[192.0.2.1] said: 550-5.1.1 No such 550 5.1.1 user (in reply to RCPT TO command)")
	fmt.Println(r.Host, r.Stage, r.Code, r.Status)
	fmt.Println(r.Text)
	// Output:
	// mx.example.com rcpt 550 5.1.1
	// No such
	// user
}

func ExampleParseStatus() {
	st, ok := bounce.ParseStatus("5.2.2")
	fmt.Println(st[1], ok)
	// Output: 2 true
}

func ExampleLocal() {
	c := bounce.Classify(bounce.Local(bounce.StageDNS, bounce.StatusNullMX, "null MX"))
	fmt.Println(c.Category, c.Action)
	// Output: invalid-domain suppress
}

func ExampleLoadRules() {
	rules, err := bounce.LoadRules(strings.NewReader(`
version = "mine"

[[rule]]
id = "partner/maintenance"
codes = ["4xx"]
text = ['closed on sundays']
category = "remote-system-error"
scope = "site"
retry = "12h"
source = "the partner's postmaster, by phone"
samples = ["450 Closed on Sundays"]
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	c := rules.Classify(bounce.ParseReply("450 We are closed on Sundays."))
	fmt.Println(rules.Check(), c.Rule, c.Category, c.RetryAfter)
	// Output: [] partner/maintenance remote-system-error 12h0m0s
}

func ExampleRules_Rule() {
	c := bounce.Classify(bounce.ParseReply("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"))
	rule, _ := bounce.DefaultRules().Rule(c.Rule)
	fmt.Println(rule.ID, "-", rule.Source)
	// Output: yahoo/complaints - Yahoo TSS04 (senders.yahooinc.com)
}

func ExampleTranslate() {
	c, ok := bounce.Translate(bounce.SES, "Permanent/NoEmail")
	fmt.Println(c, ok)
	// Output: invalid-mailbox true
}
