package sender_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
)

func TestSplitRecipient(t *testing.T) {
	for addr, want := range map[string][2]string{
		"Ann@Example.COM":      {"Ann", "example.com"},
		"ann@example.com.":     {"ann", "example.com"},
		"ann@Bücher.example":   {"ann", "xn--bcher-kva.example"},
		`"a@b"@example.com`:    {`"a@b"`, "example.com"},
		"ann@[192.0.2.1]":      {"ann", "[192.0.2.1]"},
		"":                     {"", ""},
		"Ann":                  {"Ann", ""},
		"Ann B@Example.com":    {"Ann B@Example.com", ""},
		"<ann@example.com>":    {"<ann@example.com>", ""},
		"ann@-bad.example.com": {"ann@-bad.example.com", ""},
	} {
		local, domain := sender.SplitRecipient(addr)
		require.Equal(t, want, [2]string{local, domain}, addr)
	}
}
