package bounce

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// LimitError says that a mail is larger or deeper than the Parser allows, or
// has more than 1,000 parts.
type LimitError struct {
	What string // "size" in octets, "depth" of nested multiparts, or number of "parts"
	Max  int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("bounce: mail exceeds the limit of %d for its %s", e.Max, e.What)
}

// lineSize bounds a line; the rest of a longer one is not looked at. RFC 5322
// §2.1.1 allows 998 octets.
const lineSize = 16 << 10

var lineBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, lineSize) }}

// lines reads a mail line by line, with whatever line end it has.
type lines struct {
	r    *bufio.Reader
	end  byte  // '\n', or '\r' in a mail that has no line feed at its start
	left int64 // octets still allowed
	max  int64
}

func newLines(r io.Reader, max int64) *lines {
	l := &lines{r: lineBuffers.Get().(*bufio.Reader), end: '\n', left: max, max: max}
	l.r.Reset(r)
	head, _ := l.r.Peek(lineSize / 4) // an error comes again with the first read
	if bytes.IndexByte(head, '\n') < 0 && bytes.IndexByte(head, '\r') >= 0 {
		l.end = '\r'
	}
	return l
}

func (l *lines) close() {
	l.r.Reset(nil)
	lineBuffers.Put(l.r)
}

// next returns a line without its end, valid until the next call; io.EOF when
// there is none.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice(l.end)
	l.left -= int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		line = bytes.Clone(line)
		err = l.skip()
	}
	switch {
	case l.left < 0:
		return nil, &LimitError{What: "size", Max: l.max}
	case err != nil && (err != io.EOF || len(line) == 0):
		return nil, err
	}
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line, nil
}

// skip passes over the rest of a line that is too long.
func (l *lines) skip() error {
	for {
		rest, err := l.r.ReadSlice(l.end)
		l.left -= int64(len(rest))
		if !errors.Is(err, bufio.ErrBufferFull) || l.left < 0 {
			return err
		}
	}
}
