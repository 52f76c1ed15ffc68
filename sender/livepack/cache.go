package livepack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The cache is the running pack as it was signed, after a line with the newest
// version that was ever in place and the digest of that pack: so a restart
// neither goes back nor adopts again what Rollback has left. Of the built-in pack
// it is the line alone.
const cacheHeader = "# volley-cache: "

// store writes the cache. mu is held.
func (u *Updater) store() error {
	data := fmt.Appendf(nil, "%s%s %x\n", cacheHeader, u.newest.text, u.digest)
	if u.running != nil {
		data = append(data, u.running.signed...)
	}
	f, err := os.CreateTemp(filepath.Dir(u.cfg.Cache), filepath.Base(u.cfg.Cache)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), u.cfg.Cache)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// restore puts the pack of the cache in place, if it is good and newer than the
// built-in one.
func (u *Updater) restore() {
	u.mu.Lock()
	events, err := u.restored()
	if err != nil {
		events = []Event{u.refused(err)}
	}
	u.mu.Unlock()
	for _, e := range events {
		u.cfg.Observe(e)
	}
}

func (u *Updater) restored() ([]Event, error) {
	f, err := os.Open(u.cfg.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, &Error{Reason: Unreachable, Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, u.cfg.MaxSize+int64(len(cacheHeader))+2*maxVersion+2*sha256.Size))
	if err != nil {
		return nil, &Error{Reason: Unreachable, Err: err}
	}
	newest, digest, signed, err := parseCache(data)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	base := u.newest
	if newest.compare(base) <= 0 {
		return nil, nil // the program was updated since
	}
	u.newest, u.digest = newest, digest
	if len(signed) == 0 {
		return nil, nil // rolled back to the built-in pack
	}
	pack, err := u.prepare(signed, func(v version) bool { return v.compare(base) > 0 && v.compare(newest) <= 0 })
	if err != nil {
		u.newest, u.digest = base, [32]byte{} // or its version could not be fetched again
		return nil, err
	}
	return u.put(pack, Restored), nil
}

func parseCache(data []byte) (newest version, digest [32]byte, signed []byte, err error) {
	line, signed, _ := bytes.Cut(data, []byte("\n"))
	text, ok := strings.CutPrefix(string(line), cacheHeader)
	name, sum, _ := strings.Cut(text, " ")
	if n, hexErr := hex.Decode(digest[:], []byte(sum[:min(len(sum), 2*len(digest))])); !ok || hexErr != nil || n != len(digest) {
		return version{}, digest, nil, errors.New("livepack: not a cache")
	}
	newest, err = parseVersion(name)
	return newest, digest, signed, err
}
