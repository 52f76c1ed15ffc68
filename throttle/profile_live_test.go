package throttle

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDownloadsAreClamped(t *testing.T) {
	download := mustPack(t, `
[default]
conns = 1000
rates = ["1000/s"]
conn_rate = "unlimited"
messages = 10
[profile.google]
tls = "opportunistic"
rollup = false
per_domain = true
messages = -1
shared = { conns = 100 }
rates = ["50/s", "1000000/h"]
[profile.gmail]
mx = ["l.google.com"]
domains = ["gmail.com"]
shared = { conns = 500 }
[profile.new]
mx = ["new.example"]
conns = 3
burst = 50
rollup = true
[profile.other]
mx = ["other.example"]
per_domain = true
tls = "required"
`)
	policy := Profiles()
	policy.SetDownloaded(download, Clamp{})
	key := func(domain, mx string) Key { return Key{Site: mx, Domain: domain, MX: mx} }

	gmail := policy.Explain(key("gmail.com", "gmail-smtp-in.l.google.com"))
	require.Equal(t, []string{"google", "default"}, gmail.Profiles, "a download cannot split a provider")
	require.Equal(t, "google", gmail.Site)
	require.True(t, gmail.TLS)
	require.Equal(t, 100, gmail.Limits.Messages)
	require.Equal(t, 10, gmail.Shared.Conns)
	require.Equal(t, 10, gmail.Limits.Conns, "of the default, clamped")
	require.Equal(t, []Rate{{50, time.Second}, {1_000_000, time.Hour}, {200, time.Second}}[:2], gmail.Limits.Rates[:2])
	require.Contains(t, gmail.String(), "shared.conns = 10 (profile google, downloaded 1, clamped from 100)")
	require.Contains(t, gmail.String(), "tls = required (profile google, downloaded 1, clamped from opportunistic)")

	other := policy.Explain(key("a.example", "mx.other.example"))
	require.Equal(t, []Rate{{200, time.Second}}, other.Limits.Rates)
	require.Equal(t, Rate{200, time.Minute}, other.Limits.ConnRate)
	require.Equal(t, 10, other.Limits.Messages, "less is allowed")
	require.False(t, policy.PerDomain(key("a.example", "mx.other.example")), "it multiplies limits")
	require.True(t, other.TLS)

	made := policy.Explain(key("a.example", "mx.new.example"))
	require.Equal(t, 3, made.Limits.Conns)
	require.Equal(t, 2, made.Limits.Burst)
	require.Equal(t, "new", made.Site)

	policy.SetDownloaded(download, Clamp{Times: 4, LooseTLS: true})
	gmail = policy.Explain(key("gmail.com", "gmail-smtp-in.l.google.com"))
	require.False(t, gmail.TLS)
	require.Equal(t, 20, gmail.Shared.Conns)

	policy.SetDownloaded(download, Clamp{Times: -1})
	gmail = policy.Explain(key("gmail.com", "gmail-smtp-in.l.google.com"))
	require.Equal(t, []string{"gmail", "google", "default"}, gmail.Profiles)
	require.Equal(t, 500, gmail.Shared.Conns)

	policy.SetDownloaded(download, Clamp{})
	policy.SetOwn(mustPack(t, "[profile.google]\nshared = { conns = 50 }\nper_domain = true\n"))
	gmail = policy.Explain(key("gmail.com", "gmail-smtp-in.l.google.com"))
	require.Equal(t, 50, gmail.Shared.Conns, "the user is not clamped")
	require.Equal(t, "gmail.com", gmail.Site)

	policy.SetOwn()
	policy.SetDownloaded(nil, Clamp{})
	require.Equal(t, Profiles().Explain(key("gmail.com", "smtp.google.com")), policy.Explain(key("gmail.com", "smtp.google.com")))
}

