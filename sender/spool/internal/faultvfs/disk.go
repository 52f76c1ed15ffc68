//go:build unix

package faultvfs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Disk is a directory whose files are watched.
type Disk struct {
	dir  string
	rule atomic.Pointer[Rule]

	mu    sync.Mutex
	live  map[string]*inode // guarded by mu; by name: the files as programs see them
	known map[string]*inode // guarded by mu; the directory as it was synced last
}

// shm is how the name of the file ends that SQLite shares memory by. It is no
// part of the State: SQLite makes it anew when the machine is back.
const shm = "-shm"

var (
	disksMu sync.Mutex
	disks   = map[string]*Disk{} // guarded by disksMu; by dir
)

// New makes a Disk of a directory. What is in it counts as synced. No database
// in it may be open.
func New(dir string) (*Disk, error) {
	if err := register(); err != nil {
		return nil, err
	}
	dir, err := realPath(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	d := &Disk{dir: dir, live: map[string]*inode{}}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), shm) {
			continue
		}
		c, err := load(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		d.live[e.Name()] = newInode(c)
	}
	d.known = maps.Clone(d.live)
	d.SetRule(Sound)
	disksMu.Lock()
	defer disksMu.Unlock()
	if disks[dir] != nil {
		return nil, fmt.Errorf("faultvfs: %s is a Disk already", dir)
	}
	disks[dir] = d
	return d, nil
}

// realPath is what SQLite makes of a path before it calls the VFS.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// Dir is the directory, with symbolic links resolved.
func (d *Disk) Dir() string { return d.dir }

// Close forgets the Disk; its files stay. No database in it may be open.
func (d *Disk) Close() {
	disksMu.Lock()
	defer disksMu.Unlock()
	delete(disks, d.dir)
}

// diskOf is the Disk that a file is on, nil if it is on none.
func diskOf(path string) *Disk {
	disksMu.Lock()
	defer disksMu.Unlock()
	return disks[filepath.Dir(path)]
}

// SetRule replaces the Rule that is asked before each call; the first is Sound.
func (d *Disk) SetRule(r Rule) { d.rule.Store(&r) }

func (d *Disk) ask(op Op) Fault { return (*d.rule.Load())(op) }

// State is the Disk as it is now.
func (d *Disk) State() *State {
	d.mu.Lock()
	defer d.mu.Unlock()
	copies := map[*inode]*inode{nil: nil}
	for _, files := range []map[string]*inode{d.live, d.known} {
		for _, f := range files {
			if copies[f] == nil {
				copies[f] = f.clone()
			}
		}
	}
	s := &State{live: map[string]*inode{}, known: map[string]*inode{}}
	for name, f := range d.live {
		s.live[name] = copies[f]
	}
	for name, f := range d.known {
		s.known[name] = copies[f]
	}
	return s
}

// shared is the length of the shared memory of a database.
func (d *Disk) shared(name string) int64 {
	info, err := os.Stat(filepath.Join(d.dir, name+shm))
	if err != nil {
		return 0
	}
	return info.Size()
}

// exists reports whether there is a file of that name.
func (d *Disk) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(d.dir, name))
	return err == nil
}

// opened gives the file of that name, which was opened or made just now.
func (d *Disk) opened(name string) *inode {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live[name] == nil {
		d.live[name] = newInode(content{})
	}
	return d.live[name]
}

// remove takes a name away, for good only when the directory is synced.
func (d *Disk) remove(name string, sync bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.live, name)
	if sync {
		d.known = maps.Clone(d.live)
	}
}

func (d *Disk) write(f *inode, off int64, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.change(change{off: off, data: append([]byte(nil), data...)})
}

func (d *Disk) truncate(f *inode, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.change(change{off: size})
}

// sync makes what was written of f last, and the names in the directory too if
// entries is set.
func (d *Disk) sync(f *inode, entries bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range f.pending {
		c.apply(&f.synced)
	}
	f.pending = nil
	if entries {
		d.known = maps.Clone(d.live)
	}
}

// lose drops what a sync of f could not write.
func (d *Disk) lose(f *inode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.pending = nil
}

// grow is by how many bytes the disk would be fuller after the change to f.
func (d *Disk) grow(f *inode, c change) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return f.grow(c)
}

// usedBy is how many bytes the file of that name has on the disk.
func (d *Disk) usedBy(name string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.live[name]; f != nil {
		return int64(len(f.taken)) * block
	}
	return 0
}
