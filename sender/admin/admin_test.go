package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/admin"
)

// fake notes what it is asked for.
type fake struct {
	calls       []string
	err         error
	suspensions []sender.Suspension
	moves       []sender.Moved
	queued      []sender.Queued
	snapshot    sender.Snapshot
}

func (f *fake) note(format string, args ...any) error {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

// short shows the fields of a selection that are set.
func short(sel sender.Selection) string {
	text, _ := json.Marshal(sel)
	return string(text)
}

func (f *fake) Suspend(_ context.Context, sel sender.Selection, until time.Time) error {
	return f.note("suspend %s %s", short(sel), until.UTC().Format(time.RFC3339))
}
func (f *fake) Resume(_ context.Context, sel sender.Selection) error {
	return f.note("resume %s", short(sel))
}
func (f *fake) Suspensions() []sender.Suspension                { return f.suspensions }
func (f *fake) Moves() []sender.Moved                           { return f.moves }
func (f *fake) Snapshot() sender.Snapshot                       { return f.snapshot }
func (f *fake) Cancel(_ context.Context, campaign string) error { return f.note("cancel %s", campaign) }
func (f *fake) SendNow(_ context.Context, sel sender.Selection) (int, error) {
	return 7, f.note("send now %s", short(sel))
}
func (f *fake) Move(_ context.Context, sel sender.Selection, source string) error {
	return f.note("move %s %q", short(sel), source)
}
func (f *fake) Queued(_ context.Context, sel sender.Selection, after int64, max int) ([]sender.Queued, error) {
	err := f.note("queued %s %d %d", short(sel), after, max)
	return f.queued[:min(max, len(f.queued))], err
}

// ask sends one request, with the content type of JSON if it has a body.
func ask(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestVerbs(t *testing.T) {
	for _, tt := range []struct{ request, body, call, answer string }{
		{"GET /queue", "", "queued {} 0 100", `{"recipients":[]}`},
		{"GET /queue?stream=a&stream=b&site=mx.example.com&domain=example.com&campaign=&message=m%201&recipient=ann@example.com&after=9&limit=1000", "",
			`queued {"sites":["mx.example.com"],"domains":["example.com"],"streams":["a","b"],"campaigns":[""],"messages":["m 1"],"recipients":["ann@example.com"]} 9 1000`,
			`{"recipients":[]}`},
		{"GET /suspensions", "", "", `{"suspensions":[]}`},
		{"GET /moves", "", "", `{"moves":[]}`},
		{"GET /snapshot", "", "", `{"looking":0,"destinations":[]}`},
		{"POST /suspend", `{"streams":["news"]}`, `suspend {"streams":["news"]} 0001-01-01T00:00:00Z`, `{"suspensions":[]}`},
		{"POST /suspend", `{"all":true,"until":""}`, `suspend {} 0001-01-01T00:00:00Z`, `{"suspensions":[]}`},
		{"POST /suspend", `{"sites":["mx.example.com"],"campaigns":["spring"],"until":"2h"}`,
			`suspend {"sites":["mx.example.com"],"campaigns":["spring"]} 2000-01-01T02:00:00Z`, `{"suspensions":[]}`},
		{"POST /suspend", `{"streams":[""],"until":"2000-01-02T08:00:00+02:00"}`, `suspend {"streams":[""]} 2000-01-02T06:00:00Z`, `{"suspensions":[]}`},
		{"POST /resume", ` {"all": true} `, "resume {}", `{"suspensions":[]}`},
		{"POST /resume", `{"sites":["a","b"]}`, `resume {"sites":["a","b"]}`, `{"suspensions":[]}`},
		{"POST /campaigns/spring%2F26/cancel", `{}`, "cancel spring/26", "{}"},
		{"POST /campaigns/%2E%2E/cancel", `{}`, "cancel ..", "{}"},
		{"POST /send-now", `{"domains":["example.com"],"messages":["m1"],"recipients":["ann@example.com"],"sites":null}`,
			`send now {"domains":["example.com"],"messages":["m1"],"recipients":["ann@example.com"]}`, `{"recipients":7}`},
		{"POST /move", `{"campaigns":["spring"],"source":"relay"}`, `move {"campaigns":["spring"]} "relay"`, `{"moves":[]}`},
		{"POST /move", `{"all":true,"source":""}`, `move {} ""`, `{"moves":[]}`},
	} {
		t.Run(tt.request, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // in which it is 2000-01-01
				f := &fake{}
				method, target, _ := strings.Cut(tt.request, " ")
				w := ask(admin.Handler(f), method, target, tt.body)
				require.Equal(t, http.StatusOK, w.Code, w.Body)
				require.Equal(t, tt.answer+"\n", w.Body.String())
				require.Equal(t, tt.call, strings.Join(f.calls, "; "))
				require.Equal(t, "application/json", w.Header().Get("Content-Type"))
				require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			})
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		request, body string
		status        int
		err           string
	}{
		{"GET /", "", 404, `there is no "/"`},
		{"GET /queue/", "", 404, `there is no "/queue/"`},
		{"POST /campaigns//cancel", "{}", 0, ""}, // cleaned by the ServeMux
		{"POST /queue", "{}", 405, "use GET"},
		{"DELETE /suspensions", "", 405, "use GET"},
		{"GET /suspend", "", 405, "use POST"},
		{"GET /campaigns/spring/cancel", "", 405, "use POST"},
		{"OPTIONS /suspend", "", 405, "use POST"},

		{"GET /queue?streams=news", "", 400, `there is no parameter "streams"`},
		{"GET /queue?limit=0", "", 400, "limit must be a number from 1 to 1000"},
		{"GET /queue?limit=1001", "", 400, "limit must be a number from 1 to 1000"},
		{"GET /queue?limit=1&limit=2", "", 400, "limit must be a number from 1 to 1000"},
		{"GET /queue?limit=99999999999999999999", "", 400, "limit must be a number from 1 to 1000"},
		{"GET /queue?after=x", "", 400, "after must be a number: the next of the page before"},
		{"GET /queue?after=-1", "", 400, "after must be a number: the next of the page before"},
		{"GET /queue?site=%zz", "", 400, `the query is malformed: invalid URL escape "%zz"`},

		{"POST /suspend", "", 400, "the body is empty: send a JSON object, {} at least"},
		{"POST /suspend", "{}", 400, `nothing is selected: name what, or say "all": true`},
		{"POST /suspend", "null", 400, `nothing is selected: name what, or say "all": true`},
		{"POST /suspend", `{"all":false}`, 400, `nothing is selected: name what, or say "all": true`},
		{"POST /suspend", `{"all":true,"streams":["news"]}`, 400, `"all" is there beside a list: leave one out`},
		{"POST /suspend", `{"streams":["news"],"campaigns":[]}`, 400, "campaigns is empty: leave it out to select any"},
		{"POST /suspend", `{"domains":["example.com"]}`, 400, `the body is no such JSON object as is wanted here: unknown field "domains"`},
		{"POST /suspend", `{"streams":"news"}`, 400, "streams must not be of the JSON type string"},
		{"POST /move", `{"source":5}`, 400, "source must not be of the JSON type number"},
		{"POST /suspend", `[]`, 400, "the body must not be of the JSON type array"},
		{"POST /suspend", `{"streams":["news"]} {}`, 400, "the body is no such JSON object as is wanted here: something follows the object"},
		{"POST /suspend", `{"streams":["news"`, 400, "the body is no such JSON object as is wanted here: unexpected EOF"},
		{"POST /suspend", `{"streams":["news"],"until":"tomorrow"}`, 400,
			`until is "tomorrow": give a time such as "2026-12-01T08:00:00Z" or a duration such as "90m"`},
		{"POST /suspend", `{"streams":["news"],"until":"1999-12-31T23:59:59Z"}`, 400, "until is 1999-12-31T23:59:59Z, which is over"},
		{"POST /suspend", `{"streams":["news"],"until":"-1h"}`, 400, "until is -1h, which is over"},
		{"POST /resume", `{"streams":["news"],"until":"1h"}`, 400, `the body is no such JSON object as is wanted here: unknown field "until"`},
		{"POST /send-now", `{"recipients":[]}`, 400, "recipients is empty: leave it out to select any"},
		{"POST /move", `{"streams":["news"]}`, 400, `source is missing: name one of Config.Sources, or "" to undo a move`},
		{"POST /campaigns/spring/cancel", `{"campaign":"autumn"}`, 400, `the body is no such JSON object as is wanted here: unknown field "campaign"`},
		{"POST /send-now", `{"recipients":["` + strings.Repeat("x", 1<<20) + `"]}`, 413, "the body has more than 1048576 bytes"},
	} {
		t.Run(tt.request+" "+tt.body[:min(len(tt.body), 30)], func(t *testing.T) {
			f := &fake{}
			method, target, _ := strings.Cut(tt.request, " ")
			w := ask(admin.Handler(f), method, target, tt.body)
			require.Empty(t, f.calls)
			if tt.status == 0 {
				require.NotEqual(t, http.StatusOK, w.Code)
				return
			}
			require.Equal(t, tt.status, w.Code)
			if tt.status == http.StatusMethodNotAllowed {
				require.Equal(t, strings.TrimPrefix(tt.err, "use "), w.Header().Get("Allow"))
			}
			var answer map[string]string
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			require.Equal(t, map[string]string{"error": tt.err}, answer)
		})
	}
}

// What a web page can make a browser send does nothing.
func TestBrowsers(t *testing.T) {
	for name, header := range map[string][]string{
		"form":           {"Content-Type", "application/x-www-form-urlencoded"},
		"text":           {"Content-Type", "text/plain"},
		"multipart":      {"Content-Type", "multipart/form-data; boundary=x"},
		"no type":        {"Content-Type", ""},
		"almost":         {"Content-Type", "application/json-patch+json"},
		"origin":         {"Origin", "https://evil.example"},
		"fetch metadata": {"Sec-Fetch-Site", "cross-site"},
	} {
		f := &fake{}
		for _, path := range []string{"/suspend", "/resume", "/campaigns/spring/cancel", "/send-now", "/move"} {
			body := `{"all":true}`
			if strings.HasSuffix(path, "cancel") {
				body = "{}"
			}
			w := ask(admin.Handler(f), http.MethodPost, path, body, header...)
			want := http.StatusUnsupportedMediaType
			if header[0] != "Content-Type" {
				want = http.StatusForbidden
			}
			require.Equal(t, want, w.Code, "%s %s", name, path)
			require.Contains(t, w.Body.String(), `{"error":"`)
		}
		require.Empty(t, f.calls, name)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("sender: Move: %w: no such stream", sender.ErrArgument), 400},
		{sender.ErrNoQueue, 501},
		{fmt.Errorf("sender: Move: %w", sender.ErrShutdown), 503},
		{errors.New("the disk is full"), 500},
	} {
		for _, request := range [][3]string{
			{"GET", "/queue", ""}, {"POST", "/suspend", `{"all":true}`}, {"POST", "/resume", `{"all":true}`}, {"POST", "/campaigns/a/cancel", "{}"},
			{"POST", "/send-now", `{"all":true}`}, {"POST", "/move", `{"all":true,"source":"a"}`},
		} {
			f := &fake{err: tt.err}
			w := ask(admin.Handler(f), request[0], request[1], request[2])
			require.Len(t, f.calls, 1)
			require.Equal(t, tt.status, w.Code)
			require.JSONEq(t, fmt.Sprintf(`{"error":%q}`, tt.err), w.Body.String())
		}
	}
}

