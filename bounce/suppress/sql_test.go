package suppress

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The statements themselves run against real databases in sqltest.

func TestNewSQL(t *testing.T) {
	db := &sql.DB{}
	for _, o := range []SQLOptions{{}, {Dialect: 7}, {Dialect: SQLite, Prefix: "a-b"}, {Dialect: SQLite, Prefix: "x; DROP TABLE y"},
		{Dialect: SQLite, Prefix: "a.b.c"}, {Dialect: SQLite, Prefix: "1"}, {Dialect: SQLite, Prefix: strings.Repeat("x", 101)}} {
		_, err := NewSQL(db, o)
		require.Error(t, err, o)
	}
	_, err := NewSQL(nil, SQLOptions{Dialect: SQLite})
	require.Error(t, err)
	for prefix, want := range map[string]string{"": "FROM volley_suppressed ", "mail_": "FROM mail_suppressed ", "app.v_": "FROM app.v_suppressed "} {
		s, err := NewSQL(db, SQLOptions{Dialect: SQLite, Prefix: prefix})
		require.NoError(t, err)
		require.Contains(t, s.q.find, want)
	}
}

func TestPlaceholders(t *testing.T) {
	require.Equal(t, "a = $1 AND b IN ($2, $3)", numbered("a = ? AND b IN (?, ?)"))
	require.Equal(t, "none", numbered("none"))
	lite, pg := newQueries(SQLOptions{Dialect: SQLite}), newQueries(SQLOptions{Dialect: Postgres})
	require.Equal(t, 24, strings.Count(lite.put(3), "?"))
	require.Contains(t, pg.put(3), "$24)")
	require.NotContains(t, pg.put(3), "?")
	require.NotContains(t, pg.put(3), "$25")
}

func TestDistinct(t *testing.T) {
	a1 := Entry{Address: "A@x", Cause: Manual, Source: "first"}
	a2 := Entry{Address: "a@x", Cause: Manual, Source: "second"}
	b := Entry{Address: "b@x", Cause: Manual}
	in := []Entry{b, a1, a2}
	require.Equal(t, []Entry{a2, b}, distinct(in))
	require.Equal(t, []Entry{b, a1, a2}, in, "the caller's slice stays")
}
