package sqltest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/bounce/suppress"
	"github.com/volleymail/volley/bounce/suppress/suppresstest"
)

// openSQLite makes a database in a file.
func openSQLite(t testing.TB) *suppress.SQL {
	t.Helper()
	dsn := "file:" + filepath.Join(t.TempDir(), "list.db") + "?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return tables(t, db, suppress.SQLOptions{Dialect: suppress.SQLite})
}

// openPostgres makes a schema of its own.
func openPostgres(t testing.TB) *suppress.SQL {
	t.Helper()
	url := os.Getenv("VOLLEY_POSTGRES")
	if url == "" {
		t.Skip("VOLLEY_POSTGRES names no server")
	}
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(10)
	schema := fmt.Sprintf("volley_test_%d", time.Now().UnixNano())
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.ExecContext(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(t, err)
	})
	return tables(t, db, suppress.SQLOptions{Dialect: suppress.Postgres, Prefix: schema + ".list_"})
}

func tables(t testing.TB, db *sql.DB, o suppress.SQLOptions) *suppress.SQL {
	t.Helper()
	s, err := suppress.NewSQL(db, o)
	require.NoError(t, err)
	require.NoError(t, s.CreateTables(t.Context()))
	require.NoError(t, s.CreateTables(t.Context()), "at every start")
	return s
}

// databases are those that every test here runs on.
var databases = []struct {
	name string
	open func(testing.TB) *suppress.SQL
}{{"SQLite", openSQLite}, {"PostgreSQL", openPostgres}}

func TestSQL(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			suppresstest.TestStore(t, func(t *testing.T) suppress.Store { return d.open(t) })
		})
	}
}

// A whole list, from one store to another and back.
func TestList(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			ctx := t.Context()
			list, err := suppress.New(d.open(t), nil)
			require.NoError(t, err)
			var file strings.Builder
			file.WriteString("email,reason,created_at\n")
			for i := range 2500 {
				fmt.Fprintf(&file, "user%d@example.com,bounce,2026-01-02T03:04:05Z\n", i)
			}
			done, err := list.Import(ctx, strings.NewReader(file.String()), suppress.ReadOptions{})
			require.NoError(t, err)
			require.Equal(t, suppress.Imported{Added: 2500}, done)

			full := bounce.Class{Category: bounce.MailboxFull, Scope: bounce.ScopeRecipient, Rule: "test", Confidence: 1}
			now := time.Now()
			for i := range 5 {
				yes, err := list.Observe(ctx, suppress.Event{Recipient: "Full@example.com", Time: now.Add(time.Duration(i-5) * 24 * time.Hour)}, full)
				require.NoError(t, err)
				require.Equal(t, i == 4, yes)
			}
			reason, yes, err := list.Suppressed(ctx, "full@example.com", "")
			require.NoError(t, err)
			require.True(t, yes)
			require.Contains(t, reason, "soft-bounces (mailbox-full)")

			var out, back bytes.Buffer
			require.NoError(t, list.Export(ctx, &out))
			memory, err := suppress.New(suppress.NewMemory(), nil)
			require.NoError(t, err)
			done, err = memory.Import(ctx, bytes.NewReader(out.Bytes()), suppress.ReadOptions{})
			require.NoError(t, err)
			require.Equal(t, suppress.Imported{Added: 2501}, done)
			require.NoError(t, memory.Export(ctx, &back))
			require.ElementsMatch(t, strings.Split(out.String(), "\n"), strings.Split(back.String(), "\n"))
		})
	}
}

// A database that is gone is an error, not "not suppressed".
func TestClosed(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	s, err := suppress.NewSQL(db, suppress.SQLOptions{Dialect: suppress.SQLite})
	require.NoError(t, err)
	list, err := suppress.New(s, nil)
	require.NoError(t, err)
	_, _, err = list.Suppressed(t.Context(), "ann@example.com", "")
	require.ErrorContains(t, err, "volley_suppressed", "CreateTables was not called")
	require.NoError(t, db.Close())
	_, _, err = list.Suppressed(t.Context(), "ann@example.com", "")
	require.Error(t, err)
	require.Error(t, s.CreateTables(t.Context()))
	require.Error(t, list.Unsubscribe(t.Context(), suppress.Event{Recipient: "ann@example.com"}))
	require.Error(t, list.Delivered(t.Context(), suppress.Event{Recipient: "ann@example.com"}))
	require.Error(t, list.Prune(t.Context()))
	_, err = s.Hit(t.Context(), suppress.Hit{Key: "x", Time: time.Now()}, time.Hour)
	require.Error(t, err)
	for _, err := range list.All(t.Context()) {
		require.Error(t, err)
	}
}

func BenchmarkSuppressed(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			list, err := suppress.New(d.open(b), nil)
			require.NoError(b, err)
			batch := make([]suppress.Entry, 10_000)
			for i := range batch {
				batch[i] = suppress.Entry{Address: fmt.Sprintf("user%d@example.com", i), Cause: suppress.Manual}
			}
			require.NoError(b, list.Add(b.Context(), batch...))
			for b.Loop() {
				if _, yes, err := list.Suppressed(b.Context(), "nobody@example.com", ""); yes || err != nil {
					b.Fatal(yes, err)
				}
			}
		})
	}
}
