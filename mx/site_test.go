package mx

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSiteName(t *testing.T) {
	for _, tc := range []struct{ names, want string }{
		{"mx.example.com", "mx.example.com"},
		{"mx.example.com mx.example.com", "mx.example.com"},
		{"mx1.example.com mx2.example.com", "(mx1|mx2).example.com"},
		{"aspmx.l.google.com alt1.aspmx.l.google.com alt2.aspmx.l.google.com", "(alt1|alt2)?.aspmx.l.google.com"},
		{"a.example b.example", "(a.example|b.example)"},
		{"a.b.example.com b.example.com c.a.b.example.com", "(a|c.a)?.b.example.com"},
		{"mx.a.com mx.b.net", "(mx.a.com|mx.b.net)"},
		{"example.com com", "(com|example.com)"},
		{"xexample.com example.com", "(example.com|xexample.com)"},
		{"mta5.am0.yahoodns.net mta6.am0.yahoodns.net mta7.am0.yahoodns.net", "(mta5|mta6|mta7).am0.yahoodns.net"},
		{"a-com.mail.protection.outlook.com", "a-com.mail.protection.outlook.com"},
	} {
		require.Equal(t, tc.want, siteName(strings.Fields(tc.names)))
	}
}

func TestSiteNameIsBounded(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("mx%02d.example.com", i))
	}
	whole := siteName(names)
	require.Regexp(t, `^mx00\.example\.com\+99~[0-9a-f]{16}$`, whole)
	require.NotEqual(t, whole, siteName(append(slices.Clone(names[:99]), "mxyy.example.com")))
}

// decode reads the set back from an unshortened site name.
func decode(site string) []string {
	if !strings.HasPrefix(site, "(") {
		return []string{site}
	}
	list, rest, _ := strings.Cut(site[1:], ")")
	names := strings.Split(list, "|")
	suffix := strings.TrimPrefix(rest, "?")
	for i := range names {
		names[i] += suffix
	}
	if suffix != rest {
		names = append(names, suffix[1:])
	}
	slices.Sort(names)
	return names
}

// No two sets have the same name, and order does not matter.
func TestSiteNameNamesTheSet(t *testing.T) {
	labels := []string{"a", "b", "mx1", "mx2", "com"}
	for range 2000 {
		set := map[string]bool{}
		for range 1 + rand.IntN(5) {
			n := make([]string, 1+rand.IntN(4))
			for i := range n {
				n[i] = labels[rand.IntN(len(labels))]
			}
			set[strings.Join(n, ".")] = true
		}
		var names []string
		for n := range set { // in random order
			names = append(names, n)
		}
		site := siteName(names)
		slices.Sort(names)
		require.Equal(t, names, decode(site), site)
		slices.Reverse(names)
		require.Equal(t, site, siteName(names))
	}
}
