package unsubscribe

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// The bounds of a request.
const (
	maxBody  = 16 << 10 // bytes; a one-click POST has 26
	bodyTime = 10 * time.Second
)

// ServeHTTP handles requests to URLs with a token as their last element, under
// any prefix.
//
// A POST with List-Unsubscribe=One-Click (RFC 8058 §3.2), or with the field of
// the page's form, unsubscribes and answers 200; cookies mean nothing, and
// there is no redirect. A GET shows a page that asks. Errors are pages too:
// 400 for a bad token or form, 405, 410 for an expired token, 413, 503 if
// Config.Unsubscribe fails.
func (u *Unsubscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		u.show(w, r, http.StatusMethodNotAllowed, Page{State: Misused})
		return
	}
	token, err := u.keys.Open(path.Base(r.URL.Path), now)
	switch {
	case errors.Is(err, ErrExpired):
		u.show(w, r, http.StatusGone, Page{State: Expired})
	case err != nil:
		u.show(w, r, http.StatusBadRequest, Page{State: Invalid})
	case r.Method == http.MethodPost:
		u.post(w, r, Request{Token: token, Time: now})
	default:
		u.show(w, r, http.StatusOK, Page{State: Ask, Address: token.Address, Stream: token.Stream})
	}
}

// post unsubscribes, if the form says so.
func (u *Unsubscriber) post(w http.ResponseWriter, r *http.Request, wish Request) {
	// Not every ResponseWriter can set a deadline; the server's own must do then.
	_ = http.NewResponseController(w).SetReadDeadline(wish.Time.Add(bodyTime))
	oneClick, byPage, err := readForm(w, r)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		u.show(w, r, http.StatusRequestEntityTooLarge, Page{State: Misused})
		return
	}
	if err != nil || !oneClick && !byPage {
		u.show(w, r, http.StatusBadRequest, Page{State: Misused})
		return
	}
	wish.OneClick = oneClick
	page := Page{State: Done, Address: wish.Address, Stream: wish.Stream}
	status := http.StatusOK
	if err := u.cfg.Unsubscribe(r.Context(), wish); err != nil {
		u.cfg.Logger.ErrorContext(r.Context(), "unsubscribing failed", "address", wish.Address, "stream", wish.Stream, "error", err)
		page.State, status = Failed, http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "300")
	}
	u.show(w, r, status, page)
}

// readForm reads the body, which RFC 8058 §3.2 lets be of either kind. One
// without a type is taken for the first. What stands in the URL does not count.
func readForm(w http.ResponseWriter, r *http.Request) (oneClick, byPage bool, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return false, false, err
	}
	form, err := parseForm(r.Header.Get("Content-Type"), body)
	name, value, _ := strings.Cut(OneClick, "=")
	return strings.EqualFold(strings.TrimSpace(form.Get(name)), value), form.Get(formField) == formValue, err
}

func parseForm(contentType string, body []byte) (url.Values, error) {
	kind, params, _ := mime.ParseMediaType(contentType)
	if kind != "multipart/form-data" {
		return url.ParseQuery(string(body))
	}
	form, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).ReadForm(maxBody)
	if err != nil {
		return nil, err
	}
	defer form.RemoveAll() // of files, which fit into memory
	return form.Value, nil
}

// show writes a page.
func (u *Unsubscriber) show(w http.ResponseWriter, r *http.Request, status int, p Page) {
	p.Contact = u.cfg.Contact
	var body bytes.Buffer
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if err := u.cfg.Page.Execute(&body, p); err != nil {
		u.cfg.Logger.ErrorContext(r.Context(), "the page failed", "state", p.State, "error", err)
		body.Reset()
		body.WriteString(string(p.State))
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the URL is the key
	h.Set("Content-Security-Policy", u.cfg.Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes()) // a client that is gone needs no page
	}
}
