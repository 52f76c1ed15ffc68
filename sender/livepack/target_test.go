package livepack

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/throttle"
)

const newer = "2999-01-01.1"

// builtIn is a pack of the library with another version, to be changed.
func builtIn(t testing.TB, path, version string, changes ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	begin := bytes.Index(data, []byte("\nversion = ")) + 1
	end := begin + bytes.IndexByte(data[begin:], '\n')
	text := string(data[:begin]) + fmt.Sprintf("version = %q", version) + string(data[end:])
	text = strings.NewReplacer(changes...).Replace(text)
	return []byte(text)
}

const (
	profilesFile = "../../throttle/profiles.toml"
	rulesFile    = "../../bounce/rules.toml"
)

func newTargetUpdater(t *testing.T, target Target) (*Updater, *shelf) {
	t.Helper()
	src := &shelf{}
	u, err := New(Config{Source: src, Target: target, Keys: []ed25519.PublicKey{public(1)}})
	require.NoError(t, err)
	return u, src
}

func TestProfilesAreReplaced(t *testing.T) {
	policy := throttle.Profiles()
	u, src := newTargetUpdater(t, Profiles(policy, throttle.Clamp{}))
	google := throttle.Key{Site: "google", Domain: "gmail.com", MX: "gmail-smtp-in.l.google.com"}
	c := policy.Shared(google)
	now := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	require.Equal(t, 5, c.Conns(now).Max)

	src.put(Sign(builtIn(t, profilesFile, newer, "shared = { conns = 5 }\ntls", "shared = { conns = 8 }\ntls"), key(1)))
	e := u.Fetch(ctx)
	require.Equal(t, Adopted, e.Kind, "%v", e)
	require.Equal(t, newer, e.Running)
	require.Equal(t, 8, c.Conns(now).Max, "a running Controller goes by it")
	require.Contains(t, policy.Explain(google).String(), "shared.conns = 8 (profile google, downloaded "+newer+")")

	src.put(Sign(builtIn(t, profilesFile, "2999-01-02", "shared = { conns = 5 }\ntls", "shared = { conns = 500 }\ntls"), key(1)))
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, 10, c.Conns(now).Max, "clamped")

	src.put(Sign(builtIn(t, profilesFile, "2999-01-03", `mx = ["google.com", "googlemail.com"]`, `mx = ["gogle.com"]`), key(1)))
	e = u.Fetch(ctx)
	requireRefused(t, e, Invalid)
	require.Equal(t, "2999-01-03", e.Version)
	var flaws *FlawsError
	require.ErrorAs(t, e.Err, &flaws)
	require.Contains(t, fmt.Sprint(flaws.Flaws), "gogle.com")
	require.Contains(t, flaws.Error(), "unproven")

	src.put(Sign([]byte("version = \"2999-01-04\"\n[default]\nconns = 0"), key(1)))
	requireRefused(t, u.Fetch(ctx), Invalid)
	require.Equal(t, 10, c.Conns(now).Max)

	_, err := u.Rollback()
	require.NoError(t, err)
	require.Equal(t, 8, c.Conns(now).Max)
	_, err = u.Rollback()
	require.NoError(t, err)
	require.Equal(t, 5, c.Conns(now).Max)
}

func TestRulesAreReplaced(t *testing.T) {
	rules := NewRuleSet()
	u, src := newTargetUpdater(t, Rules(rules.Store, RuleClamp{}))
	odd := bounce.Reply{Code: 550, Text: "the frobnicator of this address is gone"}
	before := rules.Classify(odd)
	text := builtIn(t, rulesFile, newer)
	at := bytes.Index(text, []byte("\n[[rule]]\n"))
	added := string(text[:at]) + `
[[rule]]
id = "test/frobnicator"
text = ['frobnicator of this address is gone']
codes = ["550"]
category = "invalid-mailbox"
source = "test"
samples = ["550 the frobnicator of this address is gone"]

` + string(text[at:])
	src.put(Sign([]byte(added), key(1)))
	e := u.Fetch(ctx)
	require.Equal(t, Adopted, e.Kind, "%v", e)
	require.Equal(t, "test/frobnicator", rules.Classify(odd).Rule)
	require.Equal(t, newer, rules.Load().Version())
	_, err := u.Rollback()
	require.NoError(t, err)
	require.Equal(t, before, rules.Classify(odd))
	require.Same(t, bounce.DefaultRules(), rules.Load())
}

func TestRulesAreClamped(t *testing.T) {
	evil := func(version string) []byte {
		text := builtIn(t, rulesFile, version)
		at := bytes.Index(text, []byte("\n[[rule]]\n"))
		return Sign([]byte(string(text[:at])+`
[[rule]]
id = "test/evil"
text = ['your ip has been blacklisted by frobnicators']
category = "invalid-mailbox"
source = "test"
samples = ["550 Your IP has been blacklisted by frobnicators"]

`+string(text[at:])), key(1))
	}
	u, src := newTargetUpdater(t, Rules(NewRuleSet().Store, RuleClamp{}))
	src.put(evil(newer))
	e := u.Fetch(ctx)
	requireRefused(t, e, Clamped)
	var clamped *ClampError
	require.ErrorAs(t, e.Err, &clamped)
	require.Equal(t, []string{"550 Your IP has been blacklisted by frobnicators"}, clamped.Suppresses)
	require.Contains(t, e.String(), "not to blame")

	u, src = newTargetUpdater(t, Rules(NewRuleSet().Store, RuleClamp{Suppress: true}))
	src.put(evil(newer))
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)

	few := Sign(fmt.Appendf(nil, `version = %q
[category]
unknown = { scope = "unknown", action = "fail" }
[[rule]]
id = "all"
codes = ["5xx", "4xx"]
category = "unknown"
source = "test"
samples = ["550 no"]
`, newer), key(1))
	u, src = newTargetUpdater(t, Rules(NewRuleSet().Store, RuleClamp{}))
	src.put(few)
	e = u.Fetch(ctx)
	requireRefused(t, e, Clamped)
	require.ErrorContains(t, e.Err, "samples get another action")
	u, src = newTargetUpdater(t, Rules(NewRuleSet().Store, RuleClamp{Changed: -1}))
	src.put(few)
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)

	src.put(Sign([]byte("version = \"2999-02-01\"\nverse = 1"), key(1)))
	requireRefused(t, u.Fetch(ctx), Invalid)
}