func TestShapes(t *testing.T) {
	when := time.Date(2026, 11, 21, 9, 0, 0, 0, time.FixedZone("", 3600))
	reply := bounce.Reply{Stage: bounce.StageRcpt, Code: 450, Status: bounce.Status{4, 2, 1}, Text: "Try later", Host: "mx.example.com"}
	f := &fake{
		suspensions: []sender.Suspension{{Selection: sender.Selection{Streams: []string{"news"}}, Since: when}, {Until: when, Since: when}},
		moves:       []sender.Moved{{Selection: sender.Selection{Campaigns: []string{"spring"}}, Source: "relay", Since: when}},
		queued: []sender.Queued{
			{ID: 7, Line: sender.Line{Domain: "example.com", Stream: "news", Campaign: "spring"}, MessageID: "m1", Recipient: "ann@example.com",
				Submitted: when, Due: when, Attempts: 1,
				Last: &sender.Attempt{Time: when, Site: "mx.example.com", Source: "a", Reply: reply, Class: bounce.Classify(reply)}},
			{ID: 8, Recipient: "bob@example.com", Due: when, Last: &sender.Attempt{Err: "no route"}},
			{ID: 9},
		},
		snapshot: sender.Snapshot{Time: when, Looking: 3, Destinations: []sender.Destination{
			{Site: "mx.example.com", Source: "a", Queued: 9, Deferred: 2, InFlight: 1, Conns: 2, Idle: 1, Binding: "20/s", Rule: "r", Until: when,
				Reply: reply, Rate: 19.5, Ends: when, Streams: []sender.StreamState{{Stream: "news", Queued: 9, Suspended: 8, Held: time.Unix(1<<40, 0), Why: "w"}}},
			{Site: "b"},
		}},
	}
	h := admin.Handler(f)
	class := bounce.Classify(reply)
	const at = `"2026-11-21T08:00:00Z"`
	replyJSON := `{"stage":"rcpt","code":450,"status":"4.2.1","text":"Try later","host":"mx.example.com"}`
	require.JSONEq(t, `{"recipients":[{"id":7,"domain":"example.com","stream":"news","campaign":"spring","message_id":"m1","recipient":"ann@example.com",
		"submitted":`+at+`,"due":`+at+`,"attempts":1,"last":{"time":`+at+`,"site":"mx.example.com","source":"a","reply":`+replyJSON+`,
		"class":{"category":"`+class.Category.String()+`","outcome":"`+class.Outcome().String()+`","scope":"`+class.Scope.String()+`","permanent":false,
		"action":"`+class.Action.String()+`","rule":"`+class.Rule+`"},"error":""}},
		{"id":8,"domain":"","stream":"","campaign":"","message_id":"","recipient":"bob@example.com","due":`+at+`,"attempts":0,
		"last":{"site":"","source":"","error":"no route"}}],"next":8}`, ask(h, "GET", "/queue?limit=2", "").Body.String())
	require.NotContains(t, ask(h, "GET", "/queue?limit=4", "").Body.String(), "next", "a page that is not full is the last")
	require.JSONEq(t, `{"time":`+at+`,"looking":3,"destinations":[{"site":"mx.example.com","source":"a","queued":9,"deferred":2,"in_flight":1,"conns":2,
		"idle":1,"binding":"20/s","rule":"r","until":`+at+`,"reply":`+replyJSON+`,"rate":19.5,"ends":`+at+`,
		"streams":[{"stream":"news","queued":9,"suspended":8,"held":"9999-12-31T23:59:59Z","why":"w"}]},
		{"site":"b","source":"","queued":0,"deferred":0,"in_flight":0,"conns":0,"idle":0,"binding":"","rule":"","rate":0,"streams":[]}]}`,
		ask(h, "GET", "/snapshot", "").Body.String())
	require.JSONEq(t, `{"suspensions":[{"streams":["news"],"since":`+at+`},{"all":true,"since":`+at+`,"until":`+at+`}]}`,
		ask(h, "GET", "/suspensions", "").Body.String())
	require.JSONEq(t, `{"moves":[{"campaigns":["spring"],"source":"relay","since":`+at+`}]}`, ask(h, "GET", "/moves", "").Body.String())
	require.Empty(t, f.calls[2:])

	f.snapshot.Destinations[0].Rate = math.NaN()
	w := ask(h, "GET", "/snapshot", "")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.JSONEq(t, `{"error":"the answer cannot be written as JSON"}`, w.Body.String())
}

