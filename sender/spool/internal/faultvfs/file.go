//go:build unix

package faultvfs

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The signatures of a file's functions.
type (
	fileFunc    = func(tls *libc.TLS, pFile uintptr) int32
	intFunc     = func(tls *libc.TLS, pFile uintptr, n int32) int32
	pointerFunc = func(tls *libc.TLS, pFile, p uintptr) int32
	dataFunc    = func(tls *libc.TLS, pFile, p uintptr, n int32, off int64) int32
	sizeFunc    = func(tls *libc.TLS, pFile uintptr, size int64) int32
	controlFunc = func(tls *libc.TLS, pFile uintptr, op int32, p uintptr) int32
	shmMapFunc  = func(tls *libc.TLS, pFile uintptr, region, size, extend int32, pp uintptr) int32
	shmLockFunc = func(tls *libc.TLS, pFile uintptr, off, n, flags int32) int32
	barrierFunc = func(tls *libc.TLS, pFile uintptr)
)

func fileClose(tls *libc.TLS, pFile uintptr) int32 {
	p, m := inner(pFile)
	filesMu.Lock()
	delete(files, at[file](pFile).handle)
	filesMu.Unlock()
	return function[fileFunc](m.FxClose)(tls, p)
}

func fileRead(tls *libc.TLS, pFile, buf uintptr, n int32, off int64) int32 {
	p, m := inner(pFile)
	if err := goFile(pFile).askRead(off, int(n)); err != nil {
		return code(Read, err)
	}
	return function[dataFunc](m.FxRead)(tls, p, buf, n, off)
}

func fileWrite(tls *libc.TLS, pFile, buf uintptr, n int32, off int64) int32 {
	p, m := inner(pFile)
	f := goFile(pFile)
	data, fault := f.askWrite(off, bytesAt(buf, int(n)))
	if len(data) > 0 {
		if rc := function[dataFunc](m.FxWrite)(tls, p, buf, int32(len(data)), off); rc != sqlite3.SQLITE_OK {
			return rc
		}
		f.disk.write(f.inode, off, data)
	}
	return code(Write, fault)
}

func fileTruncate(tls *libc.TLS, pFile uintptr, size int64) int32 {
	p, m := inner(pFile)
	f := goFile(pFile)
	if err := f.askTruncate(size); err != nil {
		return code(Truncate, err)
	}
	rc := function[sizeFunc](m.FxTruncate)(tls, p, size)
	if rc == sqlite3.SQLITE_OK {
		f.disk.truncate(f.inode, size)
	}
	return rc
}

func fileSync(_ *libc.TLS, pFile uintptr, _ int32) int32 {
	return code(Sync, goFile(pFile).sync())
}

// fileControl passes on all but what would change the file past the Disk.
func fileControl(tls *libc.TLS, pFile uintptr, op int32, arg uintptr) int32 {
	switch op {
	case sqlite3.SQLITE_FCNTL_CHUNK_SIZE, sqlite3.SQLITE_FCNTL_SIZE_HINT, sqlite3.SQLITE_FCNTL_MMAP_SIZE:
		return sqlite3.SQLITE_NOTFOUND
	}
	p, m := inner(pFile)
	return function[controlFunc](m.FxFileControl)(tls, p, op, arg)
}

func fileShmMap(tls *libc.TLS, pFile uintptr, region, size, extend int32, pp uintptr) int32 {
	p, m := inner(pFile)
	f := goFile(pFile)
	if grow := int64(region+1)*int64(size) - f.disk.shared(f.name); extend != 0 && grow > 0 {
		if fault := f.disk.ask(Op{Kind: Share, Name: f.name, Grow: grow}); fault.Err != nil {
			return code(Share, fault.Err)
		}
	}
	return function[shmMapFunc](m.FxShmMap)(tls, p, region, size, extend, pp)
}

// What follows is passed on as it is.

func fileFileSize(tls *libc.TLS, pFile, pSize uintptr) int32 {
	p, m := inner(pFile)
	return function[pointerFunc](m.FxFileSize)(tls, p, pSize)
}

func fileLock(tls *libc.TLS, pFile uintptr, level int32) int32 {
	p, m := inner(pFile)
	return function[intFunc](m.FxLock)(tls, p, level)
}

func fileUnlock(tls *libc.TLS, pFile uintptr, level int32) int32 {
	p, m := inner(pFile)
	return function[intFunc](m.FxUnlock)(tls, p, level)
}

func fileCheckReservedLock(tls *libc.TLS, pFile, pOut uintptr) int32 {
	p, m := inner(pFile)
	return function[pointerFunc](m.FxCheckReservedLock)(tls, p, pOut)
}

func fileSectorSize(tls *libc.TLS, pFile uintptr) int32 {
	p, m := inner(pFile)
	return function[fileFunc](m.FxSectorSize)(tls, p)
}

func fileDeviceCharacteristics(tls *libc.TLS, pFile uintptr) int32 {
	p, m := inner(pFile)
	return function[fileFunc](m.FxDeviceCharacteristics)(tls, p)
}

func fileShmLock(tls *libc.TLS, pFile uintptr, off, n, flags int32) int32 {
	p, m := inner(pFile)
	return function[shmLockFunc](m.FxShmLock)(tls, p, off, n, flags)
}

func fileShmBarrier(tls *libc.TLS, pFile uintptr) {
	p, m := inner(pFile)
	function[barrierFunc](m.FxShmBarrier)(tls, p)
}

func fileShmUnmap(tls *libc.TLS, pFile uintptr, remove int32) int32 {
	p, m := inner(pFile)
	return function[intFunc](m.FxShmUnmap)(tls, p, remove)
}
