package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// A mark must be on disk before the end of a message goes out, and a connection
// waits for it. A transaction of SQLite takes several times as long as the disk
// needs: so marks are in a log of their own, path-marks. It has two regions, used
// in turn. A region begins with all marks that hold; then each write adds a
// record: marks, and marks that are taken back. When it is long enough, the
// other begins, with a higher number. So nothing is overwritten that is needed.
//
// A mark of a recipient that has ended says nothing any more, and is not taken
// back. Open moves what marks there are to the table inflight, and begins anew.
const (
	block      = 512      // records begin at its multiples: a torn write harms no other
	recordHead = 16       // checksum, how many entries, number of the region
	regionSize = 16 << 20 // room, not size: the file has a hole
	regionLong = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// markFile is the part of a file that marks need.
type markFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error // of what was written, and of the size
}

// Variables, for tests to put a faulty disk under them.
var (
	openMarkFile = func(path string) (markFile, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		return diskFile{f}, err
	}
	removeMarkFile = os.Remove
)

type diskFile struct{ *os.File }

func (f diskFile) Sync() error { return datasync(f.File) }

// marks are the marks that hold and their log.
type marks struct {
	path string

	mu     sync.Mutex
	f      markFile           // nil when it is closed
	live   map[int64]struct{} // have a mark and have not ended
	views  []*markView
	region int    // in use: 0 or 1
	number uint64 // the highest that was given out
	at     int64  // where the next record goes; 0 = a region must begin
	buf    []byte
}

// markView collects the marks that held at some time since it began.
type markView struct{ ids map[int64]struct{} }

// open opens the log, or makes it, and returns the marks that are in it.
func (m *marks) open(path string) (ids []int64, err error) {
	m.path, m.live = path, map[int64]struct{}{}
	if m.f, err = openMarkFile(path); err != nil {
		return nil, err
	}
	for region := range 2 {
		number, found, err := readRegion(m.f, region)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		if number > m.number {
			m.number, m.region, m.live = number, region, found
		}
	}
	ids = slices.Sorted(maps.Keys(m.live))
	return ids, nil
}

// begin begins the log anew, without marks, and makes sure that it is there
// after a crash.
func (m *marks) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.live)
	if err := m.rotate(); err != nil {
		return err
	}
	return syncFolder(m.path)
}

// write adds marks and takes marks back, where there are any. It returns when a
// crash would not undo that.
func (m *marks) write(set, unset []int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.f == nil {
		return ErrClosed
	}
	unset = slices.DeleteFunc(unset, func(id int64) bool {
		_, ok := m.live[id]
		return !ok
	})
	if len(set)+len(unset) == 0 && m.at > 0 {
		return nil
	}
	for _, id := range unset {
		delete(m.live, id)
	}
	added := set[:0:0]
	for _, id := range set {
		if _, ok := m.live[id]; !ok {
			m.live[id] = struct{}{}
			added = append(added, id)
		}
	}
	err := m.log(added, unset)
	if err != nil {
		for _, id := range added {
			delete(m.live, id)
		}
		return err
	}
	for _, v := range m.views {
		for _, id := range added {
			v.ids[id] = struct{}{}
		}
	}
	return nil
}

// log writes a record, or a region if need be. After an error nobody knows what
// is on disk: the next one is a region.
func (m *marks) log(set, unset []int64) error {
	n := recordHead + 8*int64(len(set)+len(unset))
	if m.at == 0 || m.at+n > m.limit() {
		return m.rotate()
	}
	m.record(len(set) + len(unset))
	for _, id := range set {
		m.buf = binary.LittleEndian.AppendUint64(m.buf, uint64(id))
	}
	for _, id := range unset {
		m.buf = binary.LittleEndian.AppendUint64(m.buf, uint64(-id))
	}
	at := m.at
	m.at = 0
	if err := m.put(m.region, at); err != nil {
		return err
	}
	m.at = at + int64(len(m.buf))
	return nil
}

