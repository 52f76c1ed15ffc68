package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/volleymail/volley/sender"
)

// requestError is a mistake in a request.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

func mistake(status int, format string, args ...any) error {
	return &requestError{status, fmt.Sprintf(format, args...)}
}

// readBody reads the JSON object of a POST. Its content type is demanded because
// a form of a web page cannot send it.
func readBody(r *http.Request, to any) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return mistake(http.StatusUnsupportedMediaType, "the Content-Type must be application/json")
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err = d.Decode(to)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("something follows the object")
		}
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return mistake(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", maxBody)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := e.Field[strings.LastIndexByte(e.Field, '.')+1:]
		return mistake(http.StatusBadRequest, "%s must not be of the JSON type %s", cmp.Or(field, "the body"), e.Value)
	}
	if errors.Is(err, io.EOF) {
		return mistake(http.StatusBadRequest, "the body is empty: send a JSON object, {} at least")
	}
	return mistake(http.StatusBadRequest, "the body is no such JSON object as is wanted here: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// lines is a selection of suspend, resume and move.
type lines struct {
	All       bool     `json:"all,omitempty"`
	Sites     []string `json:"sites,omitempty"`
	Streams   []string `json:"streams,omitempty"`
	Campaigns []string `json:"campaigns,omitempty"`
}

func (l lines) selection() (sender.Selection, error) {
	return checked(l.All, sender.Selection{Sites: l.Sites, Streams: l.Streams, Campaigns: l.Campaigns})
}

// everything is a selection of send-now.
type everything struct {
	lines
	Domains    []string `json:"domains"`
	Messages   []string `json:"messages"`
	Recipients []string `json:"recipients"`
}

func (e everything) selection() (sender.Selection, error) {
	return checked(e.All, sender.Selection{Sites: e.Sites, Streams: e.Streams, Campaigns: e.Campaigns,
		Domains: e.Domains, Messages: e.Messages, Recipients: e.Recipients})
}

// checked refuses a selection that says nothing, lest a program whose list came
// out empty select everything.
func checked(all bool, sel sender.Selection) (sender.Selection, error) {
	named := false
	for _, p := range params {
		list := *p.list(&sel)
		if list != nil && len(list) == 0 {
			return sel, mistake(http.StatusBadRequest, "%ss is empty: leave it out to select any", p.name)
		}
		named = named || list != nil
	}
	switch {
	case all && named:
		return sel, mistake(http.StatusBadRequest, `"all" is there beside a list: leave one out`)
	case !all && !named:
		return sel, mistake(http.StatusBadRequest, `nothing is selected: name what, or say "all": true`)
	}
	return sel, nil
}

// params are the query parameters of a selection.
var params = []struct {
	name string
	list func(*sender.Selection) *[]string
}{
	{"site", func(s *sender.Selection) *[]string { return &s.Sites }},
	{"domain", func(s *sender.Selection) *[]string { return &s.Domains }},
	{"stream", func(s *sender.Selection) *[]string { return &s.Streams }},
	{"campaign", func(s *sender.Selection) *[]string { return &s.Campaigns }},
	{"message", func(s *sender.Selection) *[]string { return &s.Messages }},
	{"recipient", func(s *sender.Selection) *[]string { return &s.Recipients }},
}

// query asks for a page of what is queued.
type query struct {
	sender.Selection
	after int64
	limit int
}

func readQuery(raw string) (query, error) {
	q := query{limit: 100}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, mistake(http.StatusBadRequest, "the query is malformed: %v", err)
	}
	for _, p := range params {
		*p.list(&q.Selection) = values[p.name]
		delete(values, p.name)
	}
	for name, value := range values {
		n, err := strconv.ParseInt(value[0], 10, 64)
		bad := err != nil || len(value) > 1
		switch name {
		case "after":
			if q.after = n; bad || n < 0 {
				return q, mistake(http.StatusBadRequest, "after must be a number: the next of the page before")
			}
		case "limit":
			if q.limit = int(n); bad || n < 1 || n > maxLimit {
				return q, mistake(http.StatusBadRequest, "limit must be a number from 1 to %d", maxLimit)
			}
		default:
			return q, mistake(http.StatusBadRequest, "there is no parameter %.100q", name)
		}
	}
	return q, nil
}

// readUntil reads a time or a duration from now, zero for "".
func readUntil(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	until, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d, err := time.ParseDuration(s)
		if err != nil {
			return until, mistake(http.StatusBadRequest, `until is %.100q: give a time such as "2026-12-01T08:00:00Z" or a duration such as "90m"`, s)
		}
		until = now.Add(d)
	}
	if !until.After(now) {
		return until, mistake(http.StatusBadRequest, "until is %s, which is over", s)
	}
	return until, nil
}
