package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// hook is an HTTP server that answers with the given statuses, and then with 200.
type hook struct {
	mu       sync.Mutex
	statuses []int           // 0 = the connection breaks; guarded by mu
	requests []*http.Request // guarded by mu
	bodies   []string        // guarded by mu
	after    string          // Retry-After
}

func (h *hook) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests, h.bodies = append(h.requests, r), append(h.bodies, string(body))
	status := http.StatusOK
	if len(h.statuses) > 0 {
		status, h.statuses = h.statuses[0], h.statuses[1:]
	}
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	header := http.Header{}
	if h.after != "" {
		header.Set("Retry-After", h.after)
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader("thanks")), Request: r}, nil
}

func TestPost(t *testing.T) {
	for _, tt := range []struct {
		name     string
		statuses []int
		after    string
		tries    int
		took     time.Duration
		fails    string
	}{
		{"at once", nil, "", 1, 0, ""},
		{"after trouble", []int{500, 0, 429}, "", 4, 3500 * time.Millisecond, ""},
		{"when it is told to", []int{503}, "7", 2, 7 * time.Second, ""},
		{"never", []int{500, 500, 500, 500, 500, 500, 500, 500, 500}, "", 7, 30 * time.Second, "Internal Server Error"},
		{"too late", []int{503}, "3600", 1, 30 * time.Second, "Service Unavailable"},
		{"refused", []int{401}, "", 1, 0, "Unauthorized"},
		{"redirected", []int{302}, "", 1, 0, "Found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hook{statuses: tt.statuses, after: tt.after}
				var out bytes.Buffer
				s := newSink(&options{post: "https://shop.example/hook", postToken: "secret", postTime: 30 * time.Second}, &env{stdout: &out, transport: h})
				begin := time.Now()
				err := s.deliver(t.Context(), &event{ID: "42", Class: "bounce", MessageID: "<1@x>"})
				require.Equal(t, tt.took, time.Since(begin))
				require.Len(t, h.requests, tt.tries)
				for i, r := range h.requests {
					require.Equal(t, http.MethodPost, r.Method)
					require.Equal(t, "application/json", r.Header.Get("Content-Type"))
					require.Equal(t, "Bearer secret", r.Header.Get("Authorization"))
					require.Equal(t, "42", r.Header.Get("Idempotency-Key"))
					var ev event
					require.NoError(t, json.Unmarshal([]byte(h.bodies[i]), &ev))
					require.Equal(t, "bounce", ev.Class)
				}
				if tt.fails != "" {
					require.ErrorContains(t, err, tt.fails)
					require.Empty(t, out.String())
					return
				}
				require.NoError(t, err)
				require.Equal(t, h.bodies[0], out.String())
			})
		})
	}
}

// What cannot be delivered stays where it was.
func TestPostFails(t *testing.T) {
	body := dsn("b@bounces.example", "ann@example.com", unknownUser)
	file := folder(t, map[string]string{"new/1.a": body, "new/2.b": body, "cur/0": "", "box": "From x\n" + body})
	refuse := func() *env { return &env{transport: &hook{statuses: []int{400, 400, 400}}} }

	code, stdout, stderr := call(t, refuse(), "-maildir", file("."), "-once", "-post", "https://shop.example/hook")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "Bad Request")
	require.Empty(t, stdout)
	require.Equal(t, []string{"1.a", "2.b"}, names(t, file("new")))

	code, _, stderr = call(t, refuse(), "-mbox", file("box"), "-post", "https://shop.example/hook")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "mail 1: ")

	p := start(t, refuse(), "-smtp", "127.0.0.1:0", "-post", "https://shop.example/hook")
	c := connect(t, p.addr["-smtp"])
	err := send(c, "", "b@bounces.example", []byte(body))
	reply, ok := errors.AsType[*textproto.Error](err)
	require.True(t, ok, err)
	require.Equal(t, 451, reply.Code)
	require.Contains(t, p.stderr.String(), "Bad Request")
	require.Empty(t, p.stdout.String())

	// A watched Maildir is tried again.
	p = start(t, refuse(), "-maildir", file("."), "-poll", "5ms", "-post", "https://shop.example/hook")
	await(t, "both mails", func() bool { return strings.Count(p.stdout.String(), "\n") == 2 })
	got := events(t, p.stdout.String())
	require.Equal(t, got[0].ID, got[1].ID, "the same mail")
	require.Contains(t, p.stderr.String(), "tried again")
}

func TestScreenFails(t *testing.T) {
	s := newSink(&options{}, &env{stdout: failing{}})
	require.ErrorIs(t, s.deliver(context.Background(), &event{}), io.ErrShortWrite)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
