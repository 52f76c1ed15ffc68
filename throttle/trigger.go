package throttle

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Trigger is a rule for replies: when those that it matches come, once or several
// times in a period, it does something for a time. All conditions given must
// hold; one that is left empty always holds. [NewTriggers] checks it, and [React]
// puts it to work. Its fields are those of a rule in a file of profiles.
type Trigger struct {
	ID string `toml:"id"` // unique, such as "google/unusual-rate"; shown in explanations

	On         []Event  `toml:"on"`         // one of them; none = slow-down, blocked and refused
	Categories []string `toml:"categories"` // one of them: Feedback.Category, such as "rate-limited"
	Rules      []string `toml:"rules"`      // one of them: Feedback.Rule
	Scopes     []string `toml:"scopes"`     // one of them: Feedback.Scope, such as "source"
	Codes      []string `toml:"codes"`      // one of them: "421", "4xx", or of the enhanced status (RFC 3463) "4.7.28", "x.7.x"
	Text       string   `toml:"text"`       // regular expression (RE2) that matches in Feedback.Text; (?i) for any case

	Count  int           `toml:"count"`  // this many matches within the period; 0 or 1 = at once
	Within time.Duration `toml:"within"` // the period, up to 24 h; with a Count above 1 it must be given

	Action   Action        `toml:"action"`
	For      time.Duration `toml:"for"`      // how long, up to 7 days; for "recover" the stop before each new try, 10 min or more
	Rate     Rate          `toml:"rate"`     // "limit": messages in a period; zero = no limit
	Conns    int           `toml:"conns"`    // "limit": open connections; 0 = no limit
	Messages int           `toml:"messages"` // "limit": messages for each connection; 0 = no limit

	Source  string   `toml:"source"`  // who says so
	Samples []string `toml:"samples"` // replies that match, such as "421 4.7.28 Unusual rate"
}

// Action is what a [Trigger] does. "The destination" is the site as this source
// reaches it: other sources go on.
type Action uint8

// The actions. All of them end by themselves.
const (
	Suspend Action = iota + 1 // nothing is sent to the destination for the time For, or what the reply asks for if that is longer
	Limit                     // Rate, Conns and Messages hold for the time For, besides the other limits
	Recover                   // stop for For, go on with one connection, then one more at a time; stop again if it matches again
	Hold                      // hold the stream of the message at the destination for the time For; all streams if it was about no message
)

var actionNames = [...]string{"", "suspend", "limit", "recover", "hold"}

// String returns the name, such as "suspend".
func (a Action) String() string {
	if a > 0 && int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown action"
}

// MarshalText gives the name, or an error if a is no action.
func (a Action) MarshalText() ([]byte, error) {
	if a > 0 && int(a) < len(actionNames) {
		return []byte(actionNames[a]), nil
	}
	return nil, &Error{Field: "action", Value: strconv.Itoa(int(a)), Reason: "is none of those defined"}
}

// UnmarshalText takes exactly what MarshalText gives.
func (a *Action) UnmarshalText(text []byte) error {
	i := slices.Index(actionNames[1:], string(text))
	if i < 0 {
		return &Error{Field: "action", Value: string(text), Reason: "want one of " + strings.Join(actionNames[1:], ", ")}
	}
	*a = Action(i + 1)
	return nil
}

const (
	maxCount    = 1000
	maxWithin   = 24 * time.Hour
	maxFor      = 7 * day
	leastBreath = 10 * time.Minute // of Recover: what Google asks for after a 4.7.28
)

// Validate reports all mistakes of t together, each an *[Error].
func (t Trigger) Validate() error {
	_, err := t.compile()
	return err
}

// Triggers is a checked set of [Trigger]. It does not change and may be shared by
// any number of Controllers and goroutines.
type Triggers struct{ all []*trigger }

// trigger is a Trigger ready for use.
type trigger struct {
	Trigger
	on   [len(eventNames)]bool
	text *regexp.Regexp // nil = any
}

// NewTriggers checks list and returns it as a set. The error has all mistakes,
// each an *[Error] whose Field begins with the number of the trigger, from 0.
func NewTriggers(list []Trigger) (*Triggers, error) {
	set, errs := &Triggers{}, []error(nil)
	seen := map[string]bool{}
	for i, t := range list {
		c, err := t.compile()
		if seen[t.ID] {
			err = errors.Join(err, &Error{Field: "ID", Value: t.ID, Reason: "another trigger has it"})
		}
		seen[t.ID] = true
		for _, e := range unjoin(err) {
			e.Field = "Triggers[" + strconv.Itoa(i) + "]." + e.Field
			errs = append(errs, e)
		}
		set.all = append(set.all, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return set, nil
}

// unjoin returns the errors that Trigger.compile has joined.
func unjoin(err error) (list []*Error) {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range j.Unwrap() {
			list = append(list, unjoin(e)...)
		}
	} else if e, ok := errors.AsType[*Error](err); ok {
		list = append(list, e)
	}
	return list
}

// Matching returns the triggers that match f, whatever their Count.
func (ts *Triggers) Matching(f Feedback) []Trigger {
	var list []Trigger
	for _, t := range ts.all {
		if t.matches(f) {
			list = append(list, t.Trigger)
		}
	}
	return list
}

func (t *trigger) matches(f Feedback) bool {
	return int(f.Event) < len(t.on) && t.on[f.Event] &&
		among(t.Categories, f.Category) && among(t.Rules, f.Rule) && among(t.Scopes, f.Scope) &&
		t.matchesCode(f) && (t.text == nil || t.text.MatchString(f.Text))
}

func among(list []string, s string) bool {
	return len(list) == 0 || slices.Contains(list, s)
}

func (t *trigger) matchesCode(f Feedback) bool {
	if len(t.Codes) == 0 {
		return true
	}
	for _, p := range t.Codes {
		if strings.Contains(p, ".") {
			if likeStatus(p, statusOf(f.Text)) {
				return true
			}
		} else if f.Code >= 100 && f.Code <= 999 && likeCode(p, f.Code) {
			return true
		}
	}
	return false
}

// likeCode reports whether code has the digits of p, where x is any.
func likeCode(p string, code int) bool {
	for i := 2; i >= 0; i-- {
		if p[i] != 'x' && int(p[i]-'0') != code%10 {
			return false
		}
		code /= 10
	}
	return true
}

// statusOf returns what stands behind the code of a reply's first line.
func statusOf(text string) string {
	if len(text) < 4 || text[3] != ' ' && text[3] != '-' {
		return ""
	}
	status, _, _ := strings.Cut(text[4:], " ")
	return status
}

// likeStatus reports whether status has the numbers of p, where x is any.
func likeStatus(p, status string) bool {
	for more := true; more; {
		var want, got string
		var left bool
		want, p, more = strings.Cut(p, ".")
		got, status, left = strings.Cut(status, ".")
		if want != got && want != "x" || got == "" || more != left {
			return false
		}
	}
	return true
}
