package sender

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseMailbox(t *testing.T) {
	for addr, wire := range map[string]string{
		"user@example.com":                "user@example.com",
		"User+Tag@EXAMPLE.com.":           "User+Tag@example.com",
		"a.b.c@example.com":               "a.b.c@example.com",
		`"a b"@example.com`:               `"a b"@example.com`,
		`"a\"b@c"@example.com`:            `"a\"b@c"@example.com`,
		"user@bücher.example":             "user@xn--bcher-kva.example",
		"user@BÜCHER.example":             "user@xn--bcher-kva.example",
		"jürgen@example.com":              "jürgen@example.com",
		"user@[192.0.2.1]":                "user@[192.0.2.1]",
		"user@[IPv6:2001:db8::1]":         "user@[IPv6:2001:db8::1]",
		"user@under_score.example.com":    "user@under_score.example.com",
		"!#$%&'*+-/=?^_`{|}~@example.com": "!#$%&'*+-/=?^_`{|}~@example.com",
	} {
		m, err := parseMailbox(addr)
		require.NoError(t, err, addr)
		require.Equal(t, wire, m.wire(addr), addr)
		require.Equal(t, strings.Contains(addr, "jü"), m.utf8, addr)
	}
	for _, addr := range []string{"", "user", "@example.com", "user@", "a b@example.com", ".a@example.com", "a.@example.com", "a..b@example.com",
		"user@example", "user@-example.com", "user@exa mple.com", "user@example..com", "user@[300.1.1.1]", "user@[2001:db8::1]", "user@[IPv6:192.0.2.1]",
		"user@[IPv6:fe80::1%eth0]", "<user@example.com>", "User <user@example.com>", `"a"b"@example.com`, `"a\"@example.com`, `""@example.com`,
		"a\r\n@example.com", "a@exam\nple.com", "a\x00@example.com", "\xff@example.com", strings.Repeat("a", 65) + "@example.com",
		"a@" + strings.Repeat("b", 64) + ".example", "a@" + strings.Repeat("b.", 130) + "example", "user@example.com>", "a@b@c .example"} {
		_, err := parseMailbox(addr)
		require.Error(t, err, "%q", addr)
	}
}

func FuzzParseMailbox(f *testing.F) {
	for _, s := range []string{"user@example.com", `"a b"@example.com`, "ü@ü.example", "u@[IPv6:::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		m, err := parseMailbox(addr)
		if err != nil {
			return
		}
		wire := m.wire(addr)
		require.NotContains(t, wire, "\r")
		require.NotContains(t, wire, "\n")
		require.NotContains(t, wire, "\x00")
		if !strings.Contains(wire, `"`) {
			require.NotContains(t, wire, ">")
			require.NotContains(t, wire, " ")
		}
		again, err := parseMailbox(wire)
		require.NoError(t, err, wire)
		require.Equal(t, wire, again.wire(wire), "it is stable")
		require.Equal(t, m.domain, again.domain)
	})
}

func TestRouteMatches(t *testing.T) {
	c := &config{}
	for _, d := range []string{"exact.example", "*.sub.example", "*"} {
		r, err := Route{Domain: d, Relay: "relay.example"}.check()
		require.NoError(t, err)
		c.routes = append(c.routes, r)
	}
	require.Same(t, c.routes[0], c.routeOf("exact.example"))
	require.Same(t, c.routes[1], c.routeOf("a.sub.example"))
	require.Same(t, c.routes[2], c.routeOf("sub.example"))
	require.Equal(t, "relay.example:587", c.routes[0].addr)
	require.Same(t, direct, (&config{}).routeOf("x.example"))
	for relay, addr := range map[string]string{"192.0.2.1": "192.0.2.1:587", "[2001:db8::1]:25": "[2001:db8::1]:25", "[2001:db8::1]": "[2001:db8::1]:587"} {
		r, err := Route{Domain: "*", Relay: relay}.check()
		require.NoError(t, err)
		require.Equal(t, addr, r.addr)
	}
}

func TestPublicAddresses(t *testing.T) {
	for a, want := range map[string]bool{"192.0.2.1": true, "127.0.0.1": false, "10.1.2.3": false, "::1": false, "fd00::1": false, "2001:db8::1": true} {
		require.Equal(t, want, public(netip.MustParseAddr(a)), a)
	}
}