func TestHead(t *testing.T) {
	require.Equal(t, http.StatusOK, ask(admin.Handler(&fake{}), http.MethodHead, "/queue", "").Code)
}

func TestMounted(t *testing.T) {
	f := &fake{}
	mux := http.NewServeMux()
	mux.Handle("/volley/", http.StripPrefix("/volley", admin.Handler(f)))
	require.Equal(t, http.StatusOK, ask(mux, http.MethodPost, "/volley/campaigns/a%2Fb/cancel", "{}").Code)
	require.Equal(t, []string{"cancel a/b"}, f.calls)
}

// FuzzHandler: a request that is answered with 200 called one method at most, and
// never selected everything without saying so.
func FuzzHandler(f *testing.F) {
	for _, path := range []string{"/suspend", "/resume", "/send-now", "/move", "/campaigns/a/cancel"} {
		f.Add(path, "", `{"streams":["news"],"until":"1h","source":"a"}`)
		f.Add(path, "", `{"all":true}`)
	}
	f.Add("/queue", "site=a&limit=5", "")
	f.Fuzz(func(t *testing.T, path, query, body string) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			s := &fake{}
			r := httptest.NewRequest(method, "/", strings.NewReader(body))
			r.URL = &url.URL{Path: path, RawQuery: query}
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			admin.Handler(s).ServeHTTP(w, r)
			require.LessOrEqual(t, len(s.calls), 1)
			if w.Code == http.StatusOK {
				require.True(t, json.Valid(w.Body.Bytes()))
			}
			for _, call := range s.calls {
				require.Equal(t, http.StatusOK, w.Code)
				if method == http.MethodPost && strings.Contains(call, " {}") && path != "/campaigns/{}/cancel" {
					var said struct{ All bool }
					require.NoError(t, json.Unmarshal([]byte(body), &said))
					require.True(t, said.All)
				}
			}
		}
	})
}
