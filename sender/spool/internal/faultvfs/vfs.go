//go:build unix

package faultvfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// file is what SQLite has for an open file of a Disk. The file of the unix VFS
// is behind it.
type file struct {
	methods uintptr // *sqlite3_io_methods, as SQLite demands
	handle  uintptr // of the openFile
}

const fileSize = unsafe.Sizeof(file{})

var (
	filesMu sync.Mutex
	last    uintptr                   // guarded by filesMu
	files   = map[uintptr]*openFile{} // guarded by filesMu; by handle
)

// vfs and methods are what SQLite gets; unix is the VFS that does the work.
// Set by register, and never changed.
var (
	vfs     sqlite3.Tsqlite3_vfs
	methods sqlite3.Tsqlite3_io_methods
	unix    *sqlite3.Tsqlite3_vfs
)

// register makes the VFS the one that SQLite uses by default. Files that are on
// no Disk it leaves to the unix VFS.
var register = sync.OnceValue(func() error {
	tls := libc.NewTLS() // never closed: vfs is registered for good
	pUnix := sqlite3.Xsqlite3_vfs_find(tls, 0)
	if pUnix == 0 {
		return errors.New("faultvfs: SQLite has no default VFS")
	}
	name, err := libc.CString("faultvfs")
	if err != nil {
		return err
	}
	unix = at[sqlite3.Tsqlite3_vfs](pUnix)
	vfs = *unix
	vfs.FpNext = 0
	vfs.FzName = name
	vfs.FpAppData = pUnix
	vfs.FszOsFile += int32(fileSize)
	vfs.FxOpen = pointer(vfsOpen)
	vfs.FxDelete = pointer(vfsDelete)
	methods = sqlite3.Tsqlite3_io_methods{
		FiVersion:               2, // shared memory, but no memory mapped files
		FxClose:                 pointer(fileClose),
		FxRead:                  pointer(fileRead),
		FxWrite:                 pointer(fileWrite),
		FxTruncate:              pointer(fileTruncate),
		FxSync:                  pointer(fileSync),
		FxFileSize:              pointer(fileFileSize),
		FxLock:                  pointer(fileLock),
		FxUnlock:                pointer(fileUnlock),
		FxCheckReservedLock:     pointer(fileCheckReservedLock),
		FxFileControl:           pointer(fileControl),
		FxSectorSize:            pointer(fileSectorSize),
		FxDeviceCharacteristics: pointer(fileDeviceCharacteristics),
		FxShmMap:                pointer(fileShmMap),
		FxShmLock:               pointer(fileShmLock),
		FxShmBarrier:            pointer(fileShmBarrier),
		FxShmUnmap:              pointer(fileShmUnmap),
	}
	if rc := sqlite3.Xsqlite3_vfs_register(tls, uintptr(unsafe.Pointer(&vfs)), 1); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("faultvfs: cannot register: %d", rc)
	}
	return nil
})

// at is the T at a C address.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// pointer is a top-level function as a C function pointer, and function the
// way back: to the translated SQLite both are Go func values.
func pointer[F any](f F) uintptr      { return *(*uintptr)(unsafe.Pointer(&f)) }
func function[F any](p uintptr) F     { return *(*F)(unsafe.Pointer(&p)) }
func bytesAt(p uintptr, n int) []byte { return unsafe.Slice(at[byte](p), n) }

// inner is the file of the unix VFS that belongs to pFile, and its methods.
func inner(pFile uintptr) (uintptr, *sqlite3.Tsqlite3_io_methods) {
	p := pFile + fileSize
	return p, at[sqlite3.Tsqlite3_io_methods](at[sqlite3.Tsqlite3_file](p).FpMethods)
}

func goFile(pFile uintptr) *openFile {
	filesMu.Lock()
	defer filesMu.Unlock()
	return files[at[file](pFile).handle]
}

// The signatures of the VFS's functions.
type (
	openFunc   = func(tls *libc.TLS, pVfs, zName, pFile uintptr, flags int32, pOutFlags uintptr) int32
	deleteFunc = func(tls *libc.TLS, pVfs, zName uintptr, syncDir int32) int32
)

func vfsOpen(tls *libc.TLS, _, zName, pFile uintptr, flags int32, pOutFlags uintptr) int32 {
	open := function[openFunc](unix.FxOpen)
	pUnix := vfs.FpAppData
	var d *Disk
	var path string
	if zName != 0 {
		path = libc.GoString(zName)
		d = diskOf(path)
	}
	if d == nil {
		return open(tls, pUnix, zName, pFile, flags, pOutFlags)
	}
	*at[file](pFile) = file{}
	name := filepath.Base(path)
	if kind, err := d.askOpen(name); errors.Is(err, ErrReadOnly) && kind == Open {
		flags = flags&^(sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_CREATE) | sqlite3.SQLITE_OPEN_READONLY
	} else if err != nil {
		return code(kind, err)
	}
	if rc := open(tls, pUnix, zName, pFile+fileSize, flags, pOutFlags); rc != sqlite3.SQLITE_OK {
		return rc
	}
	const journals = sqlite3.SQLITE_OPEN_MAIN_JOURNAL | sqlite3.SQLITE_OPEN_SUPER_JOURNAL | sqlite3.SQLITE_OPEN_WAL
	f := &openFile{disk: d, name: name, inode: d.opened(name)}
	f.entries.Store(flags&sqlite3.SQLITE_OPEN_CREATE != 0 && flags&journals != 0) // as the unix VFS does
	filesMu.Lock()
	defer filesMu.Unlock()
	last++
	files[last] = f
	*at[file](pFile) = file{methods: uintptr(unsafe.Pointer(&methods)), handle: last}
	return sqlite3.SQLITE_OK
}

func vfsDelete(tls *libc.TLS, _, zName uintptr, syncDir int32) int32 {
	path := libc.GoString(zName)
	name := filepath.Base(path)
	d := diskOf(path)
	if d != nil {
		if err := d.askDelete(name); err != nil {
			return code(Delete, err)
		}
	}
	rc := function[deleteFunc](unix.FxDelete)(tls, vfs.FpAppData, zName, 0)
	if rc == sqlite3.SQLITE_OK && d != nil {
		d.remove(name, syncDir != 0)
	}
	return rc
}
