package sender

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/volleymail/volley/bounce"
)

// How results and attempts are kept: as JSON that people can read, with names
// for what Go has numbers for, and without what is zero. It is written by hand,
// because each recipient costs at least one of them.

// causes are the errors that come back as themselves, so that errors.Is works
// on a Result that was read from a journal.
var causes = []struct {
	name string
	err  error
}{
	{"expired", ErrExpired},
	{"attempts", ErrAttempts},
	{"suppressed", ErrSuppressed},
	{"canceled", ErrCanceled},
	{"shutdown", ErrShutdown},
	{"stopped", ErrStopped},
	{"context canceled", context.Canceled},
	{"deadline exceeded", context.DeadlineExceeded},
}

// recordedCause is an error that said more than the one of causes that it
// wrapped.
type recordedCause struct {
	text  string
	cause error
}

func (e *recordedCause) Error() string { return e.text }
func (e *recordedCause) Unwrap() error { return e.cause }

// UnmarshalText takes what MarshalText gives.
func (o *Outcome) UnmarshalText(text []byte) error {
	i := slices.Index(outcomeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("sender: unknown outcome %q", text)
	}
	*o = Outcome(i)
	return nil
}

// MarshalJSON gives the Result as JSON that UnmarshalJSON reads: of Message
// all but Content and Data, and of its To only Recipient.
func (r Result) MarshalJSON() ([]byte, error) {
	w := writer{buf: make([]byte, 0, 512)}
	w.open("")
	if m := r.Message; m != nil {
		w.open("message")
		w.string("id", m.ID)
		w.string("stream", m.Stream)
		w.string("campaign", m.Campaign)
		w.string("from", m.From)
		w.string("template", m.Template)
		w.bool("engaged", m.Engaged)
		w.time("not_before", m.NotBefore)
		w.string("zone", m.Zone)
		w.dsn(m.DSN)
		w.tags(m.Tags)
		w.close()
	}
	w.string("recipient", r.Recipient)
	if !utf8.ValidString(r.Recipient) { // malformed, and to be known again
		w.string("recipient_base64", base64.StdEncoding.EncodeToString([]byte(r.Recipient)))
	}
	w.text("outcome", r.Outcome)
	w.class(r.Class)
	w.reply(r.Reply, false)
	w.time("retry_at", r.RetryAt)
	w.error(&r)
	w.string("site", r.Site)
	w.string("source", r.Source)
	w.int("attempts", r.Attempts)
	w.duration("elapsed", r.Elapsed)
	w.close()
	return w.buf, w.err
}

// UnmarshalJSON reads what MarshalJSON gives. Err is an *Error again; what it
// wraps is the same value if it was one of the Err values of this package or a
// context's error, and an error with the same text otherwise.
func (r *Result) UnmarshalJSON(data []byte) error {
	var rec resultRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return err
	}
	if rec.Raw != nil {
		rec.Recipient = string(rec.Raw)
	}
	*r = Result{Recipient: rec.Recipient, Outcome: rec.Outcome, Class: rec.Class.class(), Reply: bounce.Reply(rec.Reply), RetryAt: rec.RetryAt,
		Site: rec.Site, Source: rec.Source, Attempts: rec.Attempts, Elapsed: time.Duration(rec.Elapsed)}
	if m := rec.Message; m != nil {
		r.Message = &Message{ID: m.ID, Stream: m.Stream, Campaign: m.Campaign, From: m.From, To: []string{rec.Recipient}, Template: m.Template,
			Engaged: m.Engaged, NotBefore: m.NotBefore, Zone: m.Zone, DSN: m.DSN, Tags: m.Tags}
		if rec.Recipient == "" {
			r.Message.To = nil
		}
	}
	if rec.Error != nil {
		r.Err = rec.Error.error(r)
	}
	return nil
}

