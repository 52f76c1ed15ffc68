package dkim

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func relaxedBody(body string) string {
	r := new(recorder)
	h := hasher{Hash: r, buf: make([]byte, 0, 64)}
	h.addBody([]byte(body))
	return string(h.sum(nil))
}

func TestRelaxedBody(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"RFC 6376 §3.4.5", " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"},
		{"empty", "", ""},
		{"blank line", "\r\n", ""},
		{"blank lines", "\r\n\r\n\r\n", ""},
		{"only WSP", " \t ", ""},
		{"lines of WSP", " \r\n\t\r\n  \t\r\n", ""},
		{"no CRLF at the end", "a", "a\r\n"},
		{"WSP at the end, no CRLF", "a \t", "a\r\n"},
		{"single tab", "a\tb\r\n", "a b\r\n"},
		{"tab and space", "a\t b\r\n", "a b\r\n"},
		{"space and tab", "a \tb\r\n", "a b\r\n"},
		{"indented", "  a\r\n\tb\r\n c\r\n", " a\r\n b\r\n c\r\n"},
		{"blank lines inside", "a\r\n \r\n\r\n\t\r\nb\r\n", "a\r\n\r\n\r\n\r\nb\r\n"},
		{"other controls stay", "a \x00\x0b\x0c\x01 b\r\n", "a \x00\x0b\x0c\x01 b\r\n"},
		{"8 bit stays", "\xa0\xff \xc3\xbc\r\n", "\xa0\xff \xc3\xbc\r\n"},
		{"at the edge of a word", "1234567 \r\n", "1234567\r\n"},
		{"over the edge", "1234567  8\r\n", "1234567 8\r\n"},
		{"single space at the edge", "1234567 89012345 7\r\n", "1234567 89012345 7\r\n"},
		{"many words", strings.Repeat("0123456789abcde ", 20) + "  x", strings.Repeat("0123456789abcde ", 20) + "x\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, relaxedBody(test.body))
		})
	}
}

// TestRelaxedBodyByTheBook compares with RFC 6376 §3.4.4 taken literally.
func TestRelaxedBodyByTheBook(t *testing.T) {
	trailing, runs, blank := regexp.MustCompile(`[ \t]+\r\n`), regexp.MustCompile(`[ \t]+`), regexp.MustCompile(`(\r\n)+$`)
	byTheBook := func(s string) string {
		s = trailing.ReplaceAllString(s+"\r\n", "\r\n")
		s = runs.ReplaceAllString(s, " ")
		s = blank.ReplaceAllString(s, "")
		if s != "" {
			s += "\r\n"
		}
		return s
	}
	pieces := []string{" ", " ", "\t", "\r\n", "x", "yy", "abcdefg", "abcdefgh", "<td class=\"x\">", "\x00", "\x8a\x8d\x89\xa0"}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		var b strings.Builder
		for range rnd.IntN(40) {
			b.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		require.Equal(t, byTheBook(b.String()), relaxedBody(b.String()), "%q", b.String())
	}
}

func TestRelaxedField(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"A", " X\r\n", "a:X\r\n"},                       // RFC 6376 §3.4.5
		{"B", " Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},          // RFC 6376 §3.4.5
		{"SubJect", "AbC\r\n", "subject:AbC\r\n"},        // §3.4.2: the value's case stays
		{"X", "\r\n", "x:\r\n"},                          // empty
		{"X", " \t\r\n \r\n\t\r\n", "x:\r\n"},            // nothing but folds
		{"X", "\r\n a\r\n  \r\n b", "x:a b\r\n"},         // blank fold in the middle, no CRLF at the end
		{"X", " a:b : c\r\n", "x:a:b : c\r\n"},           // colons stay
		{"X", " \xff\xc3\xbc\r\n", "x:\xff\xc3\xbc\r\n"}, // 8 bit stays
	} {
		require.Equal(t, test.want, string(appendField(nil, []byte(test.name), []byte(test.value))))
	}
}

// TestRFC8463 verifies the Ed25519 signature printed in RFC 8463 Appendix A.3,
// made by another implementation, with our canonicalisation.
func TestRFC8463(t *testing.T) {
	const value = " v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n" +
		" d=football.example.com; i=@football.example.com;\r\n" +
		" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n" +
		" subject : date : message-id : from : subject : date;\r\n" +
		" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n" +
		" b="
	sig, err := base64.StdEncoding.DecodeString("/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==")
	require.NoError(t, err)
	require.Equal(t, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", publicText(edKey.Public()))

	var h header
	body, err := h.read([]byte(dinner))
	require.NoError(t, err)
	hash := hasher{Hash: sha256.New(), buf: make([]byte, 0, 64)}
	hash.addBody([]byte(dinner)[body:])
	require.Equal(t, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=", base64.StdEncoding.EncodeToString(hash.sum(nil)))

	for _, i := range []int{0, 1, 2, 3, 4} { // the order of h= is that of the message
		hash.add(h.fields[i].canon)
	}
	hash.add(bytes.TrimSuffix(appendField(nil, fieldName, []byte(value)), crlf))
	require.True(t, ed25519.Verify(edKey.Public().(ed25519.PublicKey), hash.sum(nil), sig))
}

func TestSignRFC8463Key(t *testing.T) {
	s := mustSigner(t, &Options{Identity: "@football.example.com"})
	sig := mustSign(t, s, dinner)
	require.Equal(t, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=", tag(t, sig, "bh"))
	require.Equal(t, []Record{{
		Name:  "brisbane._domainkey.football.example.com",
		Value: "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	}}, s.Records())
	requireVerified(t, s, sig+dinner)
}