// Both packs are replaced while they are in use.
func TestReplacedWhileInUse(t *testing.T) {
	policy, rules := throttle.Profiles(), NewRuleSet()
	profiles, profileShelf := newTargetUpdater(t, Profiles(policy, throttle.Clamp{}))
	bounces, ruleShelf := newTargetUpdater(t, Rules(rules.Store, RuleClamp{Changed: -1}))
	use, stop := context.WithCancel(ctx)
	var users sync.WaitGroup
	for i := range 3 {
		users.Go(func() {
			k := throttle.Key{Site: "google", Domain: fmt.Sprintf("d%d.example", i), MX: "smtp.google.com"}
			c := throttle.All(policy.For(k), policy.Shared(k))
			now := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
			for use.Err() == nil {
				if next := c.Next(now); next.After(now) {
					now = next
				}
				c.Take(now)
				class := rules.Classify(bounce.ParseReply("550 5.1.1 The email account that you tried to reach does not exist."))
				if class.Category != bounce.InvalidMailbox {
					t.Errorf("got %v", class)
					return
				}
			}
		})
	}
	for i := range 4 {
		version := fmt.Sprintf("2999-01-01.%d", i+1)
		profileShelf.put(Sign(fmt.Appendf(nil, `version = %q
[profile.google]
shared = { conns = %d }
source = "test"
`, version, i+1), key(1)))
		ruleShelf.put(Sign(fmt.Appendf(nil, `version = %q
[[rule]]
id = "test/gone"
text = ['does not exist']
category = "invalid-mailbox"
source = "test"
samples = ["550 5.1.1 The email account that you tried to reach does not exist."]
`, version), key(1)))
		require.Equal(t, Adopted, profiles.Fetch(ctx).Kind)
		require.Equal(t, Adopted, bounces.Fetch(ctx).Kind)
		if i == 2 {
			_, err := profiles.Rollback()
			require.NoError(t, err)
			_, err = bounces.Rollback()
			require.NoError(t, err)
		}
	}
	stop()
	users.Wait()
}

// The triggers look at what package bounce makes of replies: each sample, said
// by a server of the profile, must fire its trigger as the engine would tell it.
func TestTriggersFireOnClassifiedSamples(t *testing.T) {
	policy := throttle.Profiles()
	seen := 0
	for _, k := range destinations(t) {
		e := policy.Explain(k)
		set, err := throttle.NewTriggers(e.Triggers)
		require.NoError(t, err)
		for _, trigger := range e.Triggers {
			if !strings.HasPrefix(trigger.ID, e.Profiles[0]+"/") {
				continue // of a wider profile
			}
			for _, sample := range trigger.Samples {
				seen++
				r := bounce.ParseReply(sample)
				r.Host, _, _ = strings.Cut(k.MX, " ")
				class := bounce.Classify(r)
				f := throttle.Feedback{Code: r.Code, Category: class.Category.String(), Scope: class.Scope.String(), Rule: class.Rule, Text: sample}
				fired := false
				for _, f.Event = range []throttle.Event{throttle.SlowDown, throttle.Blocked, throttle.Refused} {
					for _, m := range set.Matching(f) {
						fired = fired || m.ID == trigger.ID
					}
				}
				require.True(t, fired, "%s: %q is %v, %v by %s", trigger.ID, sample, class.Category, class.Scope, class.Rule)
				require.NotEqual(t, bounce.ActionSuppress, class.Action, "%s: %q", trigger.ID, sample)
			}
		}
	}
	require.Greater(t, seen, 50)
}

// The checker of profiles knows the words of package bounce.
func TestTriggersUseTheWordsOfBounce(t *testing.T) {
	check := func(key, word string) []throttle.Finding {
		pack, err := throttle.LoadProfiles(strings.NewReader(fmt.Sprintf(`version = "1"
[profile.a]
mx = ["example.net"]
source = "x"
samples = ["a.example: mx.example.net"]
[[profile.a.trigger]]
id = "t"
%s = [%q]
action = "suspend"
for = "1m"
source = "x"
samples = ["421 slow"]
`, key, word)))
		require.NoError(t, err)
		return pack.Check()
	}
	for _, c := range bounce.Categories() {
		require.Empty(t, check("categories", c.String()))
	}
	for s := bounce.ScopeUnknown; s <= bounce.ScopeSite; s++ {
		require.Empty(t, check("scopes", s.String()))
	}
	require.Len(t, check("categories", "no such word"), 1)
	require.Len(t, check("scopes", "no such word"), 1)
}

// destinations returns one for each of the built-in profiles.
func destinations(t *testing.T) (keys []throttle.Key) {
	t.Helper()
	var file struct {
		Profile map[string]struct{ Samples []string }
	}
	_, err := toml.DecodeFile(profilesFile, &file)
	require.NoError(t, err)
	for _, p := range file.Profile {
		domain, mx, _ := strings.Cut(p.Samples[0], ": ")
		keys = append(keys, throttle.Key{Site: "x", Domain: domain, MX: mx})
	}
	return keys
}
