package suppress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// The bounds of one row of CSV. What is longer was not closed by a quote, or
// is no list.
const (
	maxRow   = 64 << 10 // bytes
	maxLines = 100
	maxCells = 200
)

var (
	errRowTooLong = errors.New("it is longer than 64 KiB")
	errCells      = errors.New("it has more than 200 cells")
	errOpenQuote  = errors.New("a quote is not closed")
)

// rowReader splits CSV (RFC 4180) into rows. Other than encoding/csv it goes on
// after a row that is wrong, loses no more than that row's first line to an
// open quote, and is lenient with quotes inside of cells.
type rowReader struct {
	in      *bufio.Reader
	comma   byte
	line    int       // number of lines read
	pending []rawLine // read ahead and given back
	cells   []string
}

// rawLine is a line without its end, or why there is none.
type rawLine struct {
	text []byte
	err  error
}

func newRowReader(r io.Reader) *rowReader {
	in := bufio.NewReaderSize(r, 64<<10)
	if mark, _ := in.Peek(3); string(mark) == "\uFEFF" { // spreadsheets put it there
		_, _ = in.Discard(3)
	}
	return &rowReader{in: in, comma: ','}
}

// row returns the next row's cells, good until the next call, and the number
// of its first line, from 1. Blank lines are passed over. A *rowError is about
// this row only; any other error, io.EOF above all, is the end.
func (r *rowReader) row() (cells []string, line int, err error) {
	for {
		next := r.nextLine()
		line = r.line
		switch {
		case errors.Is(next.err, errRowTooLong):
			return nil, line, &rowError{next.err}
		case next.err != nil:
			return nil, line, next.err
		case len(bytes.TrimSpace(next.text)) == 0:
			continue
		}
		text, err := r.closeQuotes(next.text)
		if err == nil {
			err = r.split(text)
		}
		if err != nil {
			return nil, line, &rowError{err}
		}
		return r.cells, line, nil
	}
}

// rowError is a row that can't be read.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// nextLine returns the next line.
func (r *rowReader) nextLine() rawLine {
	var l rawLine
	if len(r.pending) > 0 {
		l, r.pending = r.pending[0], r.pending[1:]
	} else {
		l = r.readLine()
	}
	if l.err == nil || errors.Is(l.err, errRowTooLong) {
		r.line++
	}
	return l
}

func (r *rowReader) readLine() rawLine {
	text, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.in.ReadSlice('\n')
		}
		return rawLine{err: errRowTooLong}
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(text) == 0) {
		return rawLine{err: err}
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	return rawLine{text: bytes.Clone(bytes.TrimSuffix(text, []byte("\r")))}
}

// closeQuotes adds lines until every quote is closed. If none does, it gives
// the lines back, so that only the first is lost.
func (r *rowReader) closeQuotes(text []byte) ([]byte, error) {
	open := r.openAfter(text, false)
	if !open {
		return text, nil
	}
	start := r.line
	var more []rawLine
	whole := bytes.Clone(text)
	for open && len(whole) <= maxRow && len(more) < maxLines {
		next := r.nextLine()
		more = append(more, next)
		if next.err != nil {
			break
		}
		whole = append(append(whole, '\n'), next.text...)
		open = r.openAfter(next.text, true)
	}
	if !open && len(whole) <= maxRow {
		return whole, nil
	}
	r.pending = append(more, r.pending...)
	r.line = start
	return nil, errOpenQuote
}

// openAfter reports whether a line ends within a quoted cell.
func (r *rowReader) openAfter(text []byte, open bool) bool {
	start := !open // at the start of a cell
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case open:
			if c != '"' {
				continue
			}
			if i+1 < len(text) && text[i+1] == '"' {
				i++
				continue
			}
			open = false
		case c == '"' && start:
			open, start = true, false
		default:
			start = c == r.comma
		}
	}
	return open
}

// split fills r.cells. All quotes are closed.
func (r *rowReader) split(text []byte) error {
	r.cells = r.cells[:0]
	for {
		if len(r.cells) == maxCells {
			return errCells
		}
		var cell []byte
		rest := text
		if len(text) > 0 && text[0] == '"' {
			cell, rest = unquoteCell(text[1:])
		}
		end := bytes.IndexByte(rest, r.comma)
		if end < 0 {
			r.cells = append(r.cells, string(cell)+string(rest))
			return nil
		}
		r.cells = append(r.cells, string(cell)+string(rest[:end]))
		text = rest[end+1:]
	}
}

// unquoteCell takes the content up to the closing quote, with doubled quotes
// made single, and what follows it.
func unquoteCell(text []byte) (cell, rest []byte) {
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return append(cell, text...), nil
		}
		cell = append(cell, text[:i]...)
		if i+1 == len(text) || text[i+1] != '"' {
			return cell, text[i+1:]
		}
		cell = append(cell, '"')
		text = text[i+2:]
	}
}
