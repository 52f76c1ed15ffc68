package bounce

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rule is one rule of a pack: what a reply must look like, and what it then
// means. All conditions given must hold. The text of a reply is matched after
// foldText: in lower case, each run of white space as one blank, each mail
// address as "@", without the codes at the head of its lines.
//
// The confidence of the class follows from what the rule looks at: 1 for events
// on our side, 0.95 for text of a known provider, 0.85 for a provider's status,
// 0.8 for text alone, 0.5 for a status alone, 0.25 for less.
type Rule struct {
	ID       string   // unique, such as "google/user-unknown"
	Provider string   // name of a provider of the pack; "" = any server
	Stages   []Stage  // one of them; a reply whose stage is not known passes if Text is given; none = any
	Codes    []string // one of them: "550", "5xx", "none" for a reply without code; none = any
	Statuses []string // one of them: "5.1.1", "x.7.x", "5.7.606-649", "none"; none = any
	Text     []string // regular expressions (RE2), of which one must match; none = any text
	And      []string // more of them, of which one must match, too
	Unless   []string // regular expressions of which none may match

	Category  Category
	Scope     Scope
	Permanent *bool         // nil: no if Action is retry or pause, else as the codes say
	Action    Action        // if permanent, else the nearest that tries again
	Retry     time.Duration // advised wait where the reply names none

	Source  string   // who says so
	Samples []string // replies for which this rule decides

	Line int // in the pack's file
}

// rule is a Rule made ready to match.
type rule struct {
	Rule
	provider   int // index into Rules.providers, -1 = any
	stages     uint32
	codes      []codePattern
	statuses   []statusPattern
	local      bool  // only for what happened on our side: its stage must be known
	text       []int // clauses of Text, And, Unless
	and        []int
	unless     []int
	confidence float32
}

// fits reports whether all conditions hold but those of the text.
func (ru *rule) fits(r *Reply, provider int) bool {
	if ru.provider >= 0 && ru.provider != provider {
		return false
	}
	if ru.stages != 0 && ru.stages>>r.Stage&1 == 0 && (r.Stage != StageNone || len(ru.text) == 0) {
		return false
	}
	if beforeRcpt(r.Stage) && aboutMailbox(ru.Category) {
		return false
	}
	return anyCode(ru.codes, r.Code) && anyStatus(ru.statuses, r.Status)
}

// beforeRcpt reports whether a server that answered at this stage had not heard
// of any recipient yet: then no text makes the reply one about a mailbox.
func beforeRcpt(s Stage) bool { return StageConnect <= s && s <= StageMail }

func aboutMailbox(c Category) bool {
	return c == InvalidMailbox || c == MailboxDisabled || c == MailboxFull || c == Suppressed
}

// class says what the rule makes of a reply that it matches.
func (ru *rule) class(r *Reply, text string) Class {
	c := Class{Category: ru.Category, Scope: ru.Scope, Action: ru.Action, Rule: ru.ID, Confidence: ru.confidence}
	switch {
	case ru.Permanent != nil:
		c.Permanent = *ru.Permanent
	case ru.Action != ActionRetry && ru.Action != ActionPause:
		c.Permanent = permanent(r, ru.Category)
	}
	if c.Permanent {
		return c
	}
	c.Action = tryAgain(c.Action, c.Scope)
	if c.RetryAfter = retryHint(text); c.RetryAfter == 0 {
		c.RetryAfter = ru.Retry
	}
	return c
}

// permanent says what the codes say. Without any code the text is from a report
// of a failure, and the category's nature decides, or something went wrong on
// our side before RCPT, which may pass.
func permanent(r *Reply, c Category) bool {
	if r.Code != 0 || r.Status != (Status{}) {
		return !r.Temporary()
	}
	return (r.Stage == StageNone || r.Stage >= StageRcpt) && c.Outcome() != Soft
}

// tryAgain turns an action for permanent failures into the one for the same
// failure when it may pass.
func tryAgain(a Action, s Scope) Action {
	switch {
	case a == ActionPause:
		return ActionPause
	case a == ActionFix && (s.aboutUs() || s == ScopeSite):
		return ActionPause
	}
	return ActionRetry
}

// codePattern is three digits, or 'x' for any; "" is no code.
type codePattern string

func parseCode(s string) (codePattern, error) {
	if s == "none" {
		return "", nil
	}
	if len(s) != 3 || strings.Trim(s, "0123456789x") != "" {
		return "", fmt.Errorf("bad code %q", s)
	}
	return codePattern(s), nil
}

func (p codePattern) matches(code int) bool {
	if p == "" || code == 0 {
		return p == "" && code == 0
	}
	for i := 2; i >= 0; i, code = i-1, code/10 {
		if p[i] != 'x' && int(p[i]-'0') != code%10 {
			return false
		}
	}
	return true
}

func anyCode(list []codePattern, code int) bool {
	for _, p := range list {
		if p.matches(code) {
			return true
		}
	}
	return len(list) == 0
}

// statusPattern is a range for each part of a status; the zero pattern is no status.
type statusPattern [3]struct{ from, to uint16 }

func parseStatusPattern(s string) (p statusPattern, err error) {
	if s == "none" {
		return p, nil
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return p, fmt.Errorf("bad status %q", s)
	}
	for i, part := range parts {
		if part == "x" {
			p[i].to = 999
			continue
		}
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 10)
		to, err2 := strconv.ParseUint(high, 10, 10)
		if err1 != nil || err2 != nil || from > to || to > 999 {
			return p, fmt.Errorf("bad status %q", s)
		}
		p[i].from, p[i].to = uint16(from), uint16(to)
	}
	if p[0].to == 0 {
		return p, fmt.Errorf("bad status %q", s)
	}
	return p, nil
}

func (p *statusPattern) matches(s Status) bool {
	if p[0].to == 0 || s == (Status{}) {
		return p[0].to == 0 && s == (Status{})
	}
	for i, part := range p {
		if s[i] < part.from || s[i] > part.to {
			return false
		}
	}
	return true
}

func anyStatus(list []statusPattern, s Status) bool {
	for i := range list {
		if list[i].matches(s) {
			return true
		}
	}
	return len(list) == 0
}
