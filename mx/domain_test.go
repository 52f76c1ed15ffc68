package mx

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormalize(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, strings.Repeat("b", 61)}, ".")
	require.Len(t, longest, maxName)
	for in, want := range map[string]string{
		"example.com":            "example.com",
		"Example.COM.":           "example.com",
		"com":                    "com",
		"1.2.3.example":          "1.2.3.example",
		"3com.com":               "3com.com",
		"_dmarc.a_b.example":     "_dmarc.a_b.example",
		"-a-.r3---sn.example":    "-a-.r3---sn.example",
		"BÜCHER.example":         "xn--bcher-kva.example",
		"faß.example":            "xn--fa-hia.example",
		"xn--BCHER-kva.example":  "xn--bcher-kva.example",
		"例え。テスト":                 "xn--r8jz45g.xn--zckzah",
		"例え.テスト.":                "xn--r8jz45g.xn--zckzah",
		"ｅｘａｍｐｌｅ．ｃｏｍ":            "example.com",
		"почта.рф":               "xn--80a1acny.xn--p1ai",
		"ü_b.example":            "xn--_b-wka.example",
		longest:                  longest,
		longest + ".":            longest,
		strings.ToUpper(longest): longest,
		"a.xn--p1ai":             "a.xn--p1ai",
		"xn--.example":           "xn--.example",
	} {
		got, err := normalize(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{
		"", ".", "..", ".a", "a..", "a..b", "a b", " a", "a\n", "a\x00b", "a@b", "a/b", "a\\.b", "*.example", "ex%61mple",
		"a,b", "[a]", "a:25", "192.0.2.1", "192.0.2.1.", "1", "example.1", "１.２.３.４", "::1",
		label + "a.example", longest + "a", longest + "..", strings.Repeat("a", 1<<20),
		"\xff.example", "\u200d.example", "a\u2260b.example.\u0301", "℀.example", strings.Repeat("ü", 63) + ".example",
		"xn--zzzzzz99999.ü",
	} {
		got, err := normalize(in)
		require.Error(t, err, "%.50q -> %q", in, got)
		require.Empty(t, got)
	}
}

func TestNormalizeDoesNotAllocate(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = normalize("mail.example.com") }))
}

func TestParseLiteral(t *testing.T) {
	for in, want := range map[string]string{
		"[192.0.2.1]":                "192.0.2.1",
		"[IPv6:2001:db8::1]":         "2001:db8::1",
		"[ipv6:2001:DB8:0:0::1]":     "2001:db8::1",
		"[IPv6:::ffff:192.0.2.1]":    "192.0.2.1",
		"[IPv6:64:ff9b::192.0.2.33]": "64:ff9b::c000:221",
	} {
		addr, err := parseLiteral(in)
		require.NoError(t, err, in)
		require.Equal(t, netip.MustParseAddr(want), addr, in)
	}
	for in, text := range map[string]string{
		"[192.0.2.1":             "closing bracket",
		"[":                      "closing bracket",
		"[]":                     "is written",
		"[IPv6:]":                "is written",
		"[192.0.2]":              "is written",
		"[192.0.2.01]":           "is written",
		"[192.0.2.1] ":           "closing bracket",
		"[ 192.0.2.1]":           "is written",
		"[[192.0.2.1]]":          "is written",
		"[IPv6:fe80::1%eth0]":    "is written",
		"[tag:content]":          "is written",
		"[2001:db8::1]":          "it is written [IPv6:2001:db8::1]",
		"[IPv6:192.0.2.1]":       "it is written [192.0.2.1]",
		"[IPv6:2001:db8::1]\r\n": "closing bracket",
	} {
		_, err := parseLiteral(in)
		require.ErrorContains(t, err, text, in)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{
		"example.com", "EXAMPLE.com.", "bücher.example", "xn--bcher-kva.example", "例え。テスト", "a..b", "192.0.2.1", "_a.-b-.c",
		"faß.de", "\u200d.a", "ａ．ｂ", "xn--a.ü", strings.Repeat("ü.", 100), strings.Repeat("a", 64), "\xff", "a\x00", "ب.1a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := normalize(in)
		if err != nil {
			require.Empty(t, name)
			return
		}
		require.LessOrEqual(t, len(name), maxName)
		require.Empty(t, strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_."))
		for _, label := range strings.Split(name, ".") {
			require.NotEmpty(t, label)
			require.LessOrEqual(t, len(label), maxLabel)
		}
		_, err = netip.ParseAddr(name)
		require.Error(t, err)
		for _, same := range []string{name, name + ".", strings.ToUpper(name)} {
			again, err := normalize(same)
			require.NoError(t, err)
			require.Equal(t, name, again)
		}
	})
}

func FuzzParseLiteral(f *testing.F) {
	for _, s := range []string{"[192.0.2.1]", "[IPv6:2001:db8::1]", "[ipv6:::ffff:1.2.3.4]", "[IPv6:fe80::1%x]", "[]", "[a:b]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		addr, err := parseLiteral(in)
		if err != nil {
			require.False(t, addr.IsValid())
			return
		}
		require.Empty(t, addr.Zone())
		require.False(t, addr.Is4In6())
		again, err := parseLiteral(literal(addr))
		require.NoError(t, err)
		require.Equal(t, addr, again)
	})
}
