package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// sink delivers events: a line of JSON each, and a POST if asked for.
type sink struct {
	mu  sync.Mutex
	out io.Writer // guarded by mu

	url, token string
	client     *http.Client
	tryFor     time.Duration
}

// The bounds of a POST.
const (
	postTimeout = 10 * time.Second // of each try
	firstWait   = 500 * time.Millisecond
	maxWait     = 10 * time.Second
)

func newSink(o *options, e *env) *sink {
	client := &http.Client{
		Transport: e.transport,
		Timeout:   postTimeout,
		// What a redirect leads to would get the token, or a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if client.Transport == nil {
		client.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return &sink{out: e.stdout, url: o.post, token: o.postToken, client: client, tryFor: o.postTime}
}

func (s *sink) close() { s.client.CloseIdleConnections() }

// deliver delivers an event, first by POST: what is printed was delivered.
func (s *sink) deliver(ctx context.Context, ev *event) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // addresses in angle brackets stay readable
	if err := encoder.Encode(ev); err != nil {
		return err
	}
	if s.url != "" {
		if err := s.post(ctx, ev.ID, line.Bytes()); err != nil {
			return fmt.Errorf("-post: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.out.Write(line.Bytes())
	return err
}

// post tries until it succeeds, cannot succeed, or the time is over.
func (s *sink) post(ctx context.Context, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.tryFor)
	defer cancel()
	wait := firstWait
	for {
		err := s.try(ctx, id, body)
		status, refused := errors.AsType[*statusError](err)
		if err == nil || refused && !status.temporary() {
			return err
		}
		pause := wait
		if refused && status.after > 0 {
			pause = status.after
		}
		wait = min(2*wait, maxWait)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// try makes one POST.
func (s *sink) try(ctx context.Context, id string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", id)
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return nil
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &statusError{status: resp.Status, code: resp.StatusCode, after: time.Duration(max(0, min(seconds, 3600))) * time.Second}
}

// statusError is an HTTP status other than success.
type statusError struct {
	status string
	code   int
	after  time.Duration // Retry-After, 0 if none
}

func (e *statusError) Error() string { return "the server answered " + e.status }

func (e *statusError) temporary() bool {
	return e.code/100 == 5 || e.code == http.StatusTooManyRequests || e.code == http.StatusRequestTimeout || e.code == http.StatusTooEarly
}
