package livepack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Source is where packs come from. Its one method is called by one goroutine at
// a time.
type Source interface {
	// Fetch returns a pack as it was signed, of which it reads no more than limit
	// bytes and one: then the pack is too large. tag is what the last pack came
	// with, "" = none; if the source still has that pack the error is
	// [ErrNotModified]. newTag names the pack for the next time, "" = cannot say.
	Fetch(ctx context.Context, tag string, limit int64) (pack []byte, newTag string, err error)
}

// ErrNotModified is a Source's word for having nothing new.
var ErrNotModified = errors.New("livepack: not modified")

// File returns the Source of a file's content. The file must be a regular one;
// replace it by renaming another over it.
func File(path string) Source {
	return fileSource{open: func() (fs.File, error) { return os.Open(path) }}
}

// FS returns the Source of a file in fsys.
func FS(fsys fs.FS, name string) Source {
	return fileSource{open: func() (fs.File, error) { return fsys.Open(name) }}
}

type fileSource struct{ open func() (fs.File, error) }

func (s fileSource) Fetch(_ context.Context, tag string, limit int64) ([]byte, string, error) {
	f, err := s.open()
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("livepack: %s is not a regular file", info.Name())
	}
	newTag := ""
	if !info.ModTime().IsZero() {
		newTag = fmt.Sprintf("%d %s", info.Size(), info.ModTime().Format(time.RFC3339Nano))
	}
	if newTag != "" && newTag == tag {
		return nil, tag, ErrNotModified
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	return data, newTag, err
}

// StatusError is an answer of a server that is neither a pack nor "not modified".
type StatusError struct {
	Code int    // such as 404
	URL  string // without user and password
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("livepack: status %d %s from %s", e.Code, http.StatusText(e.Code), e.URL)
}

// URL returns the Source of an HTTP or HTTPS address. It asks with If-None-Match
// (RFC 9110 §13.1.2) where the last answer had an ETag. A nil client is one with
// the defaults of net/http, the proxy of the environment included, that keeps no
// connection open between fetches and does not follow from https to http.
func URL(address string, client *http.Client) Source {
	if client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DisableKeepAlives = true
		client = &http.Client{Transport: transport, CheckRedirect: stayEncrypted}
	}
	return &urlSource{address, client}
}

type urlSource struct {
	address string
	client  *http.Client
}

const maxRedirects = 5

func stayEncrypted(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= maxRedirects:
		return errors.New("livepack: too many redirects")
	case via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https":
		return errors.New("livepack: redirect from https to " + r.URL.Scheme)
	}
	return nil
}

func (s *urlSource) Fetch(ctx context.Context, tag string, limit int64) ([]byte, string, error) {
	u, err := url.Parse(s.address)
	if err != nil {
		return nil, "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address, nil)
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("User-Agent", "volley-livepack")
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && tag != "":
		return nil, tag, ErrNotModified
	case resp.StatusCode != http.StatusOK:
		return nil, "", &StatusError{resp.StatusCode, u.Redacted()}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	return data, resp.Header.Get("ETag"), err
}
