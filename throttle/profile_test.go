package throttle

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func mustPack(t testing.TB, text string) *ProfilePack {
	t.Helper()
	pack, err := LoadProfiles(strings.NewReader("version = \"1\"\n" + text))
	require.NoError(t, err)
	return pack
}

func TestBuiltInProfilesHaveNoFlaw(t *testing.T) {
	require.Empty(t, DefaultProfiles().Check())
}

// TestBuiltInProfiles holds the pack to what is published or agreed on.
func TestBuiltInProfiles(t *testing.T) {
	tests := []struct {
		domain, mx string
		profile    string
		conns      int // of each source
		shared     int // -1 = no limit
		messages   int
		tls        bool
		site       string // of the domain's queue; "" = its servers
	}{
		{"gmail.com", "gmail-smtp-in.l.google.com alt1.gmail-smtp-in.l.google.com", "google", 5, 5, 50, true, "google"},
		{"a.example", "smtp.google.com", "google", 5, 5, 50, true, "google"},
		{"a.example", "aspmx.l.google.com aspmx2.googlemail.com", "google", 5, 5, 50, true, "google"},
		{"yahoo.com", "mta5.am0.yahoodns.net mta6.am0.yahoodns.net", "yahoo", 5, -1, 20, false, ""},
		{"yahoo.co.jp", "mx1.mail.yahoo.co.jp mx2.mail.yahoo.co.jp", "yahoo-japan", 2, -1, 20, false, ""},
		{"hotmail.com", "hotmail-com.olc.protection.outlook.com", "outlook", 5, 5, 50, false, "outlook+microsoft"},
		{"a.example", "a-example.mail.protection.outlook.com", "microsoft-365", 5, 5, 50, false, "microsoft-365+microsoft"},
		{"b.example", "b-example.mail.protection.outlook.com", "microsoft-365", 5, 5, 50, false, "microsoft-365+microsoft"},
		{"a.example", "a-example.o-v1.mx.microsoft", "microsoft-365-dane", 5, 5, 50, false, "microsoft-365-dane+microsoft"},
		{"icloud.com", "mx01.mail.icloud.com mx02.mail.icloud.com", "apple", 10, 10, 5, false, "apple"},
		{"comcast.net", "mx1a1.comcast.net", "comcast", 25, -1, 1000, true, ""},
		{"a.example", "eu-smtp-inbound-1.mimecast.com eu-smtp-inbound-2.mimecast.com", "mimecast", 10, 10, 100, false, ""},
		{"mail.com", "mx00.mail.com", "mail-com", 5, -1, 100, false, ""},
		{"gmx.de", "mx00.emig.gmx.net mx01.emig.gmx.net", "gmx", 4, -1, 20, true, ""},
		{"orange.fr", "smtp-in.orange.fr", "orange", 5, 2, 100, true, "orange"},
		{"sfr.fr", "smtp-in.sfr.fr", "sfr", 2, -1, 50, false, ""},
		{"free.fr", "mx1.free.fr mx2.free.fr", "free", 5, -1, 20, false, ""},
		{"kpnmail.nl", "mx.kpnmail.nl", "kpn", 10, -1, 10, true, ""},
		{"qq.com", "mx1.qq.com mx2.qq.com", "qq", 4, -1, 8, true, ""},
		{"163.com", "163mx01.mxmail.netease.com", "netease", 4, -1, 7, true, ""},
		{"netvigator.com", "mx.netvigator.com", "netvigator", 5, 5, 10, true, "netvigator"},
		{"a.example", "d1a.ess.barracudanetworks.com d1b.ess.barracudanetworks.com", "barracuda", 10, 10, 15, true, "barracuda"},
		{"cox.net", "cxr.mx.a.cloudfilter.net", "cox", 10, -1, 100, false, ""},
		{"btinternet.com", "mx.bt.example", "bt", 5, -1, 20, false, "mx.bt.example for bt"},
		{"", "smtp.mailgun.com", "mailgun", 7000, -1, 3, false, ""},
		{"a.example", "mx.a.example", "default", 5, -1, 50, false, ""},
		{"a.example", "mx.google.com.a.example", "default", 5, -1, 50, false, ""},
		{"a.example", "notgoogle.com", "default", 5, -1, 50, false, ""},
		{"a.example", "aspmx.l.google.com mx.a.example", "default", 5, -1, 50, false, ""},
	}
	policy := Profiles()
	for _, test := range tests {
		t.Run(test.domain+" "+test.mx, func(t *testing.T) {
			k := Key{Site: siteKeyForTest(test.mx), Domain: test.domain, MX: test.mx}
			e := policy.Explain(k)
			require.Equal(t, test.profile, e.Profiles[0])
			require.Equal(t, test.conns, e.Limits.Conns)
			require.Equal(t, test.shared, e.Shared.Conns)
			require.Equal(t, test.messages, e.Limits.Messages)
			require.Equal(t, test.tls, e.TLS)
			require.Equal(t, test.tls, policy.RequireTLS(k))
			require.Equal(t, test.site, policy.SiteOf(k))
			require.NoError(t, e.Limits.Validate())
			require.NoError(t, e.Shared.Validate())
			require.Positive(t, policy.For(k).Conns(noon).Max)
			require.Positive(t, policy.Shared(k).Conns(noon).Max)
		})
	}
}