// limit is how long a region may become.
func (m *marks) limit() int64 { return min(regionSize, regionLong+4*8*int64(len(m.live))) }

// rotate begins the other region with the marks that hold.
func (m *marks) rotate() error {
	if recordHead+8*len(m.live) > regionSize {
		return fmt.Errorf("%w: %d recipients under way at once", ErrFull, len(m.live))
	}
	m.number++
	m.record(len(m.live))
	for id := range m.live {
		m.buf = binary.LittleEndian.AppendUint64(m.buf, uint64(id))
	}
	m.at = 0
	if err := m.put(1-m.region, 0); err != nil {
		return err // that region is tried again: this one has what is known
	}
	m.region, m.at = 1-m.region, int64(len(m.buf))
	return nil
}

// record begins one of n entries.
func (m *marks) record(n int) {
	m.buf = append(m.buf[:0], make([]byte, recordHead)...)
	binary.LittleEndian.PutUint32(m.buf[4:], uint32(n))
	binary.LittleEndian.PutUint64(m.buf[8:], m.number)
}

// put writes the record to the disk.
func (m *marks) put(region int, at int64) error {
	binary.LittleEndian.PutUint32(m.buf, crc32.Checksum(m.buf[4:], castagnoli))
	m.buf = append(m.buf, make([]byte, padded(int64(len(m.buf)))-int64(len(m.buf)))...)
	if _, err := m.f.WriteAt(m.buf, int64(region)*regionSize+at); err != nil {
		return err
	}
	return m.f.Sync()
}

// ended notes that recipients have ended in the file: their marks say nothing.
func (m *marks) ended(ids []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.live, id)
	}
}

// watch begins a view.
func (m *marks) watch() *markView {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &markView{ids: maps.Clone(m.live)}
	m.views = append(m.views, v)
	return v
}

// unwatch ends a view and returns its marks.
func (m *marks) unwatch(v *markView) []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.views = slices.DeleteFunc(m.views, func(o *markView) bool { return o == v })
	return slices.Sorted(maps.Keys(v.ids))
}

// close closes the log and returns the marks that hold.
func (m *marks) close() ([]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.f == nil {
		return nil, nil
	}
	err := m.f.Close()
	m.f = nil
	return slices.Sorted(maps.Keys(m.live)), err
}

// readRegion gives a region's number, 0 if it is none, and the marks in it. It
// ends before the first record that was not written whole.
func readRegion(f io.ReaderAt, region int) (number uint64, live map[int64]struct{}, err error) {
	live = map[int64]struct{}{}
	from := io.NewSectionReader(f, int64(region)*regionSize, regionSize)
	for at := int64(0); ; {
		rec, err := readRecord(from, at)
		if err != nil || rec == nil || at > 0 && binary.LittleEndian.Uint64(rec[8:]) != number {
			return number, live, err
		}
		number = binary.LittleEndian.Uint64(rec[8:])
		for entry := range slices.Chunk(rec[recordHead:], 8) {
			if id := int64(binary.LittleEndian.Uint64(entry)); id > 0 {
				live[id] = struct{}{}
			} else {
				delete(live, -id)
			}
		}
		at += padded(int64(len(rec)))
	}
}

// readRecord gives the record at a place, nil if there is none.
func readRecord(from io.ReaderAt, at int64) ([]byte, error) {
	var head [recordHead]byte
	if err := readFull(from, head[:], at); err != nil {
		return nil, notThere(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	if at+recordHead+8*n > regionSize {
		return nil, nil
	}
	rec := make([]byte, recordHead+8*n)
	if err := readFull(from, rec, at); err != nil {
		return nil, notThere(err)
	}
	if binary.LittleEndian.Uint32(rec) != crc32.Checksum(rec[4:], castagnoli) {
		return nil, nil
	}
	return rec, nil
}

// padded is n, up to the next block.
func padded(n int64) int64 { return (n + block - 1) / block * block }

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
