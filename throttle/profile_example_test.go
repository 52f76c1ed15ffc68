package throttle_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/volleymail/volley/throttle"
	"github.com/volleymail/volley/throttle/throttletest"
)

func TestProfilesConform(t *testing.T) {
	policy := throttle.Profiles()
	for name, k := range map[string]throttle.Key{
		"default": {Site: "mx.example.com", Domain: "example.com"},
		"google":  {Site: "google", Domain: "gmail.com", MX: "gmail-smtp-in.l.google.com"},
		"japan":   {Site: "mx1.mail.yahoo.co.jp", Domain: "yahoo.co.jp"},
	} {
		rates := policy.Explain(k).Limits.Rates
		t.Run(name, func(t *testing.T) {
			throttletest.Run(t, func() throttle.Controller { return policy.For(k) }, rates...)
		})
		t.Run(name+" shared", func(t *testing.T) {
			throttletest.Run(t, func() throttle.Controller { return policy.Shared(k) })
		})
	}
}

// The user's own profiles stand above the built-in ones, value by value.
func ExampleProfiles() {
	own, err := throttle.LoadProfiles(strings.NewReader(`
version = "1"

[profile.google]
shared = { conns = 20 }    # agreed on with the postmaster

[profile.intranet]
domains = ["corp.example"]
rates = ["500/s"]
conns = 50
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := throttle.Profiles(own) // for sender.Config.Policy

	gmail := throttle.Key{Site: "gmail-smtp-in.l.google.com", Domain: "gmail.com"}
	e := policy.Explain(gmail)
	fmt.Println(e.Site, e.Profiles, e.Shared.Conns, e.Limits.Messages, e.TLS)

	corp := throttle.Key{Site: "mx.corp.example", Domain: "corp.example"}
	fmt.Println(policy.Explain(corp).Limits.Rates)

	for _, s := range e.Settings {
		if s.Field == "shared.conns" {
			fmt.Println(s)
		}
	}
	// Output:
	// google [google default] 20 50 true
	// [500/s]
	// shared.conns = 20 (profile google, own 1)
}

// The checker finds rules that can never count.
func ExampleProfilePack_Check() {
	own, err := throttle.LoadProfiles(strings.NewReader(`
version = "1"

[profile.hosting]
mx = ["hosting.example"]
rates = ["5/s", "20000/h"]
source = "their postmaster"
samples = ["shop.example: mx1.hosting.example.net"]
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, finding := range own.Check(throttle.DefaultProfiles()) {
		fmt.Println(finding)
	}
	// Output:
	// profile "hosting": dead: shop.example: mx1.hosting.example.net
	// profile "hosting": unproven: no sample for hosting.example
	// profile "hosting": shadowed: 20000/h (by "5/s")
}

// New limits hold from the next message on, and count what went before.
func ExampleProfilePolicy_SetOwn() {
	load := func(text string) *throttle.ProfilePack {
		pack, err := throttle.LoadProfiles(strings.NewReader(text))
		if err != nil {
			panic(err)
		}
		return pack
	}
	policy := throttle.Profiles(load("version = \"1\"\n[default]\nshared = { rates = [\"10/s\"] }"))
	c := policy.Shared(throttle.Key{Site: "mx.example.com"})
	start := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	now := start
	for range 10 {
		now = c.Next(now)
		c.Take(now)
	}
	policy.SetOwn(load("version = \"2\"\n[default]\nshared = { rates = [\"10/min\"] }"))
	fmt.Println(c.Next(now).Sub(start))
	// Output:
	// 1m0s
}