// siteKeyForTest is a Site that tells nothing, as of a shortened one.
func siteKeyForTest(mx string) string {
	first, _, more := strings.Cut(mx, " ")
	if !more {
		return first
	}
	return first + "+1~0123456789abcdef"
}

func TestTheMostSpecificProfileDecides(t *testing.T) {
	own := mustPack(t, `
[profile.suffix]
mx = ["example.net"]
conns = 1
messages = 1
rates = ["1/s"]
idle = "1s"
[profile.longer-suffix]
mx = ["mx.example.net"]
messages = 2
rates = ["2/s"]
idle = "2s"
[profile.site]
sites = ["(a|b).mx.example.net", "a.mx.example.net c.mx.example.net"]
rates = ["3/s"]
idle = "3s"
[profile.domain]
domains = ["example.com"]
idle = "0s"
`)
	policy := Profiles(own)
	k := Key{Site: "(a|b).mx.example.net", Domain: "example.com"}
	e := policy.Explain(k)
	require.Equal(t, []string{"domain", "site", "longer-suffix", "suffix", "default"}, e.Profiles)
	want := Limits{Conns: 1, Messages: 2, Rates: []Rate{{N: 3, Per: time.Second}}, Idle: -1, ConnRate: Rate{N: 100, Per: time.Minute}}
	require.Equal(t, want, e.Limits)
	require.Equal(t, "(a|b).mx.example.net for domain", e.Site)
	require.Contains(t, e.String(), "messages = 2 (profile longer-suffix, own 1)")
	require.Contains(t, e.String(), "tls = opportunistic (profile default, built-in "+DefaultProfiles().Version()+")")

	k.Domain = "example.org"
	require.Equal(t, []string{"site", "longer-suffix", "suffix", "default"}, policy.Explain(k).Profiles)
	require.Equal(t, 3*time.Second, policy.Explain(k).Limits.Idle)
	require.Empty(t, policy.SiteOf(k))

	k = Key{Site: "a+1~0123456789abcdef", MX: "c.mx.example.net a.mx.example.net"}
	require.Equal(t, "site", policy.Explain(k).Profiles[0], "whatever the order")
	require.Equal(t, "site", policy.Explain(Key{Site: "(a|b).mx.example.net", MX: "a.mx.example.net"}).Profiles[0], "one has no address now")
	k.MX = "a.mx.example.net"
	require.Equal(t, "longer-suffix", policy.Explain(k).Profiles[0], "only the whole set is the site")
	k.MX = "a.mx.example.net b.example.net"
	require.Equal(t, "suffix", policy.Explain(k).Profiles[0], "each server must have the suffix")
	k.MX = ""
	require.Equal(t, "default", policy.Explain(k).Profiles[0], "a shortened name tells no servers")
}

