package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// The log's file has two regions, used in turn. A region is a row of records, the
// first of which has all that counts; each write adds one. When it is long
// enough, the other begins, with a higher number. So nothing is overwritten that
// is needed, and the file does not grow.
//
// A record begins at a multiple of block, lest a write that is torn harms
// another, with its checksum, length and its region's number; then come entries:
// kind, id, of marks and ends a time, and of ends Seq, length of the detail and the
// detail; numbers are varints.
const (
	block      = 512
	recordHead = 16
	regionSize = 64 << 20 // room, not size: the file has a hole
	regionLong = 1 << 20  // or more, lest it is mostly the first record
	leap       = 1 << 20  // of the number at Open: if a region's first record is damaged, the others must not follow a new one
)

// logEntry says something of a recipient. A mark's logEnd has an id and the
// recipient's place in its line; what is not marked any more has but an id.
type logEntry struct {
	kind entryKind
	logEnd
}

type entryKind uint8

const (
	entryMarked   entryKind = iota + 1 // its message's end may be on the wire
	entryUnmarked                      // it is not
	entryEnded
)

// numbers is how many an entry of the kind has, 0 if there is no such kind.
func (k entryKind) numbers() int {
	switch k {
	case entryUnmarked:
		return 1
	case entryMarked:
		return 2
	case entryEnded:
		return 3
	}
	return 0
}

// rawFile is what the log needs of a file.
type rawFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error // of what was written, and of the size
}

// logDisk is where the log is: a variable, for tests to put a faulty disk there.
var logDisk = struct {
	open       func(path string) (rawFile, error)
	remove     func(path string) error
	syncFolder func(folder string) error
}{
	func(path string) (rawFile, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		return diskFile{f}, err
	},
	os.Remove,
	syncFolder,
}

type diskFile struct{ *os.File }

func (f diskFile) Sync() error { return datasync(f.File) }

// logFile is the log's file.
type logFile struct {
	f      rawFile
	region int    // in use: 0 or 1
	number uint64 // the highest that was given out
	at     int64  // where the next record goes; 0 = a region must begin
	long   int64  // when it is long enough
	buf    []byte
}

func openLog(path string) (*logFile, error) {
	f, err := logDisk.open(path)
	if err != nil {
		return nil, err
	}
	return &logFile{f: f}, nil
}

// sound reports whether the disk has what was added.
func (f *logFile) sound() bool { return f.at > 0 }

// read calls entry for all that the newest region has.
func (f *logFile) read(entry func(logEntry)) error {
	var newest []logEntry
	for region := range 2 {
		number, entries, err := f.readRegion(region)
		if err != nil {
			return err
		}
		if number > f.number {
			f.number, f.region, newest = number, region, entries
		}
	}
	f.number += leap
	for _, e := range newest {
		entry(e)
	}
	return nil
}

// add writes a record, or a region if need be, that begins with all there is.
// After an error nobody knows what is on the disk: the next one is a region.
func (f *logFile) add(entries []logEntry, all func() []logEntry) error {
	f.record(entries)
	if f.at == 0 || f.at+int64(len(f.buf)) > f.long {
		return f.begin(all())
	}
	at := f.at
	f.at = 0
	if err := f.put(f.region, at); err != nil {
		return err
	}
	f.at = at + int64(len(f.buf))
	return nil
}

// begin begins the other region. If that fails it is tried again: this one has
// what is known.
func (f *logFile) begin(all []logEntry) error {
	f.number++
	f.at = 0
	f.record(all)
	if len(f.buf) > regionSize {
		return fmt.Errorf("%w: %d octets are under way at once", ErrFull, len(f.buf))
	}
	if err := f.put(1-f.region, 0); err != nil {
		return err
	}
	f.region, f.at = 1-f.region, int64(len(f.buf))
	f.long = min(regionSize, regionLong+4*f.at)
	return nil
}

// record makes a record of entries in buf.
func (f *logFile) record(entries []logEntry) {
	b := append(f.buf[:0], make([]byte, recordHead)...)
	for _, e := range entries {
		b = append(b, byte(e.kind))
		b = binary.AppendVarint(b, e.id)
		if e.kind != entryUnmarked {
			b = binary.AppendVarint(b, e.at)
		}
		if e.kind == entryEnded {
			b = binary.AppendVarint(b, e.seq)
			b = binary.AppendUvarint(b, uint64(len(e.detail)))
			b = append(b, e.detail...)
		}
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	binary.LittleEndian.PutUint64(b[8:], f.number)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	f.buf = append(b, make([]byte, padded(len(b))-len(b))...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// padded is n, up to the next block.
func padded(n int) int { return (n + block - 1) / block * block }

// put writes the record to the disk.
func (f *logFile) put(region int, at int64) error {
	if _, err := f.f.WriteAt(f.buf, int64(region)*regionSize+at); err != nil {
		return err
	}
	return f.f.Sync()
}

// readRegion gives a region's number, 0 if it is none, and its entries. It ends
// before the first record that was not written whole.
func (f *logFile) readRegion(region int) (number uint64, entries []logEntry, err error) {
	from := io.NewSectionReader(f.f, int64(region)*regionSize, regionSize)
	for at := int64(0); ; {
		rec, err := readRecord(from, at)
		if err != nil || rec == nil || at > 0 && binary.LittleEndian.Uint64(rec[8:]) != number {
			return number, entries, err
		}
		number = binary.LittleEndian.Uint64(rec[8:])
		if entries, err = appendEntries(entries, rec[recordHead:]); err != nil {
			return 0, nil, err
		}
		at += int64(padded(len(rec)))
	}
}

// readRecord gives the record at a place, nil if there is none.
func readRecord(from io.ReaderAt, at int64) ([]byte, error) {
	var head [recordHead]byte
	if err := readFull(from, head[:], at); err != nil {
		return nil, notThere(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	if n < recordHead || at+n > regionSize {
		return nil, nil
	}
	rec, err := io.ReadAll(io.NewSectionReader(from, at, n)) // grows with what is there
	if err != nil || int64(len(rec)) < n {
		return nil, err
	}
	if binary.LittleEndian.Uint32(rec) != crc32.Checksum(rec[4:], castagnoli) {
		return nil, nil
	}
	return rec, nil
}

func readFull(from io.ReaderAt, p []byte, at int64) error {
	_, err := io.ReadFull(io.NewSectionReader(from, at, int64(len(p))), p)
	return err
}

// notThere is nil for the end of the file, else err.
func notThere(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// appendEntries reads what record wrote.
func appendEntries(entries []logEntry, b []byte) ([]logEntry, error) {
	for len(b) > 0 {
		e := logEntry{kind: entryKind(b[0])}
		b = b[1:]
		if e.kind.numbers() == 0 {
			return nil, errLogEntry
		}
		for _, n := range []*int64{&e.id, &e.at, &e.seq}[:e.kind.numbers()] {
			v, size := binary.Varint(b)
			if size <= 0 {
				return nil, errLogEntry
			}
			*n, b = v, b[size:]
		}
		if e.kind == entryEnded {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return nil, errLogEntry
			}
			e.detail, b = string(b[size:size+int(n)]), b[size+int(n):]
		}
		entries = append(entries, e)
	}
	return entries, nil
}

var errLogEntry = fmt.Errorf("%w: an entry that makes no sense", ErrCorrupt)
