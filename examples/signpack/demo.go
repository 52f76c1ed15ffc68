package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"testing/fstest"

	"github.com/volleymail/volley/sender/livepack"
	"github.com/volleymail/volley/throttle"
)

const demoPack = `version = "2999-01-01.1"

[profile.example]
mx = ["example.net"]
conns = 2
source = "their postmaster"
samples = ["example.com: mx.example.net"]
`

// demo signs a pack, lets a running policy adopt it, shows it a forged one, and
// goes back.
func demo(out io.Writer) error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	signed := livepack.Sign([]byte(demoPack), private)
	fmt.Fprintf(out, "A signed pack:\n\n%s\n", signed)

	shelf := fstest.MapFS{"profiles.pack": {Data: signed}}
	policy := throttle.Profiles()
	updater, err := livepack.New(livepack.Config{
		Source:  livepack.FS(shelf, "profiles.pack"),
		Target:  livepack.Profiles(policy, throttle.Clamp{}),
		Keys:    []ed25519.PublicKey{public},
		Observe: func(e livepack.Event) { fmt.Fprintln(out, e) },
	})
	if err != nil {
		return err
	}
	show := func() {
		limits := policy.Explain(throttle.Key{Site: "mx.example.net", Domain: "example.com"}).Limits
		fmt.Fprintln(out, "  connections to mx.example.net:", limits.Conns)
	}
	show()
	updater.Fetch(context.Background())
	show()
	shelf["profiles.pack"].Data = bytes.Replace(signed, []byte("conns = 2"), []byte("conns = 9"), 1)
	updater.Fetch(context.Background())
	show()
	if _, err := updater.Rollback(); err != nil {
		return err
	}
	show()
	return nil
}
