package unsubscribe

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an Unsubscriber and what it was asked for.
type world struct {
	*Unsubscriber
	link string // path of a genuine link

	mu    sync.Mutex
	asked []Request // guarded by mu
	err   error     // to be returned; guarded by mu
}

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{}
	cfg := config()
	cfg.Contact = "help@shop.example"
	cfg.Unsubscribe = func(_ context.Context, r Request) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, r)
		return w.err
	}
	if change != nil {
		change(&cfg)
	}
	w.Unsubscriber = newUnsubscriber(t, cfg)
	l, err := w.Links("ann@example.com", "news", time.Now())
	require.NoError(t, err)
	w.link = strings.TrimPrefix(l.URL, "https://shop.example")
	return w
}

// do makes a request.
func (w *world) do(method, target, contentType, body string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

const urlencoded = "application/x-www-form-urlencoded"

func multipartBody(t *testing.T, fields ...string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(t, m.WriteField(fields[i], fields[i+1]))
	}
	require.NoError(t, m.Close())
	return m.FormDataContentType(), b.String()
}

// RFC 8058 §3.2: both kinds of body are a wish, at once and without a redirect.
func TestOneClick(t *testing.T) {
	multi, body := multipartBody(t, "List-Unsubscribe", "One-Click")
	for _, tt := range []struct{ name, contentType, body string }{
		{"urlencoded", urlencoded, OneClick},
		{"with charset", urlencoded + "; charset=utf-8", OneClick},
		{"multipart", multi, body},
		{"no type", "", OneClick},
		{"odd type", "text/plain", OneClick},
		{"line end", urlencoded, OneClick + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			before := time.Now()
			r := w.do(http.MethodPost, w.link+"?utm=x;y", tt.contentType, tt.body)
			require.Equal(t, http.StatusOK, r.StatusCode)
			require.Empty(t, r.Header.Get("Location"))
			require.Empty(t, r.Cookies())
			require.Len(t, w.asked, 1)
			require.Equal(t, Token{Address: "ann@example.com", Stream: "news"}, w.asked[0].Token)
			require.True(t, w.asked[0].OneClick)
			require.False(t, w.asked[0].Time.Before(before))
			require.Contains(t, text(t, r), "You are unsubscribed")
		})
	}
}

// A scanner that follows links changes nothing; a person finds a button.
func TestPage(t *testing.T) {
	w := newWorld(t, nil)
	r := w.do(http.MethodGet, w.link+"?"+OneClick+"&unsubscribe=yes", "", "")
	require.Equal(t, http.StatusOK, r.StatusCode)
	page := text(t, r)
	require.Contains(t, page, "ann@example.com")
	require.Contains(t, page, "news")
	require.Contains(t, page, `<form method="post" action="">`)
	head := w.do(http.MethodHead, w.link, "", "")
	require.Equal(t, http.StatusOK, head.StatusCode)
	require.Empty(t, text(t, head))
	require.Equal(t, r.Header, head.Header)
	require.Empty(t, w.asked)

	r = w.do(http.MethodPost, w.link, urlencoded, "unsubscribe=yes")
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Len(t, w.asked, 1)
	require.False(t, w.asked[0].OneClick)
}

