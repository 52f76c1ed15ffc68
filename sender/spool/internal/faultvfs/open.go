//go:build unix

package faultvfs

import (
	"errors"
	"sync/atomic"
)

// openFile is an open file of a Disk, whoever opened it. What it is asked is
// asked before the call; that the call was made is told to the Disk.
type openFile struct {
	disk    *Disk
	name    string
	inode   *inode
	entries atomic.Bool // the next sync is of the directory too
}

// askOpen says which of Open and Create it is, and whether that fails.
func (d *Disk) askOpen(name string) (Kind, error) {
	op := Op{Kind: Open, Name: name}
	if !d.exists(name) {
		op = Op{Kind: Create, Name: name, Grow: 1}
	}
	return op.Kind, d.ask(op).Err
}

func (d *Disk) askDelete(name string) error {
	if !d.exists(name) {
		return nil
	}
	return d.ask(Op{Kind: Delete, Name: name, Grow: -d.usedBy(name)}).Err
}

func (f *openFile) askRead(off int64, n int) error {
	return f.disk.ask(Op{Kind: Read, Name: f.name, Off: off, Len: n}).Err
}

// askWrite gives the part of data that gets there. It can be some of it even if
// the write fails.
func (f *openFile) askWrite(off int64, data []byte) ([]byte, error) {
	grow := f.disk.grow(f.inode, change{off, data})
	fault := f.disk.ask(Op{Kind: Write, Name: f.name, Off: off, Len: len(data), Grow: grow})
	if fault.Err != nil {
		data = data[:min(fault.Wrote, len(data))]
	}
	return data, fault.Err
}

func (f *openFile) askTruncate(size int64) error {
	grow := f.disk.grow(f.inode, change{off: size})
	return f.disk.ask(Op{Kind: Truncate, Name: f.name, Off: size, Grow: grow}).Err
}

// sync syncs the Disk, not the disk.
func (f *openFile) sync() error {
	switch fault := f.disk.ask(Op{Kind: Sync, Name: f.name}); {
	case fault.Lie:
		return nil
	case fault.Err != nil:
		if !errors.Is(fault.Err, ErrNoSpace) {
			f.disk.lose(f.inode)
		}
		return fault.Err
	}
	f.disk.sync(f.inode, f.entries.Swap(false))
	return nil
}