// MarshalJSON gives the Attempt as JSON that UnmarshalJSON reads.
func (a Attempt) MarshalJSON() ([]byte, error) {
	w := writer{buf: make([]byte, 0, 384)}
	w.open("")
	w.time("time", a.Time)
	w.string("site", a.Site)
	w.string("source", a.Source)
	w.reply(a.Reply, false)
	w.class(a.Class)
	w.string("error", a.Err)
	w.close()
	return w.buf, w.err
}

// UnmarshalJSON reads what MarshalJSON gives.
func (a *Attempt) UnmarshalJSON(data []byte) error {
	var rec struct {
		Time         time.Time
		Site, Source string
		Reply        replyRecord
		Class        classRecord
		Error        string
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		return err
	}
	*a = Attempt{Time: rec.Time, Site: rec.Site, Source: rec.Source, Reply: bounce.Reply(rec.Reply), Class: rec.Class.class(), Err: rec.Error}
	return nil
}

// What is read back.
type (
	resultRecord struct {
		Message *struct {
			ID, Stream, Campaign, From, Template string
			Engaged                              bool
			NotBefore                            time.Time `json:"not_before"`
			Zone                                 string
			DSN                                  *DSN
			Tags                                 map[string]string
		}
		Recipient    string
		Raw          []byte `json:"recipient_base64"`
		Outcome      Outcome
		Class        classRecord
		Reply        replyRecord
		RetryAt      time.Time `json:"retry_at"`
		Error        *errorRecord
		Site, Source string
		Attempts     int
		Elapsed      durationRecord
	}
	replyRecord struct {
		Stage  bounce.Stage
		Code   int
		Status bounce.Status
		Text   string
		Host   string
	}
	classRecord struct {
		Category   bounce.Category
		Scope      bounce.Scope
		Permanent  bool
		Action     bounce.Action
		RetryAfter durationRecord `json:"retry_after"`
		Rule       string
		Confidence float32
	}
	errorRecord struct {
		Recipient, Source *string // nil = as in the Result
		Host              string
		Stage             bounce.Stage
		Reply             *replyRecord // nil = as in the Result
		TLS, Dot          bool
		Cause, Text       string
	}
	durationRecord time.Duration
)

func (d *durationRecord) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = durationRecord(v)
	return err
}

func (c classRecord) class() bounce.Class {
	return bounce.Class{Category: c.Category, Scope: c.Scope, Permanent: c.Permanent, Action: c.Action,
		RetryAfter: time.Duration(c.RetryAfter), Rule: c.Rule, Confidence: c.Confidence}
}

func (e *errorRecord) error(r *Result) *Error {
	out := &Error{Recipient: r.Recipient, Host: e.Host, Source: r.Source, Stage: e.Stage, Reply: r.Reply, TLS: e.TLS, Dot: e.Dot}
	if e.Recipient != nil {
		out.Recipient = *e.Recipient
	}
	if e.Source != nil {
		out.Source = *e.Source
	}
	if e.Reply != nil {
		out.Reply = bounce.Reply(*e.Reply)
	}
	if e.Text != "" {
		out.Err = errors.New(e.Text)
	}
	for _, c := range causes {
		switch {
		case c.name != e.Cause:
		case e.Text == "":
			out.Err = c.err
		default:
			out.Err = &recordedCause{e.Text, c.err}
		}
	}
	return out
}

// writer builds the JSON of one record.
type writer struct {
	buf []byte
	err error // the first
}

// name writes what goes before a value.
func (w *writer) name(name string) {
	if last := len(w.buf) - 1; last >= 0 && w.buf[last] != '{' {
		w.buf = append(w.buf, ',')
	}
	if name != "" {
		w.buf = append(w.buf, '"')
		w.buf = append(w.buf, name...)
		w.buf = append(w.buf, '"', ':')
	}
}

func (w *writer) open(name string) {
	w.name(name)
	w.buf = append(w.buf, '{')
}

func (w *writer) close() { w.buf = append(w.buf, '}') }

func (w *writer) string(name, v string) {
	if v != "" {
		w.name(name)
		w.quote(v)
	}
}

func (w *writer) int(name string, v int) {
	if v != 0 {
		w.name(name)
		w.buf = strconv.AppendInt(w.buf, int64(v), 10)
	}
}

