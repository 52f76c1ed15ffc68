package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/volleymail/volley/sender"
)

var _ Sender = (*sender.Sender)(nil)

// Sender is what Handler needs of a *sender.Sender.
type Sender interface {
	Suspend(ctx context.Context, sel sender.Selection, until time.Time) error
	Resume(ctx context.Context, sel sender.Selection) error
	Suspensions() []sender.Suspension
	Cancel(ctx context.Context, campaign string) error
	SendNow(ctx context.Context, sel sender.Selection) (int, error)
	Move(ctx context.Context, sel sender.Selection, source string) error
	Moves() []sender.Moved
	Queued(ctx context.Context, sel sender.Selection, after int64, max int) ([]sender.Queued, error)
	Snapshot() sender.Snapshot
}

// Handler serves the administration of s, with paths that begin at the root: put
// http.StripPrefix before it to mount it elsewhere. It asks nobody who they are;
// see the package's description.
func Handler(s Sender) http.Handler {
	h := handler{s}
	mux := http.NewServeMux()
	for _, route := range []struct {
		method, path string
		serve        func(*http.Request) (any, error)
	}{
		{http.MethodGet, "/queue", h.queue},
		{http.MethodGet, "/snapshot", h.snapshot},
		{http.MethodGet, "/suspensions", h.suspensions},
		{http.MethodGet, "/moves", h.moves},
		{http.MethodPost, "/suspend", h.suspend},
		{http.MethodPost, "/resume", h.resume},
		{http.MethodPost, "/campaigns/{name}/cancel", h.cancel},
		{http.MethodPost, "/send-now", h.sendNow},
		{http.MethodPost, "/move", h.move},
	} {
		mux.HandleFunc(route.method+" "+route.path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				// Not every ResponseWriter can set a deadline; the server's own must do then.
				// It is for the body alone: net/http lifts it when that is read.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
				r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			}
			answer, err := route.serve(r)
			respond(w, answer, err)
		})
		mux.HandleFunc(route.path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", route.method)
			respond(w, nil, mistake(http.StatusMethodNotAllowed, "use %s", route.method))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		respond(w, nil, mistake(http.StatusNotFound, "there is no %.100q", r.URL.Path))
	})
	browsers := http.NewCrossOriginProtection()
	browsers.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		respond(w, nil, mistake(http.StatusForbidden, "a browser's request from a page of another origin"))
	}))
	return browsers.Handler(mux)
}

type handler struct{ Sender }

// The bounds of a request and of a page.
const (
	maxBody  = 1 << 20 // bytes
	bodyTime = 30 * time.Second
	maxLimit = 1000
)

func (h handler) queue(r *http.Request) (any, error) {
	q, err := readQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	found, err := h.Queued(r.Context(), q.Selection, q.after, q.limit)
	if err != nil {
		return nil, err
	}
	page := queuePage{Recipients: make([]queued, 0, len(found))}
	for _, f := range found {
		page.Recipients = append(page.Recipients, queuedOf(f))
	}
	if len(found) >= q.limit {
		page.Next = found[len(found)-1].ID
	}
	return page, nil
}

func (h handler) snapshot(*http.Request) (any, error) { return snapshotOf(h.Snapshot()), nil }

func (h handler) suspensions(*http.Request) (any, error) {
	list := suspensionList{Suspensions: []suspension{}}
	for _, s := range h.Suspensions() {
		list.Suspensions = append(list.Suspensions, suspension{linesOf(s.Selection), utc(s.Since), utc(s.Until)})
	}
	return list, nil
}

func (h handler) suspend(r *http.Request) (any, error) {
	var body struct {
		lines
		Until string `json:"until"`
	}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	sel, err := body.selection()
	if err != nil {
		return nil, err
	}
	until, err := readUntil(body.Until, time.Now())
	if err != nil {
		return nil, err
	}
	if err := h.Suspend(r.Context(), sel, until); err != nil {
		return nil, err
	}
	return h.suspensions(r)
}

func (h handler) resume(r *http.Request) (any, error) {
	var body struct{ lines }
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	sel, err := body.selection()
	if err != nil {
		return nil, err
	}
	if err := h.Resume(r.Context(), sel); err != nil {
		return nil, err
	}
	return h.suspensions(r)
}

func (h handler) cancel(r *http.Request) (any, error) {
	var body struct{}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	return struct{}{}, h.Cancel(r.Context(), r.PathValue("name"))
}

func (h handler) sendNow(r *http.Request) (any, error) {
	var body struct{ everything }
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	sel, err := body.selection()
	if err != nil {
		return nil, err
	}
	n, err := h.SendNow(r.Context(), sel)
	return map[string]int{"recipients": n}, err
}

func (h handler) move(r *http.Request) (any, error) {
	var body struct {
		lines
		Source *string `json:"source"`
	}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	sel, err := body.selection()
	if err != nil {
		return nil, err
	}
	if body.Source == nil {
		return nil, mistake(http.StatusBadRequest, `source is missing: name one of Config.Sources, or "" to undo a move`)
	}
	if err := h.Move(r.Context(), sel, *body.Source); err != nil {
		return nil, err
	}
	return h.moves(r)
}

func (h handler) moves(*http.Request) (any, error) {
	list := moveList{Moves: []move{}}
	for _, m := range h.Moves() {
		list.Moves = append(list.Moves, move{linesOf(m.Selection), m.Source, utc(m.Since)})
	}
	return list, nil
}

// respond writes the answer, or the error.
func respond(w http.ResponseWriter, answer any, err error) {
	status := http.StatusOK
	if err != nil {
		status, answer = statusOf(err), map[string]string{"error": err.Error()}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error": "the answer cannot be written as JSON"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = bytes.NewReader(append(body, '\n')).WriteTo(w) // a client that is gone needs no answer
}

// statusOf tells mistakes of the request from the Sender's troubles.
func statusOf(err error) int {
	m, ok := errors.AsType[*requestError](err)
	switch {
	case ok:
		return m.status
	case errors.Is(err, sender.ErrArgument):
		return http.StatusBadRequest
	case errors.Is(err, sender.ErrNoQueue):
		return http.StatusNotImplemented
	case errors.Is(err, sender.ErrShutdown):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
