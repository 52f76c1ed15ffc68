package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// list is the recipients with their merge fields.
type list struct {
	name    string   // of the file, for messages
	columns []string // names of the merge fields
	email   int      // which of them is the address
	rows    []row
}

// row is a recipient: the cells in the order of the columns.
type row []string

// address returns the recipient's address.
func (l *list) address(i int) string { return l.rows[i][l.email] }

// number returns the row as a spreadsheet counts, in which the columns' names
// are row 1.
func (l *list) number(i int) int { return i + 2 }

// fields returns the merge fields of a row, for templates.
func (l *list) fields(i int) map[string]string {
	data := make(map[string]string, len(l.columns)+2)
	for c, name := range l.columns {
		data[name] = l.rows[i][c]
	}
	data[emailColumn] = l.address(i)
	return data
}

// print tells this list from others.
func (l *list) print() string { return fingerprint(l.columns, l.rows) }

const emailColumn = "email"

// readList reads up to first rows (0 = all). The error names the rows that are
// wrong.
func readList(file string, first int) (*list, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("-recipients %s: %v", file, plain(err))
	}
	defer f.Close()
	l, err := parseList(file, f, first)
	if err != nil {
		return nil, fmt.Errorf("-recipients %w", err)
	}
	return l, l.check()
}

// parseList takes the CSV (RFC 4180) apart.
func parseList(name string, in io.Reader, first int) (*list, error) {
	buffered := bufio.NewReader(in)
	if mark, _ := buffered.Peek(3); string(mark) == "\uFEFF" { // spreadsheets put it there
		_, _ = buffered.Discard(3)
	}
	r := csv.NewReader(buffered)
	columns, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file is empty: its first row names the columns, one is email", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	l := &list{name: name, columns: columns}
	if err := l.nameColumns(); err != nil {
		return nil, err
	}
	for first == 0 || len(l.rows) < first {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, csv.ErrFieldCount) {
			return nil, fmt.Errorf("%s: row %d: %w: each row needs a cell for each of the %d columns", name, l.number(len(l.rows)), err, len(columns))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: row %d: %w: put cells that have quotes in quotes, and double those within", name, l.number(len(l.rows)), err)
		}
		l.rows = append(l.rows, cells)
	}
	if len(l.rows) == 0 {
		return nil, fmt.Errorf("%s: there is no recipient below the row of column names", name)
	}
	return l, nil
}

func (l *list) nameColumns() error {
	l.email = -1
	for i, name := range l.columns {
		name = strings.TrimSpace(name)
		if strings.EqualFold(name, emailColumn) {
			name = emailColumn
			l.email = i
		}
		if name == "" || slices.Contains(l.columns[:i], name) {
			return fmt.Errorf("%s: column %d is named %q, which is empty or there already: give it a name of its own", l.name, i+1, name)
		}
		l.columns[i] = name
	}
	if l.email < 0 {
		if len(l.columns) == 1 && strings.ContainsAny(l.columns[0], ";\t") {
			return fmt.Errorf("%s: the first row is %q: separate the columns with commas", l.name, l.columns[0])
		}
		return fmt.Errorf("%s: no column is named email, there are: %s", l.name, strings.Join(l.columns, ", "))
	}
	return nil
}

// check looks at each address.
func (l *list) check() error {
	var p problems
	seen := make(map[string]int, len(l.rows))
	for i, cells := range l.rows {
		cells[l.email] = strings.TrimSpace(cells[l.email])
		addr := cells[l.email]
		n := l.number(i)
		if err := checkAddress(addr); err != nil {
			p.add("%s: row %d: email %q: %v: correct it or take the row out", l.name, n, addr, err)
			continue
		}
		if before, ok := seen[strings.ToLower(addr)]; ok {
			p.add("%s: row %d: email %q is in row %d already: take one out", l.name, n, addr, before)
			continue
		}
		seen[strings.ToLower(addr)] = n
		for c, cell := range cells {
			if !utf8.ValidString(cell) {
				p.add("%s: row %d: %s %q is not UTF-8: save the file in that encoding", l.name, n, l.columns[c], cell)
			}
		}
	}
	return p.err()
}
