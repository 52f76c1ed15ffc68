package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/volleymail/volley/sender"
)

// openResults opens the file of results to go on with it, or makes it.
func (k *kept) openResults(path string, begun bool) error {
	flag := os.O_RDWR
	if !begun {
		flag |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flag, 0o600)
	switch {
	case begun && errors.Is(err, fs.ErrNotExist):
		return errors.New("the file is missing, and the results so far were in it: bring it back, or begin anew with another -spool")
	case err != nil:
		return plain(err)
	}
	k.out = &results{file: f, csv: csv.NewWriter(f)}
	return k.readResults(begun)
}

// readResults notes the rows that have a result, cuts off what a crash has left
// of a line, and gets ready to write behind.
func (k *kept) readResults(begun bool) error {
	info, err := k.out.file.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	k.done = make([]bool, len(k.mail.list.rows))
	r := csv.NewReader(io.NewSectionReader(k.out.file, 0, size))
	var good int64 // where the last whole line ends
	for line := 0; ; line++ {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		end := r.InputOffset()
		if end == size && (err != nil || !k.endsLine(size)) {
			break
		}
		switch {
		case err != nil:
			return fmt.Errorf("%w: it is damaged: restore it", err)
		case line == 0 && !slices.Equal(cells, resultColumns):
			return errors.New("the file exists, and is none of results: name another one")
		case line > 0 && !begun:
			return errors.New("the file exists, and is not of this spool: name another one, or move it away")
		case line > 0:
			if err := k.known(cells); err != nil {
				return fmt.Errorf("line %d: %w: it is not of this spool, or was changed: restore it", line+1, err)
			}
		}
		good = end
	}
	return k.goOn(good)
}

// endsLine reports whether the last octet of the file ends a line.
func (k *kept) endsLine(size int64) bool {
	var last [1]byte
	_, err := k.out.file.ReadAt(last[:], size-1)
	return err == nil && last[0] == '\n'
}

// known notes a result of an earlier run.
func (k *kept) known(cells []string) error {
	n, err := strconv.Atoi(cells[0])
	i := n - k.mail.list.number(0)
	switch {
	case err != nil || i < 0 || i >= len(k.done) || cells[1] != k.mail.list.address(i):
		return fmt.Errorf("row %s of the list is not %q", cells[0], cells[1])
	case k.done[i]:
		return fmt.Errorf("row %s is there twice", cells[0])
	}
	var o sender.Outcome
	if err := o.UnmarshalText([]byte(cells[2])); err != nil {
		return err
	}
	k.done[i] = true
	k.earlier[o]++
	return nil
}

// goOn makes the file one of whole lines up to good, and safe: the Queue may be
// told to forget what is there.
func (k *kept) goOn(good int64) error {
	f := k.out.file
	if err := f.Truncate(good); err != nil {
		return err
	}
	if _, err := f.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if good > 0 {
		return f.Sync()
	}
	if err := k.out.csv.Write(resultColumns); err != nil {
		return err
	}
	return k.out.sync()
}
