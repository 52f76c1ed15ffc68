package spool

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"

	"modernc.org/sqlite"
)

// conn is a connection to the file. It is used by one goroutine at a time. The
// driver is used without database/sql, whose locks and conversions cost as much
// as the statements here.
type conn struct {
	c     driver.Conn
	stmts []*stmt // prepared; closed before c, which would live on for them
}

// dsn names the file to the driver. In a URI the path ends at ? or #.
func dsn(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?_error_rc=1"
}

func openConn(path string, pragmas ...string) (*conn, error) {
	c, err := (&sqlite.Driver{}).Open(dsn(path))
	if err != nil {
		return nil, err
	}
	cn := &conn{c: c}
	for _, p := range pragmas {
		if err := cn.exec("PRAGMA " + p); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return cn, nil
}

func (c *conn) Close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// exec runs statements that are not worth keeping.
func (c *conn) exec(sql string, args ...driver.Value) error {
	// context.Background: for another one the driver starts a goroutine at each call.
	_, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), sql, named(nil, args))
	return err
}

// query runs a statement that is not worth keeping.
func (c *conn) query(sql string, row func([]driver.Value) error, args ...driver.Value) error {
	rows, err := c.c.(driver.QueryerContext).QueryContext(context.Background(), sql, named(nil, args))
	if err != nil {
		return err
	}
	return scan(rows, make([]driver.Value, len(rows.Columns())), row)
}

// vacuumInto copies the database to a new file. It ends early with ctx.
func (c *conn) vacuumInto(ctx context.Context, path string) error {
	_, err := c.c.(driver.ExecerContext).ExecContext(ctx, "VACUUM INTO ?", named(nil, []driver.Value{path}))
	return err
}

// int64 gives the number that a statement finds.
func (c *conn) int64(sql string, args ...driver.Value) (n int64, err error) {
	err = c.query(sql, func(row []driver.Value) error {
		n, _ = row[0].(int64)
		return nil
	}, args...)
	return n, err
}

// stmt is a prepared statement of one conn.
type stmt struct {
	s    driver.Stmt
	args []driver.NamedValue
	row  []driver.Value
}

func (c *conn) prepare(sql string) (*stmt, error) {
	s, err := c.c.(driver.ConnPrepareContext).PrepareContext(context.Background(), sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	st := &stmt{s: s}
	c.stmts = append(c.stmts, st)
	return st, nil
}

// prepareAll prepares a statement for each place.
func (c *conn) prepareAll(sql map[**stmt]string) error {
	for place, text := range sql {
		s, err := c.prepare(text)
		if err != nil {
			return err
		}
		*place = s
	}
	return nil
}

// exec runs the statement and returns how many rows it changed.
func (s *stmt) exec(args ...driver.Value) (int64, error) {
	s.args = named(s.args, args)
	res, err := s.s.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query calls row for each row that the statement finds. The slice is used
// again, not so the strings and blobs in it.
func (s *stmt) query(row func([]driver.Value) error, args ...driver.Value) error {
	s.args = named(s.args, args)
	rows, err := s.s.(driver.StmtQueryContext).QueryContext(context.Background(), s.args)
	if err != nil {
		return err
	}
	if s.row == nil {
		s.row = make([]driver.Value, len(rows.Columns()))
	}
	return scan(rows, s.row, row)
}

func scan(rows driver.Rows, into []driver.Value, row func([]driver.Value) error) (err error) {
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for {
		switch err := rows.Next(into); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := row(into); err != nil {
			return err
		}
	}
}

// named puts args into buf as the driver wants them.
func named(buf []driver.NamedValue, args []driver.Value) []driver.NamedValue {
	buf = buf[:0]
	for i, a := range args {
		buf = append(buf, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return buf
}

// What a column holds; NULL is the zero value.
func integer(v driver.Value) int64 { n, _ := v.(int64); return n }
func text(v driver.Value) string   { s, _ := v.(string); return s }
func blob(v driver.Value) []byte   { b, _ := v.([]byte); return b }

// orNull is v, or NULL for the zero value.
func orNull[T string | int64](v T) driver.Value {
	var zero T
	if v == zero {
		return nil
	}
	return v
}