func ratesPack(t testing.TB, rates []Rate, burst int) *ProfilePack {
	texts := make([]string, len(rates))
	for i, r := range rates {
		texts[i] = fmt.Sprintf("%q", r)
	}
	list := strings.Join(texts, ", ")
	return mustPack(t, fmt.Sprintf("[default]\nburst = %d\nrates = [%s]\nconn_rate = %q\nshared = { rates = [%s] }\n", burst, list, rates[0], list))
}

// No window of the limits that hold sees too many starts, those before the
// limits were replaced included.
func TestLimitsHoldThroughUpdates(t *testing.T) {
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 2))
		policy := Profiles()
		shared := seed%2 == 0
		var starts []time.Duration
		var since []int // the first start under each set of rates
		var sets [][]Rate
		c := newProfiled(policy, Key{Site: "mx.example.com"}, true)
		if !shared { // the plain limits of a source, without what adapts
			c = newProfiled(policy, Key{Site: "mx.example.com"}, false)
			c.react.inner = &c.limits
		}
		var at time.Duration
		for range 6 {
			rates := randomRates(dice)
			policy.SetOwn(ratesPack(t, rates, max(1, randomBurst(dice))))
			sets, since = append(sets, rates), append(since, len(starts))
			for range 250 {
				next := c.Next(noon.Add(at)).Sub(noon)
				at = min(next, at+40*maxPer)
				if c.Next(noon.Add(at)).After(noon.Add(at)) {
					break
				}
				c.Take(noon.Add(at))
				starts = append(starts, at)
				at += randomWait(dice, c.Next(noon.Add(at)).Sub(noon)-at, rates)
			}
		}
		for i, rates := range sets {
			end := len(starts)
			if i+1 < len(since) {
				end = since[i+1]
			}
			for _, r := range rates {
				require.NoError(t, overshootBetween(starts, r, since[i], end), "seed %d, rates %v from start %d", seed, rates, since[i])
			}
		}
	}
}

// The same for several sources that share a limit, with all that Controllers of
// profiles do besides.
func TestLimitsHoldThroughUpdatesForAllSources(t *testing.T) {
	for seed := range uint64(20) {
		dice := rand.New(rand.NewPCG(seed, 4))
		policy := Profiles()
		key := Key{Site: "mx.example.com", Domain: "example.com"}
		shared := policy.Shared(key)
		type source struct {
			c      Controller
			starts []time.Duration
		}
		sources := make([]*source, 3)
		for i := range sources {
			sources[i] = &source{c: policy.For(key)}
		}
		var all []time.Duration
		var at time.Duration
		for range 5 {
			own, common := randomRates(dice), randomRates(dice)
			pack := ratesPack(t, own, 1)
			pack.profiles[defaultID].Shared.Rates = common
			policy.SetOwn(pack)
			from, fromAll := make([]int, len(sources)), len(all)
			for i, s := range sources {
				from[i] = len(s.starts)
			}
			for range 150 {
				s := sources[dice.IntN(len(sources))]
				now := noon.Add(at)
				next := later(s.c.Next(now), shared.Next(now))
				at = min(next.Sub(noon), at+maxPer)
				if now = noon.Add(at); later(s.c.Next(now), shared.Next(now)).After(now) {
					continue
				}
				s.c.Take(now)
				shared.Take(now)
				s.starts, all = append(s.starts, at), append(all, at)
				f := Feedback{Event: Event(dice.IntN(6)), Conns: 1, Text: "421 4.7.0 no"}
				s.c.Observe(now, f)
				shared.Observe(now, f)
				at += randomWait(dice, 0, own)
			}
			for i, s := range sources {
				for _, r := range own {
					require.NoError(t, overshootBetween(s.starts, r, from[i], len(s.starts)), "seed %d, %v", seed, own)
				}
			}
			for _, r := range common {
				require.NoError(t, overshootBetween(all, r, fromAll, len(all)), "seed %d, shared %v", seed, common)
			}
		}
		require.NotEmpty(t, all)
	}
}

