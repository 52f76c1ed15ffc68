package livepack

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

// serve starts a server and returns an Updater that asks it.
func serve(t *testing.T, handler http.HandlerFunc, change func(*Config)) (*Updater, *slot) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	u, _, slot, _ := newUpdater(t, func(c *Config) {
		c.Source = URL(server.URL+"/slot.pack", nil)
		if change != nil {
			change(c)
		}
	})
	return u, slot
}

func TestURLWithETag(t *testing.T) {
	var version, full, notModified atomic.Int64
	version.Store(2)
	u, slot := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tag := `"v` + strconv.FormatInt(version.Load(), 10) + `"`
		if r.Header.Get("If-None-Match") == tag {
			notModified.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		full.Add(1)
		w.Header().Set("ETag", tag)
		w.Write(signed(strconv.FormatInt(version.Load(), 10)))
	}, nil)
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
	require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
	require.EqualValues(t, 1, full.Load())
	require.EqualValues(t, 2, notModified.Load())
	require.NotZero(t, u.Status().Fetched)
	version.Store(3)
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, string(pack("3")), slot.get())
	_, err := u.Rollback()
	require.NoError(t, err)
	require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
	require.Equal(t, "2", u.Status().Version)
}

// A refused pack is asked for again: the next answer may be whole.
func TestAnETagOfARefusedPackIsForgotten(t *testing.T) {
	var cut atomic.Bool
	cut.Store(true)
	u, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"2"`)
		data := signed("2")
		if cut.Load() {
			data = data[:len(data)-3]
		}
		w.Write(data)
	}, nil)
	requireRefused(t, u.Fetch(ctx), BadSignature)
	requireRefused(t, u.Fetch(ctx), BadSignature)
	cut.Store(false)
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
}

func TestBadServers(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		reason  Reason
	}{
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write(signed("2"))
		}, Truncated},
		"broken off in chunks": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write(signed("2"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, Truncated},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}, TooLarge},
		"slow": {func(w http.ResponseWriter, r *http.Request) {
			w.Write(signed("2")[:10])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, Unreachable},
		"silent":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Unreachable},
		"failing":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, Unreachable},
		"304 unasked": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, Unreachable},
		"in circles":  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }, Unreachable},
		"a page":      {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>log in</html>")) }, Unsigned},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			u, slot := serve(t, test.handler, func(c *Config) {
				c.MaxSize = 10_000
				if name == "slow" || name == "silent" { // the others end by themselves
					c.Timeout = 100 * time.Millisecond
				}
			})
			requireRefused(t, u.Fetch(ctx), test.reason)
			require.Empty(t, slot.get())
		})
	}
}

func TestStatusErrorsHideThePassword(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	u, _, _, _ := newUpdater(t, func(c *Config) { c.Source = URL("http://me:secret@"+server.Listener.Addr().String()+"/x", nil) })
	e := u.Fetch(ctx)
	status, ok := errors.AsType[*StatusError](e.Err)
	require.True(t, ok)
	require.Equal(t, http.StatusNotFound, status.Code)
	require.NotContains(t, e.String(), "secret")
}

func TestURLStaysEncrypted(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(signed("2")) }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	client := secure.Client()
	client.CheckRedirect = stayEncrypted
	u, _, _, _ := newUpdater(t, func(c *Config) { c.Source = URL(secure.URL, client) })
	requireRefused(t, u.Fetch(ctx), Unreachable)
	client.CloseIdleConnections()
}

func TestBadURLs(t *testing.T) {
	for _, address := range []string{"", "://", "ftp://example.com/x", "http://[::1"} {
		u, _, _, _ := newUpdater(t, func(c *Config) { c.Source = URL(address, nil) })
		requireRefused(t, u.Fetch(ctx), Unreachable)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slot.pack")
	u, _, slot, _ := newUpdater(t, func(c *Config) { c.Source = File(path) })
	requireRefused(t, u.Fetch(ctx), Unreachable)
	at := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	write := func(data []byte) {
		at = at.Add(time.Second)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
	}
	write(signed("2"))
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
	write(signed("3")[:50])
	requireRefused(t, u.Fetch(ctx), Unsigned)
	requireRefused(t, u.Fetch(ctx), Unsigned)
	write(signed("3"))
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, string(pack("3")), slot.get())

	_, _, err := File(t.TempDir()).Fetch(context.Background(), "", 10)
	require.ErrorContains(t, err, "not a regular file")
}

func TestFS(t *testing.T) {
	files := fstest.MapFS{"packs/slot.pack": {Data: signed("2")}}
	u, _, slot, _ := newUpdater(t, func(c *Config) { c.Source = FS(files, "packs/slot.pack") })
	require.Equal(t, Adopted, u.Fetch(ctx).Kind)
	require.Equal(t, Unchanged, u.Fetch(ctx).Kind)
	require.Equal(t, string(pack("2")), slot.get())
	delete(files, "packs/slot.pack")
	e := u.Fetch(ctx)
	requireRefused(t, e, Unreachable)
	require.ErrorIs(t, e.Err, fs.ErrNotExist)
}
