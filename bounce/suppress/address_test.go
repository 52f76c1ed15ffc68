package suppress

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormalize(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"ann@example.com", "ann@example.com"},
		{" Ann.O'Hara+x@EXAMPLE.com\t", "Ann.O'Hara+x@example.com"},
		{"<ann@example.com>", "ann@example.com"},
		{"ann@example.com.", "ann@example.com"},
		{"ann@Bücher.example", "ann@xn--bcher-kva.example"},
		{"ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example"},
		{"ann@例え。テスト", "ann@xn--r8jz45g.xn--zckzah"},
		{`"ann"@example.com`, "ann@example.com"},
		{`"an\n"@example.com`, "ann@example.com"},
		{`"ann b"@example.com`, `"ann b"@example.com`},
		{`"a@b"@example.com`, `"a@b"@example.com`},
		{`""@example.com`, ""},
		{"jo\u0308rg@example.com", "jörg@example.com"},
		{"ann@[192.0.2.1]", "ann@[192.0.2.1]"},
		{"..odd..@example.com", "..odd..@example.com"}, // exists, at carriers
		{"", ""},
		{"ann", ""},
		{"@example.com", ""},
		{"ann@", ""},
		{"ann@.", ""},
		{"ann b@example.com", ""},
		{"Ann <ann@example.com>", ""},
		{"ann@example.com, bob@example.com", ""},
		{"ann@exa mple.com", ""},
		{"ann@example.com\r\nRCPT", ""},
		{"ann\x00@example.com", ""},
		{"ann\xff@example.com", ""},
		{strings.Repeat("a", 640) + "@example.com", ""},
	} {
		got, err := Normalize(tt.in)
		require.Equal(t, tt.want, got, tt.in)
		require.Equal(t, tt.want == "", err != nil, tt.in)
	}
}

// What is normal stays as it is, and a case or a quote makes no difference.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"Ann@Example.com", `"a b"@x.example`, `"a\"b"@x`, "jo\u0308rg@Bücher.example.", "<a@b>", "a@xn--a", "İ@İ.example", "a@b。"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		normal, err := Normalize(in)
		if err != nil {
			require.Empty(t, normal)
			return
		}
		again, err := Normalize(normal)
		require.NoError(t, err)
		require.Equal(t, normal, again)
		require.True(t, isLine(normal))
		_, domain, _ := strings.Cut(normal[strings.LastIndexByte(normal, '@'):], "@")
		require.Equal(t, strings.ToLower(domain), domain)
	})
}