// overshootBetween is overshoot for windows that end with one of starts[from:to].
func overshootBetween(starts []time.Duration, r Rate, from, to int) error {
	for i := max(from, r.N); i < to; i++ {
		if span := starts[i] - starts[i-r.N]; span < r.Per {
			return fmt.Errorf("%d starts within %v, ending with start %d: more than %v", r.N+1, span, i, r)
		}
	}
	return nil
}

func TestNewLimitsHoldAtOnceAndKnowThePast(t *testing.T) {
	second, minute, hour := time.Second, time.Minute, time.Hour
	policy := Profiles(ratesPack(t, []Rate{{10, second}}, 1))
	c := policy.Shared(Key{Site: "mx.example.com"})
	now := noon
	for range 600 {
		now = c.Next(now)
		c.Take(now)
	}
	last := now

	policy.SetOwn(ratesPack(t, []Rate{{20, second}}, 1))
	require.Equal(t, last.Add(50*ms), c.Next(now), "a faster pace from the next message on")
	policy.SetOwn(ratesPack(t, []Rate{{60, minute}}, 1))
	require.GreaterOrEqual(t, c.Next(now), last.Add(minute-6*second), "600 have started in the last minute")
	require.Less(t, c.Next(now), last.Add(minute), "and it is known when")
	policy.SetOwn(ratesPack(t, []Rate{{600, hour}}, 1))
	require.GreaterOrEqual(t, c.Next(now), noon.Add(hour))
	require.Equal(t, "600/h", c.(Explainer).Binding(now))
	require.Equal(t, "default", c.(Detailer).Detail(now).Rule)
	policy.SetOwn()
	require.Equal(t, now, c.Next(now), "the built-in profiles have no shared rate")
	require.Empty(t, c.(Explainer).Binding(now))
}

// After the past has gone by the new limits are as fast as those of a new
// Controller: what bridged the change is gone.
func TestTheBridgeEnds(t *testing.T) {
	rate := Rate{100, time.Second}
	policy := Profiles(ratesPack(t, []Rate{{50, time.Second}}, 1))
	c := policy.Shared(Key{Site: "mx.example.com"})
	now := noon
	take := func(n int) {
		for range n {
			now = c.Next(now)
			c.Take(now)
		}
	}
	take(100)
	policy.SetOwn(ratesPack(t, []Rate{rate}, 1))
	take(200)
	begin := now
	take(1000)
	require.Equal(t, 10*time.Second, now.Sub(begin))
}

func TestConnectionRatesKnowThePast(t *testing.T) {
	policy := Profiles(mustPack(t, "[default]\nconns = 5\nconn_rate = \"100/min\""))
	c := policy.For(Key{Site: "mx.example.com"})
	for range 5 {
		c.Observe(noon, Feedback{Event: Opening, Conns: 1})
	}
	policy.SetOwn(mustPack(t, "[default]\nconns = 5\nconn_rate = \"5/h\""))
	require.Equal(t, noon.Add(time.Hour), c.Conns(noon).Next)
	require.Equal(t, Detail{Limit: "5/h connections", Rule: "default", Until: noon.Add(time.Hour)}, c.(Detailer).Detail(noon))
	policy.SetOwn(mustPack(t, "[default]\nconns = 2\nconn_rate = \"unlimited\""))
	require.Equal(t, 2, c.Conns(noon).Max)
	require.False(t, c.Conns(noon).Next.After(noon))
}

func TestTriggersOfProfilesAct(t *testing.T) {
	policy := Profiles()
	c := policy.For(Key{Site: "google", Domain: "gmail.com", MX: "gmail-smtp-in.l.google.com"})
	c.Take(noon)
	c.Observe(noon, Feedback{Event: SlowDown, Code: 421, Category: "rate-limited", Scope: "source",
		Text: "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address"})
	now := noon.Add(time.Second)
	require.Zero(t, c.Conns(now).Max)
	require.Equal(t, "google/flood", c.(Detailer).Detail(now).Rule)
	require.GreaterOrEqual(t, c.Next(now), noon.Add(10*time.Minute))

	policy.SetOwn(mustPack(t, "[profile.google]\nwithout = [\"google/flood\"]"))
	require.Equal(t, "google/flood", c.(Detailer).Detail(now).Rule, "what was set goes on")
}