func TestSecurityHeaders(t *testing.T) {
	w := newWorld(t, nil)
	for _, r := range []*http.Response{
		w.do(http.MethodGet, w.link, "", ""),
		w.do(http.MethodPost, w.link, urlencoded, OneClick),
		w.do(http.MethodGet, "/u/x", "", ""),
		w.do(http.MethodPut, w.link, "", ""),
	} {
		require.Equal(t, "no-referrer", r.Header.Get("Referrer-Policy"))
		require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
		require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.Equal(t, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
	}
}

// Errors are pages that say what to do, and unsubscribe nobody.
func TestErrors(t *testing.T) {
	w := newWorld(t, nil)
	old, err := w.keys.Seal(Token{Address: "ann@example.com", Expires: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	multi, body := multipartBody(t, "x", "y")
	for _, tt := range []struct {
		name, method, target, contentType, body string
		status                                  int
		want                                    string
	}{
		{"damaged link", http.MethodGet, w.link[:len(w.link)-3], "", "", 400, "copy the whole of it"},
		{"damaged link, one click", http.MethodPost, w.link + "x", urlencoded, OneClick, 400, "copy the whole of it"},
		{"no token", http.MethodGet, "/u/", "", "", 400, "copy the whole of it"},
		{"root", http.MethodGet, "/", "", "", 400, "copy the whole of it"},
		{"expired", http.MethodGet, "/u/" + old, "", "", 410, "latest mail"},
		{"expired, one click", http.MethodPost, "/u/" + old, urlencoded, OneClick, 410, "latest mail"},
		{"no form", http.MethodPost, w.link, "", "", 400, "press the button"},
		{"other form", http.MethodPost, w.link, urlencoded, "List-Unsubscribe=No&unsubscribe=no", 400, "press the button"},
		{"in the query", http.MethodPost, w.link + "?" + OneClick, urlencoded, "", 400, "press the button"},
		{"other multipart", http.MethodPost, w.link, multi, body, 400, "press the button"},
		{"broken multipart", http.MethodPost, w.link, "multipart/form-data; boundary=x", "--x\r\n", 400, "press the button"},
		{"without boundary", http.MethodPost, w.link, "multipart/form-data", OneClick, 400, "press the button"},
		{"broken form", http.MethodPost, w.link, urlencoded, "%zz", 400, "press the button"},
		{"large", http.MethodPost, w.link, urlencoded, OneClick + "&x=" + strings.Repeat("x", maxBody), 413, "press the button"},
		{"large multipart", http.MethodPost, w.link, multi, body + strings.Repeat("x", maxBody), 413, "press the button"},
		{"method", http.MethodDelete, w.link, "", "", 405, "press the button"},
		{"options", http.MethodOptions, w.link, "", "", 405, "press the button"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(tt.method, tt.target, tt.contentType, tt.body)
			require.Equal(t, tt.status, r.StatusCode)
			page := text(t, r)
			require.Contains(t, page, tt.want)
			require.Contains(t, page, "You are still subscribed")
			require.Contains(t, page, "help@shop.example")
			require.Equal(t, tt.status == 405, r.Header.Get("Allow") != "")
			require.Empty(t, w.asked)
		})
	}
}

func TestUnsubscribeFails(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	w.err = errors.New("the database is down")
	r := w.do(http.MethodPost, w.link, urlencoded, OneClick)
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	page := text(t, r)
	require.Contains(t, page, "try again")
	require.NotContains(t, page, "database")
	require.Contains(t, log.String(), "the database is down")
}

func TestOwnPage(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Page = template.Must(template.New("").Parse(`{{.State}}/{{.Address}}/{{.Stream}}/{{.Contact}}`))
		c.Policy = "default-src 'self'"
	})
	r := w.do(http.MethodGet, w.link, "", "")
	require.Equal(t, "ask/ann@example.com/news/help@shop.example", text(t, r))
	require.Equal(t, "default-src 'self'", r.Header.Get("Content-Security-Policy"))

	// A page that fails keeps nobody from unsubscribing.
	var log bytes.Buffer
	w = newWorld(t, func(c *Config) {
		c.Page = template.Must(template.New("").Parse(`half a page {{.Nonsense}}`))
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	r = w.do(http.MethodPost, w.link, urlencoded, OneClick)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, "done", text(t, r))
	require.Len(t, w.asked, 1)
	require.Contains(t, log.String(), "Nonsense")
}

// Behind a real server and under a prefix, by many at once.
func TestServer(t *testing.T) {
	w := newWorld(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/u/", w)
	s := httptest.NewServer(mux)
	defer s.Close()
	defer s.Client().CloseIdleConnections()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r, err := s.Client().Post(s.URL+w.link, urlencoded, strings.NewReader(OneClick))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			if r.StatusCode != http.StatusOK {
				t.Error(r.Status)
			}
		})
	}
	wg.Wait()
	require.Len(t, w.asked, 20)
}

func FuzzParseForm(f *testing.F) {
	f.Add(urlencoded, []byte(OneClick))
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n"))
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nx\r\n--x--\r\n"))
	f.Add("multipart/form-data", []byte("--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		if len(body) > maxBody {
			return
		}
		form, err := parseForm(contentType, body)
		size := 0
		for _, values := range form {
			for _, v := range values {
				size += len(v)
			}
		}
		require.LessOrEqual(t, size, len(body))
		_ = err
	})
}
