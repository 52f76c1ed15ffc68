//go:build unix

package faultvfs

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
	"syscall"
)

// block is what a file system gives to a file at once, in bytes.
const block = 4096

// content is the bytes of a file, which may have holes. A block never changes,
// it is replaced: clones share them, so that a State costs little.
type content struct {
	size   int64
	blocks map[int64]*[block]byte // by number; one that is not there is zeros
}

func (c *content) clone() content { return content{c.size, maps.Clone(c.blocks)} }

func (c *content) write(off int64, data []byte) {
	if c.blocks == nil {
		c.blocks = map[int64]*[block]byte{}
	}
	c.size = max(c.size, off+int64(len(data)))
	for len(data) > 0 {
		b := new([block]byte)
		if old := c.blocks[off/block]; old != nil {
			*b = *old
		}
		n := copy(b[off%block:], data)
		c.blocks[off/block] = b
		data, off = data[n:], off+int64(n)
	}
}

func (c *content) resize(size int64) {
	if size < c.size {
		maps.DeleteFunc(c.blocks, func(n int64, _ *[block]byte) bool { return n*block >= size })
		if old := c.blocks[size/block]; old != nil {
			b := new([block]byte)
			copy(b[:size%block], old[:])
			c.blocks[size/block] = b
		}
	}
	c.size = size
}

// load reads a file. Blocks of zeros count as holes.
func load(path string) (content, error) {
	var c content
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return c, err
	}
	c.size = info.Size()
	var buf [16 * block]byte
	var zeros [block]byte
	for off := nextData(f, 0, c.size); off < c.size; {
		n, err := f.ReadAt(buf[:min(c.size-off, int64(len(buf)))], off)
		if err != nil {
			return c, err
		}
		for part := range slices.Chunk(buf[:n], block) {
			if !bytes.Equal(part, zeros[:len(part)]) {
				c.write(off, part)
			}
			off += int64(len(part))
		}
		off = nextData(f, off, c.size)
	}
	return c, nil
}

// nextData is where the block at off or after begins that is in no hole, as far
// as the system tells; at the end it is size. Without it, a Disk with a hole of
// megabytes takes long to make under the race detector.
func nextData(f *os.File, off, size int64) int64 {
	const seekData = 3 // SEEK_DATA
	if runtime.GOOS != "linux" {
		return off
	}
	data, err := f.Seek(off, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return size
	case err != nil:
		return off
	}
	return data - data%block
}

// save writes a file, with its holes.
func (c *content) save(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for n, b := range c.blocks {
		if _, err = f.WriteAt(b[:], n*block); err != nil {
			break
		}
	}
	if err == nil {
		err = f.Truncate(c.size) // the last block may be a part of one
	}
	return errors.Join(err, f.Close())
}
