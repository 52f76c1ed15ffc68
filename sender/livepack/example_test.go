package livepack_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"testing/fstest"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender/livepack"
	"github.com/volleymail/volley/throttle"
)

// A pack of profiles from a file system. From a web server it would be
// livepack.URL("https://packs.example.com/profiles.pack", nil), and Run in place
// of Fetch would keep up with it.
func Example() {
	public, private, err := ed25519.GenerateKey(nil) // the publisher's; only public is needed here
	if err != nil {
		fmt.Println(err)
		return
	}
	signed := livepack.Sign([]byte(`
version = "2999-01-01.1"

[profile.example]
mx = ["example.net"]
conns = 2
source = "their postmaster"
samples = ["example.com: mx.example.net"]
`), private)
	shelf := fstest.MapFS{"profiles.pack": {Data: signed}}

	policy := throttle.Profiles() // for sender.Config.Policy
	updater, err := livepack.New(livepack.Config{
		Source:  livepack.FS(shelf, "profiles.pack"),
		Target:  livepack.Profiles(policy, throttle.Clamp{}),
		Keys:    []ed25519.PublicKey{public},
		Observe: func(e livepack.Event) { fmt.Println(e) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	updater.Fetch(context.Background())
	key := throttle.Key{Site: "mx.example.net", Domain: "example.com"}
	fmt.Println(policy.Explain(key).Limits.Conns)

	shelf["profiles.pack"].Data = signed[:len(signed)-10]
	updater.Fetch(context.Background())

	if _, err := updater.Rollback(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(policy.Explain(key).Limits.Conns)
	// Output:
	// profiles: adopted 2999-01-01.1
	// 2
	// profiles: refused: livepack: bad signature (running: 2999-01-01.1)
	// profiles: rolled back 2026-11-21.1
	// 5
}

// Bounce rules are held by a RuleSet, which classifies replies by those in place.
func ExampleRules() {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	shelf := fstest.MapFS{"rules.pack": {Data: livepack.Sign([]byte("version = \"2999-01-01.1\"\n"), private)}}
	rules := livepack.NewRuleSet()
	updater, err := livepack.New(livepack.Config{
		Source: livepack.FS(shelf, "rules.pack"),
		Target: livepack.Rules(rules.Store, livepack.RuleClamp{}),
		Keys:   []ed25519.PublicKey{public},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(updater.Fetch(context.Background()).Err)
	fmt.Println(rules.Classify(bounce.ParseReply("550 5.1.1 User unknown")).Category)
	// Output:
	// livepack: invalid: bounce: bad rules
	// 	no rule
	// invalid-mailbox
}
