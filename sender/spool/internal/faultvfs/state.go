//go:build unix

package faultvfs

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// sector is what a disk writes at once, in bytes: the smallest in use.
const sector = 512

// inode is a file, which may have no name any more.
type inode struct {
	synced  content        // what a power loss leaves
	pending []change       // written since, in order
	size    int64          // with them
	taken   map[int64]bool // the numbers of the blocks that it has on the disk
}

func newInode(c content) *inode {
	f := &inode{synced: c, size: c.size, taken: map[int64]bool{}}
	for n := range c.blocks {
		f.taken[n] = true
	}
	return f
}

// change is a write, or a truncation to off if data is nil.
type change struct {
	off  int64
	data []byte
}

// blocks are the numbers of the blocks that a write is in, the second excluded.
func (c change) blocks() (int64, int64) {
	return c.off / block, (c.off + int64(len(c.data)) + block - 1) / block
}

func (f *inode) change(c change) {
	f.pending = append(f.pending, c)
	if c.data == nil {
		f.size = c.off
		maps.DeleteFunc(f.taken, func(n int64, _ bool) bool { return n*block >= c.off })
		return
	}
	f.size = max(f.size, c.off+int64(len(c.data)))
	for n, end := c.blocks(); n < end; n++ {
		f.taken[n] = true
	}
}

// grow is by how many bytes the disk would be fuller after the change.
func (f *inode) grow(c change) (bytes int64) {
	if c.data == nil {
		for n := range f.taken {
			if n*block >= c.off {
				bytes -= block
			}
		}
		return bytes
	}
	for n, end := c.blocks(); n < end; n++ {
		if !f.taken[n] {
			bytes += block
		}
	}
	return bytes
}

// clone has all that Restore needs.
func (f *inode) clone() *inode {
	return &inode{synced: f.synced.clone(), pending: slices.Clone(f.pending), size: f.size}
}

// apply makes the change to what is in a file.
func (c change) apply(file *content) {
	if c.data == nil {
		file.resize(c.off)
		return
	}
	file.write(c.off, c.data)
}

// State is a Disk at a moment.
type State struct {
	live, known map[string]*inode // by name, as in Disk
}

// Loss says what a power loss does to what was not synced.
type Loss uint8

const (
	// Nothing is lost: the process was killed, not the machine.
	Nothing Loss = iota
	// Unsynced writes, truncations, new and deleted files are all undone.
	Unsynced
	// Some of them are undone, by chance: the last ones, or any sectors of any,
	// and of those that are kept some hold garbage or zeros.
	Some
)

// Restore writes into a directory the files that the machine finds after the
// Loss. rng is only for Some. It can be called several times.
func (s *State) Restore(dir string, loss Loss, rng *rand.Rand) error {
	names := map[string]bool{}
	for name := range s.live {
		names[name] = true
	}
	for name := range s.known {
		names[name] = true
	}
	for _, name := range slices.Sorted(keys(names)) { // in order, for rng
		f := s.known[name]
		if loss == Nothing || loss == Some && rng.IntN(2) == 0 {
			f = s.live[name]
		}
		if f == nil {
			continue
		}
		file := f.after(loss, rng)
		if err := file.save(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func keys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// after is what is left of the file.
func (f *inode) after(loss Loss, rng *rand.Rand) content {
	file := f.synced.clone()
	switch {
	case loss == Nothing:
		for _, c := range f.pending {
			c.apply(&file)
		}
	case loss == Unsynced || len(f.pending) == 0:
	case rng.IntN(2) == 0:
		f.cut(&file, rng)
	default:
		f.scatter(&file, rng)
	}
	return file
}

// cut keeps the first changes, and a part of the one that was under way.
func (f *inode) cut(file *content, rng *rand.Rand) {
	n := rng.IntN(len(f.pending) + 1)
	for _, c := range f.pending[:n] {
		c.apply(file)
	}
	if n < len(f.pending) && f.pending[n].data != nil {
		c := f.pending[n]
		c.data = c.data[:rng.IntN(len(c.data)+1)]
		c.apply(file)
	}
}

// scatter keeps sectors of the changes, as a disk does that writes in an order
// of its own.
func (f *inode) scatter(file *content, rng *rand.Rand) {
	keep, garbage := rng.Float64(), rng.Float64()*0.2
	if rng.IntN(4) == 0 { // the new length went first: there are zeros where data should be
		file.resize(max(file.size, f.size))
	}
	for _, c := range f.pending {
		if c.data == nil {
			if rng.Float64() < keep {
				c.apply(file)
			}
			continue
		}
		for _, part := range c.sectors() {
			if rng.Float64() >= keep {
				continue
			}
			if rng.Float64() < garbage {
				part.data = noise(len(part.data), rng)
			}
			part.apply(file)
		}
	}
}

// sectors splits a write where sectors of the disk end.
func (c change) sectors() []change {
	var parts []change
	for data, off := c.data, c.off; len(data) > 0; {
		n := min(int64(len(data)), sector-off%sector)
		parts = append(parts, change{off: off, data: data[:n]})
		data, off = data[n:], off+n
	}
	return parts
}

func noise(n int, rng *rand.Rand) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
