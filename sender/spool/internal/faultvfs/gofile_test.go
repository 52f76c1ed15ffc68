//go:build unix

package faultvfs

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"
)

// openFileOn opens "x" on the Disk.
func openFileOn(t *testing.T, disk *Disk) *File {
	t.Helper()
	f, err := OpenFile(filepath.Join(disk.Dir(), "x"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func write(t *testing.T, f *File, off int64, data string) {
	t.Helper()
	n, err := f.WriteAt([]byte(data), off)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
}

func TestFile(t *testing.T) {
	disk := newDisk(t)
	for name, dir := range map[string]string{"on a Disk": disk.Dir(), "plain": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "x")
			f, err := OpenFile(path)
			require.NoError(t, err)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode())
			write(t, f, 0, "one")
			write(t, f, 5, "two")
			n, err := f.WriteAt(nil, 100)
			require.NoError(t, err)
			require.Zero(t, n)
			require.NoError(t, f.Sync())
			require.NoError(t, SyncDir(dir))
			require.NoError(t, f.Close())

			f, err = OpenFile(path)
			require.NoError(t, err)
			size, err := f.Size()
			require.NoError(t, err)
			require.Equal(t, int64(8), size)
			p := make([]byte, 10)
			n, err = f.ReadAt(p, 1)
			require.ErrorIs(t, err, io.EOF)
			require.Equal(t, "ne\x00\x00two", string(p[:n]))
			require.NoError(t, f.Close())
			_, err = f.WriteAt(p, 0)
			require.ErrorIs(t, err, fs.ErrClosed)
			_, err = f.Size()
			require.ErrorIs(t, err, fs.ErrClosed)

			require.NoError(t, Remove(path))
			require.ErrorIs(t, Remove(path), fs.ErrNotExist)
			_, err = os.Stat(path)
			require.ErrorIs(t, err, fs.ErrNotExist)
		})
	}
	require.Equal(t, "none", contentOf(t, disk.State(), "x", Nothing))
	_, err := OpenFile(filepath.Join(disk.Dir(), "none", "x"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, SyncDir(filepath.Join(disk.Dir(), "none")), fs.ErrNotExist)
}

// A path to the Disk that is not the one that it was made with.
func TestFileIsFound(t *testing.T) {
	disk := newDisk(t)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(disk.Dir(), link))
	f, err := OpenFile(filepath.Join(link, "x"))
	require.NoError(t, err)
	write(t, f, 0, "one")
	require.NoError(t, f.Close())
	require.Equal(t, "one", contentOf(t, disk.State(), "x", Nothing))
	require.NoError(t, Remove(filepath.Join(link, "x")))
	require.Equal(t, "none", contentOf(t, disk.State(), "x", Nothing))
}

func TestFileFaults(t *testing.T) {
	calls := map[Kind]func(f *File, path string) error{
		Open:   func(_ *File, path string) error { _, err := OpenFile(path); return err },
		Create: func(_ *File, path string) error { _, err := OpenFile(path + "2"); return err },
		Read:   func(f *File, _ string) error { _, err := f.ReadAt(make([]byte, 2), 1); return err },
		Write:  func(f *File, _ string) error { _, err := f.WriteAt([]byte("two"), 3); return err },
		Sync:   func(f *File, _ string) error { return f.Sync() },
		Delete: func(_ *File, path string) error { return Remove(path) },
	}
	for kind, call := range calls {
		for _, fail := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
			disk := newDisk(t)
			f := openFileOn(t, disk)
			path := filepath.Join(disk.Dir(), "x")
			write(t, f, 0, "one")
			var op Op
			disk.SetRule(func(o Op) Fault { op = o; return Fault{Err: fail} })
			err := call(f, path)
			require.Equal(t, kind, op.Kind)
			require.ErrorIs(t, err, fail, "%d", kind)
			var e *fs.PathError
			require.ErrorAs(t, err, &e)
			require.Equal(t, filepath.Join(disk.Dir(), op.Name), e.Path)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "one", string(data), "nothing happened")
			_, err = os.Stat(path + "2")
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
	}
	disk := newDisk(t)
	disk.SetRule(Nth(1, ErrIO, Sync))
	require.ErrorIs(t, SyncDir(disk.Dir()), syscall.EIO)
	require.NoError(t, SyncDir(disk.Dir()))
}