// A domain that gets a profile of its own leaves its site behind for the others.
func TestASiteKeepsItsLimitsWhenADomainIsPicked(t *testing.T) {
	policy := Profiles()
	k := Key{Site: "mx.example.net", Domain: "first.example", MX: "mx.example.net"}
	c := policy.For(k)
	policy.SetOwn(mustPack(t, "[profile.first]\ndomains = [\"first.example\"]\nconns = 1"))
	require.Equal(t, 5, c.Conns(noon).Max)
	require.Equal(t, "mx.example.net for first", policy.SiteOf(k))
	k.Site = policy.SiteOf(k)
	require.Equal(t, 1, policy.For(k).Conns(noon).Max)
	policy.SetOwn(mustPack(t, "[default]\nconns = 2"))
	require.Equal(t, 2, c.Conns(noon).Max)
}

func TestProfilesAreSafeForConcurrentUse(t *testing.T) {
	policy := Profiles()
	packs := []*ProfilePack{mustPack(t, "[default]\nconns = 2"), mustPack(t, "[profile.google]\nshared = { conns = 3 }")}
	stop := make(chan struct{})
	var users sync.WaitGroup
	for i := range 4 {
		users.Go(func() {
			k := Key{Site: "mx.example.com", Domain: fmt.Sprintf("d%d.example", i), MX: "smtp.google.com"}
			c := All(policy.For(k), policy.Shared(k))
			now := noon
			for {
				select {
				case <-stop:
					return
				default:
				}
				now = c.Next(now)
				c.Take(now)
				c.Observe(now, Feedback{Event: Delivered, Conns: 1})
				policy.RequireTLS(k)
				policy.SiteOf(k)
			}
		})
	}
	for i := range 300 {
		policy.SetOwn(packs[i%2])
		policy.SetDownloaded(packs[(i+1)%2], Clamp{})
	}
	close(stop)
	users.Wait()
	require.Equal(t, 3, policy.Explain(Key{MX: "smtp.google.com"}).Shared.Conns)
}

func TestHistoryCountsOnTheSafeSide(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 3))
	var h history
	var starts []time.Duration
	at := time.Duration(0)
	for range 100_000 {
		at += time.Duration(dice.Int64N(int64(time.Second)))
		h.add(at)
		starts = append(starts, at)
	}
	require.Less(t, len(h.groups), 250)
	for _, per := range []time.Duration{time.Second, time.Minute, time.Hour, 10 * time.Hour, 1000 * time.Hour} {
		exact, counted := 0, 0
		for _, s := range starts {
			if s > at-per {
				exact++
			}
		}
		for _, g := range h.groups {
			if g.last > at-per {
				counted += g.n
			}
		}
		require.GreaterOrEqual(t, counted, exact, "%v", per)
		require.LessOrEqual(t, float64(counted), float64(exact)*(1+1.0/15)+1, "%v", per)
	}
}

func BenchmarkProfiles(b *testing.B) {
	policy := Profiles()
	b.Run("lookup", func(b *testing.B) {
		k := Key{Site: "mx1.example.com+1~", Domain: "example.com", MX: "mx1.mail.example.com mx2.mail.example.com"}
		b.ReportAllocs()
		for b.Loop() {
			policy.RequireTLS(k)
		}
	})
	b.Run("controller", func(b *testing.B) {
		k := Key{Site: "mx1.example.com+1~", Domain: "example.com", MX: "mx1.mail.example.com mx2.mail.example.com"}
		b.ReportAllocs()
		for b.Loop() {
			policy.For(k)
		}
	})
	b.Run("message", func(b *testing.B) {
		c := policy.Shared(Key{Site: "mx.example.com"})
		now := noon
		b.ReportAllocs()
		for b.Loop() {
			now = c.Next(now).Add(10 * ms)
			c.Take(now)
		}
	})
}
