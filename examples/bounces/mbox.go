package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// readMbox takes each mail of an mbox file (RFC 4155, and the mboxrd kind of
// quoting). It ends at the first that can't be taken.
func readMbox(ctx context.Context, name string, in *intake) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("-mbox: %w", err)
	}
	defer f.Close()
	box := newMbox(f)
	for n := 1; ctx.Err() == nil; n++ {
		more, err := box.next()
		if err != nil {
			return fmt.Errorf("-mbox %s: %w", name, err)
		}
		if !more {
			return nil
		}
		if err := in.take(ctx, mail{source: "mbox", file: name, body: box}); err != nil {
			return fmt.Errorf("-mbox %s: mail %d: %w", name, n, err)
		}
	}
	return nil
}

var (
	fromLine  = []byte("From ")
	errNoMbox = errors.New(`it is no mbox file: its first line does not begin with "From "`)
)

// mbox splits a file into mails: next goes to one, Read reads it.
type mbox struct {
	in    *bufio.Reader
	line  []byte // what Read has still to give of the current line
	start bool   // at the start of a line
	blank bool   // the line before was empty: a mail may begin
	atEnd bool   // of the current mail, or before the first
	begun bool
}

func newMbox(r io.Reader) *mbox {
	return &mbox{in: bufio.NewReaderSize(r, 64<<10), start: true, blank: true, atEnd: true}
}

// next goes to the next mail, and reports whether there is one.
func (b *mbox) next() (bool, error) {
	if _, err := io.Copy(io.Discard, b); err != nil { // what was not read of the last one
		return false, err
	}
	if !b.begun {
		if err := b.skipBlank(); err != nil {
			return false, err
		}
	}
	head, err := b.in.Peek(len(fromLine))
	if len(head) == 0 && errors.Is(err, io.EOF) {
		return false, nil
	}
	if !bytes.Equal(head, fromLine) {
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		return false, errNoMbox
	}
	if err := b.skipLine(); err != nil {
		return false, err
	}
	b.begun, b.atEnd, b.start, b.blank = true, false, true, false
	return true, nil
}

// skipBlank skips empty lines at the start of the file.
func (b *mbox) skipBlank() error {
	for {
		c, err := b.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if c != '\n' && c != '\r' {
			return b.in.UnreadByte()
		}
	}
}

func (b *mbox) skipLine() error {
	for {
		_, err := b.in.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// Read reads the current mail.
func (b *mbox) Read(p []byte) (int, error) {
	for len(b.line) == 0 {
		if b.atEnd {
			return 0, io.EOF
		}
		if err := b.nextPiece(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.line)
	b.line = b.line[n:]
	return n, nil
}

// nextPiece reads the next line, or the next piece of a long one.
func (b *mbox) nextPiece() error {
	if b.start && b.blank {
		if head, _ := b.in.Peek(len(fromLine)); bytes.Equal(head, fromLine) {
			b.atEnd = true
			return nil
		}
	}
	piece, err := b.in.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(piece) == 0 {
		b.atEnd = true
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	if b.start {
		b.blank = len(bytes.TrimRight(piece, "\r\n")) == 0
		if bytes.HasPrefix(bytes.TrimLeft(piece, ">"), fromLine) && piece[0] == '>' {
			piece = piece[1:]
		}
	}
	b.start = err == nil
	b.line = piece
	return nil
}