func TestFileOps(t *testing.T) {
	disk := newDisk(t)
	var ops []Op
	disk.SetRule(func(op Op) Fault { ops = append(ops, op); return Fault{} })
	f := openFileOn(t, disk)
	far := int64(16 << 20)
	write(t, f, 512, "a")
	write(t, f, far-1, "bb")
	write(t, f, 0, "c")
	_, err := f.ReadAt(make([]byte, 3), 7)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	openFileOn(t, disk)
	require.NoError(t, Remove(filepath.Join(disk.Dir(), "x")))
	require.Error(t, Remove(filepath.Join(disk.Dir(), "x")), "that asks nobody")
	require.NoError(t, SyncDir(disk.Dir()))
	require.Equal(t, []Op{
		{Kind: Create, Name: "x", Grow: 1},
		{Kind: Write, Name: "x", Off: 512, Len: 1, Grow: block},
		{Kind: Write, Name: "x", Off: far - 1, Len: 2, Grow: 2 * block}, // and nothing for the hole
		{Kind: Write, Name: "x", Off: 0, Len: 1},
		{Kind: Read, Name: "x", Off: 7, Len: 3},
		{Kind: Sync, Name: "x"},
		{Kind: Open, Name: "x"},
		{Kind: Delete, Name: "x", Grow: -3 * block},
		{Kind: Sync, Name: "."},
	}, ops)
}

// A write that fails is short where the Rule says so, and what got there counts.
func TestFileShortWrite(t *testing.T) {
	for name, test := range map[string]struct {
		rule Rule
		n    int
		err  error
	}{
		"half":    {Nth(1, ErrNoSpace, Write), 512, syscall.ENOSPC},
		"none":    {Nth(1, ErrIO, Write), 0, syscall.EIO},
		"no room": {Space(0), 0, syscall.ENOSPC},
		"room":    {Space(block - 24), 1000, syscall.ENOSPC},
		"all":     {func(Op) Fault { return Fault{Err: ErrIO, Wrote: 5000} }, 1024, syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			disk := newDisk(t)
			f := openFileOn(t, disk)
			disk.SetRule(test.rule)
			data := bytes.Repeat([]byte("x"), 1024)
			n, err := f.WriteAt(data, 0)
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.n, n)
			require.Equal(t, string(data[:n]), contentOf(t, disk.State(), "x", Nothing))
		})
	}
}

func TestFilePowerLoss(t *testing.T) {
	disk := newDisk(t)
	expect := func(unsynced, nothing string) {
		t.Helper()
		s := disk.State()
		require.Equal(t, unsynced, contentOf(t, s, "x", Unsynced))
		require.Equal(t, nothing, contentOf(t, s, "x", Nothing))
	}
	f := openFileOn(t, disk)
	write(t, f, 0, "one")
	require.NoError(t, f.Sync())
	expect("none", "one") // the directory is another matter
	disk.SetRule(Lying)
	require.NoError(t, SyncDir(disk.Dir()))
	expect("none", "one")
	disk.SetRule(Sound)
	require.NoError(t, SyncDir(disk.Dir()))
	expect("one", "one")
	write(t, f, 1, "two")
	expect("one", "otwo")
	disk.SetRule(Lying)
	require.NoError(t, f.Sync())
	expect("one", "otwo")
	disk.SetRule(Nth(1, ErrNoSpace, Sync))
	require.ErrorIs(t, f.Sync(), syscall.ENOSPC)
	require.NoError(t, f.Sync())
	expect("otwo", "otwo")

	write(t, f, 4, "three")
	disk.SetRule(Nth(1, ErrIO, Sync))
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	write(t, f, 9, "four")
	require.NoError(t, f.Sync())
	expect("otwo\x00\x00\x00\x00\x00four", "otwo\x00\x00\x00\x00\x00four")

	require.NoError(t, Remove(filepath.Join(disk.Dir(), "x")))
	expect("otwo\x00\x00\x00\x00\x00four", "none")
	require.NoError(t, SyncDir(disk.Dir()))
	expect("none", "none")
}