func (w *writer) bool(name string, v bool) {
	if v {
		w.name(name)
		w.buf = append(w.buf, "true"...)
	}
}

func (w *writer) time(name string, v time.Time) {
	if !v.IsZero() {
		w.name(name)
		w.buf = append(w.buf, '"')
		w.buf = v.UTC().AppendFormat(w.buf, time.RFC3339Nano)
		w.buf = append(w.buf, '"')
	}
}

func (w *writer) duration(name string, v time.Duration) {
	if v != 0 {
		w.string(name, v.String())
	}
}

// text writes a name. Values that have none are mistakes of the program.
func (w *writer) text(name string, v interface{ MarshalText() ([]byte, error) }) {
	text, err := v.MarshalText()
	if err != nil && w.err == nil {
		w.err = err
	}
	w.string(name, string(text))
}

func (w *writer) dsn(d *DSN) {
	if d != nil {
		w.open("dsn")
		w.string("notify", d.Notify)
		w.string("return", d.Return)
		w.string("envid", d.EnvID)
		w.close()
	}
}

func (w *writer) tags(tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	w.open("tags")
	for k, v := range tags {
		if last := len(w.buf) - 1; w.buf[last] != '{' {
			w.buf = append(w.buf, ',')
		}
		w.quote(k)
		w.buf = append(w.buf, ':')
		w.quote(v)
	}
	w.close()
}

func (w *writer) class(c bounce.Class) {
	if c == (bounce.Class{}) {
		return
	}
	w.open("class")
	w.text("category", c.Category)
	w.text("scope", c.Scope)
	w.bool("permanent", c.Permanent)
	w.text("action", c.Action)
	w.duration("retry_after", c.RetryAfter)
	w.string("rule", c.Rule)
	if v := float64(c.Confidence); v != 0 && !math.IsNaN(v) && !math.IsInf(v, 0) {
		w.name("confidence")
		w.buf = strconv.AppendFloat(w.buf, v, 'g', -1, 32)
	}
	w.close()
}

// reply writes a Reply: a zero one only if it must be there.
func (w *writer) reply(r bounce.Reply, always bool) {
	if !always && r == (bounce.Reply{}) {
		return
	}
	w.open("reply")
	w.text("stage", r.Stage)
	w.int("code", r.Code)
	if r.Status != (bounce.Status{}) {
		w.text("status", r.Status)
	}
	w.string("text", r.Text)
	w.string("host", r.Host)
	w.close()
}

// error writes r.Err, without what the Result says too.
func (w *writer) error(r *Result) {
	if r.Err == nil {
		return
	}
	e, ok := errors.AsType[*Error](r.Err)
	if !ok {
		e = &Error{Recipient: r.Recipient, Source: r.Source, Reply: r.Reply, Err: r.Err}
	}
	w.open("error")
	w.differs("recipient", e.Recipient, r.Recipient)
	w.string("host", e.Host)
	w.differs("source", e.Source, r.Source)
	w.text("stage", e.Stage)
	if e.Reply != r.Reply {
		w.reply(e.Reply, true)
	}
	w.bool("tls", e.TLS)
	w.bool("dot", e.Dot)
	w.cause(e.Err)
	w.close()
}

// differs writes v unless it is same.
func (w *writer) differs(name, v, same string) {
	if v != same {
		w.name(name)
		w.quote(v)
	}
}

func (w *writer) cause(err error) {
	if err == nil {
		return
	}
	for _, c := range causes {
		if err == c.err || errors.Is(err, c.err) {
			w.string("cause", c.name)
			if err.Error() != c.err.Error() {
				w.string("text", err.Error())
			}
			return
		}
	}
	w.string("text", err.Error())
}

// quote writes a JSON string. What is not UTF-8 becomes U+FFFD.
func (w *writer) quote(s string) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string has no error
			w.buf = append(w.buf, quoted...)
			return
		}
	}
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, s...)
	w.buf = append(w.buf, '"')
}
