package suppress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// ReadOptions are for what a file of another system does not say.
type ReadOptions struct {
	Cause   Cause     // of rows that name none; 0 = Manual
	Stream  string    // of rows that name none; "" = all streams
	Time    time.Time // of rows that name none; zero = now
	Expires time.Time // of rows that name none; zero = never
}

// LineError is a row of a CSV file that gives no entry.
type LineError struct {
	Line int // number of its first line, from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns Err.
func (e *LineError) Unwrap() error { return e.Err }

// ReadCSV reads entries from CSV, row by row: what WriteCSV wrote, or the
// export of another system. The first row names the columns, in any order and
// under the names that are usual, such as email, reason and created_at; columns
// that mean nothing here are passed over. A file whose first row has an
// address is taken for a list without names. Cells may be separated by comma,
// semicolon or tab.
//
// A row with a cause in words that mean nothing here has that of o, and the
// words are its source; but a row that says "subscribed", "blocked" or the like
// is wrong.
//
// A row that is wrong is yielded as a *LineError, and reading goes on. Any other
// error is the last: the file can't be read, or has no column of addresses.
// Rows and cells are bounded in size.
func ReadCSV(r io.Reader, o ReadOptions) iter.Seq2[Entry, error] {
	if o.Cause == 0 {
		o.Cause = Manual
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	return func(yield func(Entry, error) bool) {
		rows := newRowReader(r)
		rows.sniff()
		c := csvReader{options: o}
		for {
			cells, line, err := rows.row()
			switch {
			case errors.Is(err, io.EOF) && c.index == nil:
				yield(Entry{}, errors.New("suppress: the CSV is empty"))
				return
			case errors.Is(err, io.EOF):
				return
			case err != nil && !isRowError(err):
				yield(Entry{}, fmt.Errorf("suppress: CSV: line %d: %w", line+1, err))
				return
			case err == nil && c.index == nil:
				if headed, err := c.head(cells); err != nil {
					yield(Entry{}, err)
					return
				} else if headed {
					continue
				}
			}
			var e Entry
			if err == nil {
				e, err = c.entry(cells)
			}
			if err != nil {
				e, err = Entry{}, &LineError{Line: line, Err: err}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func isRowError(err error) bool {
	_, ok := errors.AsType[*rowError](err)
	return ok
}

// sniff chooses the separator that the first line has most of.
func (r *rowReader) sniff() {
	first := r.nextLine()
	r.pending = []rawLine{first}
	r.line = 0
	line, most := string(first.text), strings.Count(string(first.text), ",")
	for _, c := range []byte{';', '\t'} {
		if n := strings.Count(line, string(c)); n > most {
			r.comma, most = c, n
		}
	}
}

// csvReader turns rows into entries.
type csvReader struct {
	options ReadOptions
	index   []int // column of each field, -1 = none; nil before the first row
}

// head looks at the first row, and reports whether it has the columns' names.
func (c *csvReader) head(cells []string) (headed bool, err error) {
	names := make([]string, len(cells))
	for i, cell := range cells {
		names[i] = plainName(cell)
	}
	c.index = make([]int, fields)
	for f := range c.index {
		c.index[f] = -1
		for _, name := range fieldNames[f] {
			if i := slices.Index(names, name); i >= 0 {
				c.index[f] = i
				break
			}
		}
	}
	if c.index[fieldAddress] >= 0 {
		c.adoptReason(names)
		return true, nil
	}
	for i, cell := range cells {
		if _, err := Normalize(cell); err == nil {
			for f := range c.index {
				c.index[f] = -1
			}
			c.index[fieldAddress] = i
			return false, nil
		}
	}
	return false, fmt.Errorf("suppress: CSV: no column is named email, there are: %s", clip(strings.Join(cells, ", "), 200))
}

// adoptReason makes a second column for the cause the source, if there is no
// other: it has the reply then.
func (c *csvReader) adoptReason(names []string) {
	if c.index[fieldSource] >= 0 {
		return
	}
	for _, name := range fieldNames[fieldCause] {
		if i := slices.Index(names, name); i >= 0 && i != c.index[fieldCause] {
			c.index[fieldSource] = i
		}
	}
}

// cell returns the cell of a field without blanks around it, or "".
func (c *csvReader) cell(cells []string, f field) string {
	if i := c.index[f]; i >= 0 && i < len(cells) {
		return strings.TrimSpace(cells[i])
	}
	return ""
}

// entry makes a row's entry.
func (c *csvReader) entry(cells []string) (Entry, error) {
	o := c.options
	e := Entry{Address: c.cell(cells, fieldAddress), Stream: o.Stream, Cause: o.Cause, Time: o.Time, Expires: o.Expires}
	if stream := c.cell(cells, fieldStream); stream != "" {
		e.Stream = stream
	}
	if err := c.fillCause(&e, cells); err != nil {
		return e, err
	}
	if category := c.cell(cells, fieldCategory); category != "" {
		// Other systems' words for categories stay in the source at best.
		_ = e.Category.UnmarshalText([]byte(strings.ToLower(category)))
	}
	if err := c.fillTime(&e.Time, cells, fieldTime); err != nil {
		return e, err
	}
	if err := c.fillTime(&e.Expires, cells, fieldExpires); err != nil {
		return e, err
	}
	return e, e.normalize()
}

// fillTime reads a time, if there is one.
func (c *csvReader) fillTime(t *time.Time, cells []string, f field) (err error) {
	if s := c.cell(cells, f); s != "" {
		*t, err = parseTime(s)
	}
	return err
}

// fillCause reads cause and source. A cause in words of its own is a text, and
// the source, if there is no other; and a source may name the cause better.
func (c *csvReader) fillCause(e *Entry, cells []string) error {
	e.Source = c.cell(cells, fieldSource)
	word := c.cell(cells, fieldCause)
	if cause, ok := parseCause(word); ok {
		e.Cause = cause
		return nil
	}
	if noCauses[plainName(clip(word, 40))] {
		return fmt.Errorf("%q is no cause to suppress an address", word)
	}
	if cause, ok := parseCause(e.Source); ok {
		e.Cause = cause
	}
	switch {
	case word == "":
	case e.Source == "":
		e.Source = word
	default:
		e.Source = word + ": " + e.Source
	}
	return nil
}

// Imported says what Import did.
type Imported struct {
	Added int          // entries put on the list
	Bad   int          // rows that gave none
	Lines []*LineError // the first 1000 of them
}

const (
	importBatch = 1000
	maxReported = 1000 // bad lines
)

// Import adds the entries of a CSV file, see ReadCSV, a thousand at a time. Bad
// rows are reported and passed over. After an error Imported tells what was
// done before it; the same file can be imported again.
func (l *List) Import(ctx context.Context, r io.Reader, o ReadOptions) (Imported, error) {
	var done Imported
	batch := make([]Entry, 0, importBatch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.store.Put(ctx, batch); err != nil {
			return err
		}
		done.Added += len(batch)
		batch = batch[:0]
		return nil
	}
	for e, err := range ReadCSV(r, o) {
		if bad, ok := errors.AsType[*LineError](err); ok {
			if done.Bad++; len(done.Lines) < maxReported {
				done.Lines = append(done.Lines, bad)
			}
			continue
		}
		if err != nil {
			return done, errors.Join(err, flush())
		}
		if batch = append(batch, e); len(batch) == importBatch {
			if err := flush(); err != nil {
				return done, err
			}
		}
	}
	return done, flush()
}