func TestTheUsersProfilesWin(t *testing.T) {
	own := mustPack(t, `
[default]
conns = 3
messages = 9
[profile.google]
conns = 8
shared = { conns = 20 }
tls = "opportunistic"
[profile.mine]
mx = ["outlook.com"]
messages = 7
`)
	policy := Profiles(own)
	google := policy.Explain(Key{MX: "smtp.google.com"})
	require.Equal(t, 8, google.Limits.Conns)
	require.Equal(t, 20, google.Shared.Conns)
	require.False(t, google.TLS)
	require.Equal(t, 50, google.Limits.Messages, "a default is for what no profile says")
	outlook := policy.Explain(Key{MX: "hotmail-com.olc.protection.outlook.com"})
	require.Equal(t, []string{"outlook", "microsoft", "mine", "default"}, outlook.Profiles)
	require.Equal(t, 7, outlook.Limits.Messages, "a wide profile of the user's goes before a narrow one of the pack")
	require.Equal(t, 3, outlook.Limits.Conns)

	later := mustPack(t, `[profile.google]`+"\nconns = 2")
	policy.SetOwn(own, later)
	require.Equal(t, 2, policy.Explain(Key{MX: "smtp.google.com"}).Limits.Conns)
	require.Equal(t, 20, policy.Explain(Key{MX: "smtp.google.com"}).Shared.Conns)
	policy.SetOwn()
	require.Equal(t, 5, policy.Explain(Key{MX: "smtp.google.com"}).Shared.Conns)
}

func TestSites(t *testing.T) {
	own := mustPack(t, `
[profile.all]
mx = ["hoster.example"]
rollup = true
[profile.vip]
domains = ["vip.example", "vip.test"]
[profile.alone]
domains = ["alone.example"]
per_domain = true
[profile.google]
per_domain = true
rollup = false
`)
	policy := Profiles(own)
	site := func(domain, mx string) string {
		k := Key{Site: mx, Domain: domain, MX: mx}
		name := policy.SiteOf(k)
		require.Equal(t, name == domain, policy.PerDomain(k))
		return name
	}
	require.Equal(t, "all", site("a.example", "mx1.hoster.example"))
	require.Equal(t, "all", site("b.example", "mx2.hoster.example"))
	require.Equal(t, "vip+all", site("vip.example", "mx2.hoster.example"), "it has limits of its own")
	require.Equal(t, "vip+all", site("vip.test", "mx1.hoster.example"))
	require.Equal(t, "mx.example.net for vip", site("vip.example", "mx.example.net"))
	require.Equal(t, "alone.example", site("alone.example", "mx.example.net"))
	require.Equal(t, "gmail.com", site("gmail.com", "gmail-smtp-in.l.google.com"), "the user opts out of the roll-up")
	require.Empty(t, site("else.example", "mx.example.net"))
	require.Equal(t, "orange", site("orange.fr", "smtp-in.orange.fr"))
	policy.SetOwn(mustPack(t, "[profile.orange]\nrollup = false"))
	require.Empty(t, site("orange.fr", "smtp-in.orange.fr"))
}

func TestTriggersAddUp(t *testing.T) {
	own := mustPack(t, `
[default]
without = ["default/deferred"]
[[default.trigger]]
id = "mine/default"
action = "suspend"
for = "1m"
[profile.google]
without = ["google/unusual-rate"]
[[profile.google.trigger]]
id = "google/detected"
action = "suspend"
for = "5m"
`)
	ids := func(k Key) (ids []string) {
		for _, tr := range Profiles(own).Explain(k).Triggers {
			ids = append(ids, tr.ID)
		}
		return ids
	}
	require.Equal(t, []string{"google/detected", "google/flood", "google/flood-content", "mine/default"}, ids(Key{MX: "smtp.google.com"}))
	require.Equal(t, []string{"mine/default"}, ids(Key{MX: "mx.example.com"}))
	for _, tr := range Profiles(own).Explain(Key{MX: "smtp.google.com"}).Triggers {
		if tr.ID == "google/detected" {
			require.Equal(t, 5*time.Minute, tr.For)
		}
	}
}

