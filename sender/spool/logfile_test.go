package spool

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
)

// regions is a log's file in memory.
type regions [2][]byte

func (r *regions) ReadAt(p []byte, off int64) (int, error) {
	if off >= 2*regionSize {
		return 0, io.EOF
	}
	data := r[off/regionSize]
	if off %= regionSize; off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *regions) WriteAt(p []byte, off int64) (int, error) {
	data := &r[off/regionSize]
	off %= regionSize
	if n := int(off) + len(p); n > len(*data) {
		*data = append(*data, make([]byte, n-len(*data))...)
	}
	return copy((*data)[off:], p), nil
}

func (*regions) Sync() error  { return nil }
func (*regions) Close() error { return nil }

func readLog(r *regions) (f *logFile, entries []logEntry, err error) {
	f = &logFile{f: r}
	err = f.read(func(e logEntry) { entries = append(entries, e) })
	return f, entries, err
}

// seal makes a record of what may be no entries.
func seal(number uint64, entries []byte) []byte {
	b := append(make([]byte, recordHead), entries...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	binary.LittleEndian.PutUint64(b[8:], number)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return append(b, make([]byte, padded(len(b))-len(b))...)
}

// FuzzLog: any file gives entries, no more than it has room for, or an error; and
// what is written then is read again.
func FuzzLog(f *testing.F) {
	var log regions
	file := &logFile{f: &log}
	all := someEntries()
	require.NoError(f, file.begin(all))
	require.NoError(f, file.add(all, nil))
	f.Add(log[0], log[1], false)
	f.Add(log[1][recordHead:100], []byte{byte(entryUnmarked), 2}, true)
	f.Add([]byte{byte(entryEnded), 2, 2, 2, 0xff, 0xff, 0xff, 0xff, 0x0f}, []byte{9}, true)
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0x03, 1}, []byte{}, false)
	f.Fuzz(func(t *testing.T, first, second []byte, sealed bool) {
		r := &regions{slices.Clone(first), slices.Clone(second)}
		if sealed {
			r = &regions{seal(3, first), slices.Concat(seal(4, nil), seal(4, second), seal(3, first))}
		}
		l, got, err := readLog(r)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.LessOrEqual(t, 2*len(got), max(len(r[0]), len(r[1])))
		require.NoError(t, l.begin(got))
		require.NoError(t, l.add(got, func() []logEntry { return nil }))
		_, again, err := readLog(r)
		require.NoError(t, err)
		require.Equal(t, append(got, got...), again)
	})
}

func someEntries() []logEntry {
	return []logEntry{
		{entryMarked, logEnd{id: 1, at: start.at}},
		{entryMarked, logEnd{id: 1 << 40, at: never}},
		{entryUnmarked, logEnd{id: 1}},
		{entryEnded, logEnd{id: 2, seq: 7, at: -1, detail: `{"recipient":"ann@example.com"}`}},
		{entryEnded, logEnd{id: 3, seq: 8, at: 1}},
	}
}