// What is left of a write are its first bytes, or any of its sectors.
func TestFileTornWrite(t *testing.T) {
	disk := newDisk(t)
	f := openFileOn(t, disk)
	old := bytes.Repeat([]byte("o"), 4*sector)
	write(t, f, 0, string(old))
	require.NoError(t, f.Sync())
	require.NoError(t, SyncDir(disk.Dir()))
	write(t, f, 0, string(bytes.Repeat([]byte("n"), 4*sector)))
	state := disk.State()
	seen := map[string]bool{}
	for seed := range uint64(200) {
		dir := t.TempDir()
		require.NoError(t, state.Restore(dir, Some, rand.New(rand.NewPCG(seed, 0))))
		data, err := os.ReadFile(filepath.Join(dir, "x"))
		require.NoError(t, err)
		require.Len(t, data, len(old))
		shape := "" // of each sector: old, new, torn, garbage
		for part := range slices.Chunk(data, sector) {
			switch n := bytes.Count(part, []byte("n")); {
			case n == sector:
				shape += "n"
			case bytes.Count(part, []byte("o")) == sector:
				shape += "o"
			case bytes.HasPrefix(part, bytes.Repeat([]byte("n"), n)) && bytes.Count(part, []byte("o")) == sector-n:
				shape += "t"
			default:
				shape += "g"
			}
		}
		seen[shape] = true
	}
	for _, shape := range []string{"oooo", "nnnn", "nnnt", "onon", "nnto", "gooo"} {
		require.Contains(t, seen, shape)
	}
}

// Marks of many goroutines, each a block of its own: what was synced is there.
func TestFileFromManyGoroutines(t *testing.T) {
	disk := newDisk(t)
	f := openFileOn(t, disk)
	require.NoError(t, SyncDir(disk.Dir()))
	var wg sync.WaitGroup
	for i := range int64(4) {
		wg.Go(func() {
			mark := bytes.Repeat([]byte{byte('a' + i)}, sector)
			for n := range int64(10) {
				if _, err := f.WriteAt(mark, (n*4+i)*sector); err != nil {
					t.Error(err)
				}
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
				disk.State()
			}
		})
	}
	wg.Wait()
	data := contentOf(t, disk.State(), "x", Unsynced)
	require.Len(t, data, 40*sector)
	for i := range 40 {
		require.Equal(t, string(bytes.Repeat([]byte{byte('a' + i%4)}, sector)), data[i*sector:(i+1)*sector])
	}
}

// SQLite and a File are on the same Disk: a new log syncs the directory for both,
// and a full disk is full for both.
func TestFileBesideSQLite(t *testing.T) {
	disk := newDisk(t)
	f := openFileOn(t, disk)
	write(t, f, 0, "one")
	require.NoError(t, f.Sync())
	db := open(t, disk.Dir(), walFull)
	_, err := db.Exec(ledger)
	require.NoError(t, err)
	require.Equal(t, "one", contentOf(t, disk.State(), "x", Unsynced))

	disk.SetRule(Space(10_000))
	for err == nil {
		err = add(db, rand.Int(), 3000)
	}
	require.Equal(t, sqlite3.SQLITE_FULL, sqliteCode(t, err))
	write(t, f, 0, "two") // needs none
	_, err = f.WriteAt([]byte("three"), block)
	require.ErrorIs(t, err, syscall.ENOSPC)
}

// A hole takes no room and no time: in a State, in what is restored, and in the
// Disk that is made of that.
func TestFileWithHole(t *testing.T) {
	far := int64(1 << 40)
	if runtime.GOOS != "linux" {
		far = 1 << 24 // New reads the hole
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for life := range int64(3) {
		disk, err := New(dir)
		require.NoError(t, err)
		f, err := OpenFile(path)
		require.NoError(t, err)
		write(t, f, far+life*sector, "two")
		require.NoError(t, f.Sync())
		require.NoError(t, SyncDir(dir))
		write(t, f, 0, "one")
		require.NoError(t, f.Close())
		dir = t.TempDir()
		path = filepath.Join(dir, "x")
		require.NoError(t, disk.State().Restore(dir, []Loss{Some, Nothing, Unsynced}[life], rand.New(rand.NewPCG(1, 1))))
		disk.Close()
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, far+life*sector+3, info.Size())
		require.LessOrEqual(t, info.Sys().(*syscall.Stat_t).Blocks, int64(64))
	}
	f, err := OpenFile(path)
	require.NoError(t, err)
	p := make([]byte, 2*sector+3)
	_, err = f.ReadAt(p, far)
	require.NoError(t, err)
	require.Equal(t, "twotwotwo", string(bytes.ReplaceAll(p, []byte{0}, nil)))
	_, err = f.ReadAt(p[:3], 0)
	require.NoError(t, err)
	require.Equal(t, "one", string(p[:3]), "of the life that was only killed")
	require.NoError(t, f.Close())
}