func TestLoadProfilesReportsEveryMistake(t *testing.T) {
	_, err := LoadProfiles(strings.NewReader(`
colour = "red"
[default]
mx = ["example.com"]
rollup = true
[profile.Bad]
domains = ["Example.com", "a..b"]
mx = [".example.com"]
sites = ["first+3~0011223344556677"]
conns = 0
messages = -2
rates = ["1/s"]
burst = 0
shared = { conns = 0 }
rollup = true
per_domain = true
[[profile.Bad.trigger]]
id = "a"
[[profile.Bad.trigger]]
id = "a"
action = "suspend"
for = "1m"
`))
	bad, ok := errors.AsType[*ProfilesError](err)
	require.True(t, ok, "%v", err)
	var fields []string
	for _, m := range bad.Mistakes {
		if e, ok := errors.AsType[*Error](m); ok {
			fields = append(fields, e.Field)
		}
	}
	for _, field := range []string{"version", "mx", "rollup", "profile", "domains", "sites", "conns", "messages", "burst", "shared.conns", "id"} {
		require.Contains(t, fields, field)
	}
	require.ErrorContains(t, err, `unknown key "colour"`)
	require.ErrorContains(t, err, `profile "Bad", trigger "a"`)

	_, ok = errors.AsType[*Error](err)
	require.True(t, ok, "it unwraps to what is wrong")

	for text, want := range map[string]string{
		"version = ": "throttle: profiles:",
		"version = \"1\"\n[default]\nrates = [\"x\"]":     "x",
		"version = \"1\"\n[default]\ntls = \"maybe\"":     "want required or opportunistic",
		"version = \"1\"\n[default]\nidle = \"soon\"":     "want a duration",
		"version = \"1\"\n[profile.a]\nsamples = [\"a\"]": "want \"domain: host host\"",
		"version = \"1\"\n[profile.default]\nconns = 1":   "goes under [default]",
	} {
		_, err := LoadProfiles(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err = LoadProfiles(bytes.NewReader(make([]byte, maxPack+1)))
	require.ErrorContains(t, err, "larger than")
}

func TestHostsOf(t *testing.T) {
	tests := map[string][]string{
		"mx.example.com":                     {"mx.example.com"},
		"mx1.example.com mx2.example.com":    {"mx1.example.com", "mx2.example.com"},
		"(mx1|mx2).example.com":              {"mx1.example.com", "mx2.example.com"},
		"(alt1|alt2)?.aspmx.l.google.com":    {"alt1.aspmx.l.google.com", "alt2.aspmx.l.google.com", "aspmx.l.google.com"},
		"(a.b|c).example.com":                {"a.b.example.com", "c.example.com"},
		"(mx.example.com|mx.example.net)":    {"mx.example.com", "mx.example.net"},
		"mx1.example.com+3~0011223344556677": nil,
		"(mx1|mx2)":                          {"mx1", "mx2"},
		"(mx1|mx2)example.com":               nil,
		"(mx1|mx2)?":                         nil,
		"(mx1|).example.com":                 nil,
		"(mx1|mx2).":                         nil,
		"mx1).example.com":                   nil,
		"(mx1.example.com":                   nil,
		"relay:mx.example.com:25":            nil,
		"[192.0.2.1]":                        nil,
		"MX.example.com":                     nil,
		"":                                   nil,
	}
	for site, want := range tests {
		require.Equal(t, want, hostsOf(site), site)
	}
	require.Nil(t, Key{Site: "mx.example.com for a.example"}.hosts(), "a name made up is not a list")
}

func FuzzHostsOf(f *testing.F) {
	for _, s := range []string{"mx.example.com", "(a|b).example.com", "(a|b)?.example.com", "(a.x|b.y)", "a b", "()", "(|)?.", "a+1~00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, h := range hostsOf(s) {
			require.True(t, isName(h), h)
		}
	})
}

func FuzzLoadProfiles(f *testing.F) {
	f.Add("version = \"1\"\n[profile.a]\nmx = [\"a.example\"]\nrates = [\"1/s\", \"5/h\"]\nsamples = [\"a.example: mx.a.example\"]\n")
	f.Add("version = \"1\"\n[[default.trigger]]\nid = \"x\"\naction = \"limit\"\nconns = 1\nfor = \"1m\"\n")
	f.Add("version = \"2-1.3\"\n[default]\nmessages = -1\nidle = \"0s\"\n[profile.b]\ndomains = [\"b.example\"]\nsites = [\"(a|b)?.example\"]\n" +
		"shared = { conns = 1, rates = [\"1/d\"] }\ntls = \"required\"\nrollup = true\nwithout = [\"x\"]\nconn_rate = \"unlimited\"\nburst = 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		pack, err := LoadProfiles(strings.NewReader(text))
		if err != nil {
			return
		}
		pack.Check(DefaultProfiles())
		policy := Profiles(pack)
		k := Key{Site: "mx.a.example", Domain: "a.example", MX: "mx.a.example"}
		require.NoError(t, policy.Explain(k).Limits.Validate())
		policy.For(k).Next(noon)
		policy.SetOwn()
		policy.SetDownloaded(pack, Clamp{})
		require.NoError(t, policy.Explain(k).Limits.Validate())
		policy.Shared(k).Take(noon)
	})
}