// TestLogTorn: a log gives all that was written whole, and of what was not, nothing.
func TestLogTorn(t *testing.T) {
	all := someEntries()
	mark, mark2, ended := all[0], all[1], all[3]
	const lastRegion, lastRecord = 0, 2 * block // the second begins in region 1, the third in 0
	for name, tt := range map[string]struct {
		tear func(r *regions)
		want []logEntry
		err  error
	}{
		"whole":               {func(*regions) {}, []logEntry{mark2, ended, mark}, nil},
		"no file":             {func(r *regions) { *r = regions{} }, nil, nil},
		"zeros":               {func(r *regions) { clear(r[0]); clear(r[1]) }, nil, nil},
		"noise":               {func(r *regions) { *r = regions{noise(5000), noise(5000)} }, nil, nil},
		"a part of a head":    {func(r *regions) { r[0] = r[0][:lastRecord+7] }, []logEntry{mark2, ended}, nil},
		"a head":              {func(r *regions) { r[0] = r[0][:lastRecord+recordHead] }, []logEntry{mark2, ended}, nil},
		"a part of a record":  {func(r *regions) { r[0] = r[0][:lastRecord+recordHead+2] }, []logEntry{mark2, ended}, nil},
		"not padded":          {func(r *regions) { r[0] = r[0][:lastRecord+recordHead+2+binary.MaxVarintLen64] }, []logEntry{mark2, ended, mark}, nil},
		"an octet is wrong":   {func(r *regions) { r[0][lastRecord+recordHead+1]++ }, []logEntry{mark2, ended}, nil},
		"one in the middle":   {func(r *regions) { r[0][block+recordHead+1]++ }, []logEntry{mark2}, nil},
		"the first":           {func(r *regions) { r[0][9]++ }, []logEntry{mark}, nil},
		"too long":            {func(r *regions) { binary.LittleEndian.PutUint32(r[0][lastRecord+4:], regionSize) }, []logEntry{mark2, ended}, nil},
		"longer than it is":   {func(r *regions) { binary.LittleEndian.PutUint32(r[0][4:], regionSize) }, []logEntry{mark}, nil},
		"shorter than a head": {func(r *regions) { binary.LittleEndian.PutUint32(r[0][4:], 3) }, []logEntry{mark}, nil},
		"of a region before":  {func(r *regions) { copy(r[0][lastRecord:], seal(1, []byte{9})) }, []logEntry{mark2, ended}, nil},
		"no such kind":        {func(r *regions) { copy(r[0][lastRecord:], seal(4, []byte{9})) }, nil, ErrCorrupt},
		"a part of an entry":  {func(r *regions) { copy(r[0][lastRecord:], seal(4, []byte{byte(entryMarked), 2})) }, nil, ErrCorrupt},
		"a detail too long": {func(r *regions) {
			copy(r[0][lastRecord:], seal(4, []byte{byte(entryEnded), 2, 2, 2, 0xff, 0xff, 0xff, 0xff, 0x0f}))
		}, nil, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			var r regions
			f := &logFile{f: &r}
			require.NoError(t, f.begin(nil))
			require.NoError(t, f.begin(nil)) // in region 0
			require.Equal(t, lastRegion, f.region)
			require.NoError(t, f.begin([]logEntry{mark}))
			require.NoError(t, f.begin([]logEntry{mark2}))
			require.NoError(t, f.add([]logEntry{ended}, nil))
			require.NoError(t, f.add([]logEntry{mark}, nil))
			tt.tear(&r)
			f, got, err := readLog(&r)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, got)
			if err != nil {
				return
			}
			require.NoError(t, f.begin([]logEntry{ended}))
			_, got, err = readLog(&r)
			require.NoError(t, err)
			require.Equal(t, []logEntry{ended}, got, "what is written anew counts")
		})
	}
}

// TestOpenTornLog: Open takes what was written whole, as often as it is asked, and
// names the file that is damaged.
func TestOpenTornLog(t *testing.T) {
	for name, tt := range map[string]struct {
		last     []byte // what comes after a mark
		inFlight int
		waiting  int
		err      error
	}{
		"nothing":      {nil, 1, 3, nil},
		"noise":        {noise(1000), 1, 3, nil},
		"an end":       {seal(leap+1, []byte("\x03\x04\x02\x02\x00")), 1, 2, nil},
		"a torn end":   {seal(leap+1, []byte("\x03\x04\x02\x02\x00"))[:recordHead+3], 1, 3, nil},
		"of no one":    {seal(leap+1, []byte("\x03\x7e\x02\x04\x00\x01\x7e\x02")), 1, 3, nil},
		"no such kind": {seal(leap+1, []byte{9}), 0, 0, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			s := filled(t, filepath.Join(t.TempDir(), "spool.db"), 3, 1)
			mark, _ := changesOf(takeAll(t, s, t0)[0])
			require.NoError(t, s.Write(t.Context(), t0, []sender.Change{mark}))
			path := filepath.Join(t.TempDir(), "torn.db")
			for _, part := range []string{"", "-wal", "-log"} {
				copyFile(t, s.path+part, path+part)
			}
			log, err := os.OpenFile(path+"-log", os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = log.WriteAt(tt.last, regionSize+2*block)
			require.NoError(t, err)
			require.NoError(t, log.Close())
			for range 2 {
				c, err := Open(path, nil)
				require.ErrorIs(t, err, tt.err)
				if err != nil {
					require.ErrorContains(t, err, filepath.Base(path)+"-log")
					continue
				}
				var got, inFlight int
				for _, k := range takeAll(t, c, t0) {
					got++
					if k.Recipients[0].InFlight {
						inFlight++
						require.Equal(t, mark.ID, k.Recipients[0].ID)
					}
				}
				require.NoError(t, c.Close())
				require.Equal(t, tt.waiting, got)
				require.Equal(t, tt.inFlight, inFlight)
			}
		})
	}
}
