package suppress

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dialect is what a database's SQL differs in.
type Dialect uint8

// The dialects.
const (
	SQLite   Dialect = iota + 1 // version 3.24 or later
	Postgres                    // PostgreSQL 9.5 or later, and what speaks like it
)

// SQL is a [Store] in a database that many processes may share. The driver is
// the caller's.
//
// CreateTables makes its two tables:
//
//	volley_suppressed  an entry: addr_key, stream, cause (primary key), address, category, source, at, expires
//	volley_failures    a failure that counts: addr_key, kind, at (primary key), until
//
// Causes and categories are names; at, expires and until are nanoseconds since
// 1970 in UTC; expires is NULL for never. Every query finds its rows by the
// primary key, but for Prune, which reads both tables.
type SQL struct {
	db      *sql.DB
	dialect Dialect
	q       queries
}

// SQLOptions say what the database is like.
type SQLOptions struct {
	Dialect Dialect // must be given
	Prefix  string  // of the tables' names, "" = "volley_"; may name a schema: "mail.volley_"
}

var prefixForm = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*$`)

// NewSQL makes a Store of the database, which stays the caller's to close.
func NewSQL(db *sql.DB, o SQLOptions) (*SQL, error) {
	if o.Prefix == "" {
		o.Prefix = "volley_"
	}
	switch {
	case db == nil:
		return nil, errors.New("suppress: there is no database")
	case o.Dialect != SQLite && o.Dialect != Postgres:
		return nil, fmt.Errorf("suppress: Dialect %d: give SQLite or Postgres", o.Dialect)
	case !prefixForm.MatchString(o.Prefix) || len(o.Prefix) > 100:
		return nil, fmt.Errorf("suppress: Prefix %q: letters, digits and _ make a name", o.Prefix)
	}
	return &SQL{db: db, dialect: o.Dialect, q: newQueries(o)}, nil
}

// CreateTables makes the tables that are not there yet. It may be called at
// every start; in PostgreSQL not by two processes at the same moment.
func (s *SQL) CreateTables(ctx context.Context) error {
	for _, statement := range s.q.create {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("suppress: creating tables: %w", err)
		}
	}
	return nil
}

// Find implements Store.
func (s *SQL) Find(ctx context.Context, key string) ([]Entry, error) {
	return s.query(ctx, s.q.find, key)
}

func (s *SQL) query(ctx context.Context, query string, args ...any) ([]Entry, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("suppress: %w", err)
	}
	defer rows.Close()
	var entries []Entry
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("suppress: %w", err)
		}
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("suppress: %w", err)
	}
	return entries, nil
}

func scan(rows *sql.Rows) (e Entry, err error) {
	var cause, category string
	var at int64
	var expires sql.NullInt64
	if err := rows.Scan(&e.Address, &e.Stream, &cause, &category, &e.Source, &at, &expires); err != nil {
		return e, err
	}
	e.Time = fromNano(at)
	if expires.Valid {
		e.Expires = fromNano(expires.Int64)
	}
	return e, errors.Join(e.Cause.UnmarshalText([]byte(cause)), e.Category.UnmarshalText([]byte(category)))
}

// putRows is how many entries one statement puts: databases bound the number
// of parameters.
const putRows = 100

// Put implements Store. It is one transaction.
func (s *SQL) Put(ctx context.Context, entries []Entry) error {
	entries = distinct(entries)
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	defer tx.Rollback() // has no effect after Commit
	for chunk := range slices.Chunk(entries, putRows) {
		args := make([]any, 0, len(chunk)*putColumns)
		for i := range chunk {
			e := &chunk[i]
			expires := sql.NullInt64{Int64: e.Expires.UnixNano(), Valid: !e.Expires.IsZero()}
			args = append(args, e.Key(), e.Stream, e.Cause.String(), e.Address, e.Category.String(), e.Source, e.Time.UnixNano(), expires)
		}
		if _, err := tx.ExecContext(ctx, s.q.put(len(chunk)), args...); err != nil {
			return fmt.Errorf("suppress: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	return nil
}

// distinct keeps the last of entries with the same name, since one statement
// must not put a row twice, and sorts them, so that transactions at the same
// time take their rows in the same order and cannot lock each other out.
func distinct(entries []Entry) []Entry {
	sorted := slices.Clone(entries)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, byName)
	return slices.CompactFunc(sorted, func(a, b Entry) bool { return byName(a, b) == 0 })
}

func byName(a, b Entry) int {
	return cmp.Or(strings.Compare(a.Key(), b.Key()), strings.Compare(a.Stream, b.Stream), cmp.Compare(a.Cause, b.Cause))
}

// Delete implements Store.
func (s *SQL) Delete(ctx context.Context, key, stream string, cause Cause) error {
	return s.exec(ctx, s.q.delete, key, stream, cause.String())
}

func (s *SQL) exec(ctx context.Context, query string, args ...any) error {
	if _, err := s.db.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	return nil
}

// pageRows is how many entries All reads at a time.
const pageRows = 1000

// All implements Store. It reads in pages, so that no connection is held while
// the caller works.
func (s *SQL) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var last Entry
		cause := ""
		for {
			page, err := s.query(ctx, s.q.page, last.Key(), last.Stream, cause, pageRows)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) < pageRows {
				return
			}
			last = page[len(page)-1]
			cause = last.Cause.String()
		}
	}
}

// Hit implements Store.
func (s *SQL) Hit(ctx context.Context, h Hit, within time.Duration) (n int, err error) {
	at := h.Time.UnixNano()
	if err := s.exec(ctx, s.q.hit, h.Key, h.Kind, at, at+int64(within)); err != nil {
		return 0, err
	}
	row := s.db.QueryRowContext(ctx, s.q.count, h.Key, h.Kind, h.Key, h.Kind, int64(within))
	if err := row.Scan(&n); err != nil {
		return 0, fmt.Errorf("suppress: %w", err)
	}
	return n, nil
}

// Forget implements Store.
func (s *SQL) Forget(ctx context.Context, key string, until time.Time) error {
	return s.exec(ctx, s.q.forget, key, until.UnixNano())
}

// Prune implements Store.
func (s *SQL) Prune(ctx context.Context, now time.Time) error {
	n := now.UnixNano()
	return errors.Join(s.exec(ctx, s.q.pruneEntries, n), s.exec(ctx, s.q.pruneHits, n))
}

// queries are the statements for one database.
type queries struct {
	create                                 []string
	find, delete, page, hit, count, forget string
	pruneEntries, pruneHits                string
	putStart, putEnd                       string
	placeholders                           func(query string) string
}

const putColumns = 8

func newQueries(o SQLOptions) queries {
	text := strings.NewReplacer("{entries}", o.Prefix+"suppressed", "{failures}", o.Prefix+"failures",
		"{columns}", "address, stream, cause, category, source, at, expires")
	placeholders := func(query string) string { return query }
	if o.Dialect == Postgres {
		placeholders = numbered
	}
	q := func(query string) string { return placeholders(text.Replace(query)) }
	return queries{
		create: []string{
			q(`CREATE TABLE IF NOT EXISTS {entries} (
				addr_key TEXT NOT NULL, stream TEXT NOT NULL, cause TEXT NOT NULL,
				address TEXT NOT NULL, category TEXT NOT NULL, source TEXT NOT NULL,
				at BIGINT NOT NULL, expires BIGINT,
				PRIMARY KEY (addr_key, stream, cause))`),
			q(`CREATE TABLE IF NOT EXISTS {failures} (
				addr_key TEXT NOT NULL, kind TEXT NOT NULL, at BIGINT NOT NULL, until BIGINT NOT NULL,
				PRIMARY KEY (addr_key, kind, at))`),
		},
		find:   q(`SELECT {columns} FROM {entries} WHERE addr_key = ?`),
		delete: q(`DELETE FROM {entries} WHERE addr_key = ? AND stream = ? AND cause = ?`),
		page: q(`SELECT {columns} FROM {entries} WHERE (addr_key, stream, cause) > (?, ?, ?)
			ORDER BY addr_key, stream, cause LIMIT ?`),
		hit: q(`INSERT INTO {failures} (addr_key, kind, at, until) VALUES (?, ?, ?, ?)
			ON CONFLICT (addr_key, kind, at) DO NOTHING`),
		count: q(`SELECT COUNT(*) FROM {failures} WHERE addr_key = ? AND kind = ? AND at >
			(SELECT MAX(at) FROM {failures} WHERE addr_key = ? AND kind = ?) - ?`),
		forget:       q(`DELETE FROM {failures} WHERE addr_key = ? AND at <= ?`),
		pruneEntries: q(`DELETE FROM {entries} WHERE expires <= ?`),
		pruneHits:    q(`DELETE FROM {failures} WHERE until <= ?`),
		putStart:     text.Replace(`INSERT INTO {entries} (addr_key, stream, cause, address, category, source, at, expires) VALUES `),
		putEnd: ` ON CONFLICT (addr_key, stream, cause) DO UPDATE SET address = excluded.address, category = excluded.category,
			source = excluded.source, at = excluded.at, expires = excluded.expires`,
		placeholders: placeholders,
	}
}

// put is the statement that puts n entries.
func (q *queries) put(n int) string {
	const row = "(?, ?, ?, ?, ?, ?, ?, ?)"
	return q.placeholders(q.putStart + strings.Repeat(row+", ", n-1) + row + q.putEnd)
}

// numbered turns the question marks of a query into $1, $2 and so on.
func numbered(query string) string {
	var b strings.Builder
	for i := 1; ; i++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(i))
		query = after
	}
}
