package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseList(t *testing.T) {
	l, err := parseList("list.csv", strings.NewReader("\uFEFF first ,Email,note\nAnn, ann@example.com ,\"two\nlines\"\nBob,bob@xn--bcher-kva.example,\n"), 0)
	require.NoError(t, err)
	require.NoError(t, l.check())
	require.Equal(t, []string{"first", "email", "note"}, l.columns)
	require.Equal(t, map[string]string{"first": "Ann", "email": "ann@example.com", "note": "two\nlines"}, l.fields(0))
	require.Equal(t, "bob@xn--bcher-kva.example", l.address(1))
	require.Equal(t, 3, l.number(1))

	l, err = parseList("list.csv", strings.NewReader("email\na@example.com\nb@example.com\n"), 1)
	require.NoError(t, err)
	require.Len(t, l.rows, 1)
}

func TestParseListErrors(t *testing.T) {
	for _, tc := range []struct{ name, input, want string }{
		{"empty", "", "the file is empty"},
		{"only names", "email,first\n", "no recipient below"},
		{"semicolons", "email;first\na@example.com;Ann\n", "separate the columns with commas"},
		{"quotes", "email,first\na@example.com,the \"boss\"\n", "double those within"},
		{"no email", "mail,first\na@example.com,Ann\n", "no column is named email, there are: mail, first"},
		{"double column", "email,first,first\na@example.com,Ann,Ann\n", `column 3 is named "first"`},
		{"nameless column", "email,,first\na@example.com,Ann,Ann\n", "column 2"},
		{"cells missing", "email,first\na@example.com,Ann\nb@example.com\n", "row 3"},
		{"quote", "email,first\na@example.com,\"Ann\n", "row 2"},
		{"broken first row", "\"email,first\na@example.com,Ann\n", "list.csv"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseList("list.csv", strings.NewReader(tc.input), 0)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestCheckList(t *testing.T) {
	l, err := parseList("list.csv", strings.NewReader("email,first\n"+
		"ann@example.com,Ann\n"+
		"ann example.com,no at\n"+
		"Ann <ann@example.com>,more than an address\n"+
		"ann@localhost,no dot\n"+
		"ANN@example.com,twice\n"+
		"\"x@example.com\nRCPT TO:<y@example.com>\",two lines\n"+
		"bob@example.com,\xff\n"+
		",nothing\n"), 0)
	require.NoError(t, err)
	err = l.check()
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 7, err)
	for i, want := range []string{"row 3", "row 4", "row 5: email \"ann@localhost\"", "row 6: email \"ANN@example.com\" is in row 2 already", "row 7", "row 8: first", "row 9"} {
		require.Contains(t, lines[i], want)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("email,first\nann@example.com,Ann\n", 0)
	f.Add("\uFEFFfirst,EMAIL\n\"A \"\"n\"\" n\",x@example.com\n", 1)
	f.Add("email\n\"a@example.com\nb@example.com\"\n", 0)
	f.Fuzz(func(t *testing.T, input string, first int) {
		l, err := parseList("list.csv", strings.NewReader(input), max(first, 0))
		if err != nil {
			return
		}
		if l.check() != nil {
			return
		}
		for i := range l.rows {
			require.Len(t, l.rows[i], len(l.columns))
			require.NotContains(t, l.address(i), "\n")
			require.Equal(t, l.address(i), l.fields(i)["email"])
		}
	})
}
