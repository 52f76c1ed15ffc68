package throttle

import (
	"errors"
	"regexp"
	"strconv"
	"time"
)

var (
	codePattern   = regexp.MustCompile(`^[245][0-9x][0-9x]$`)
	statusPattern = regexp.MustCompile(`^[245x]\.([0-9]{1,3}|x)\.([0-9]{1,3}|x)$`) // RFC 3463 §2
)

// mistakes gathers what is wrong with a Trigger.
type mistakes []error

func (m *mistakes) add(field, value, reason string) {
	*m = append(*m, &Error{Field: field, Value: value, Reason: reason})
}

func (m *mistakes) within(field string, value, least, most int) {
	if value < least || value > most {
		m.add(field, strconv.Itoa(value), "must be "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
}

func (m *mistakes) lasts(field string, d, least, most time.Duration) {
	if d < least || d > most {
		m.add(field, d.String(), "must be "+period(least)+" to "+period(most))
	}
}

// compile checks t and makes it ready for use.
func (t Trigger) compile() (*trigger, error) {
	c, m := &trigger{Trigger: t}, mistakes{}
	if t.ID == "" {
		m.add("ID", "", "must be given")
	}
	c.listen(&m)
	if t.Text != "" {
		var err error
		if c.text, err = regexp.Compile(t.Text); err != nil {
			m.add("Text", t.Text, err.Error())
		}
	}
	m.within("Count", t.Count, 0, maxCount)
	if t.Count > 1 {
		m.lasts("Within", t.Within, time.Nanosecond, maxWithin)
	} else if t.Within != 0 {
		m.add("Within", t.Within.String(), "means nothing without a Count of 2 or more")
	}
	t.checkAction(&m)
	return c, errors.Join(m...)
}

// listen notes the events and checks the codes.
func (t *trigger) listen(m *mistakes) {
	on := t.On
	if len(on) == 0 {
		on = []Event{SlowDown, Blocked, Refused}
	}
	for _, e := range on {
		if e != ConnFailed && e != SlowDown && e != Blocked && e != Refused {
			m.add("On", e.String(), "must be a failure: connection-failed, slow-down, blocked or refused")
			continue
		}
		t.on[e] = true
	}
	for _, p := range t.Codes {
		if !codePattern.MatchString(p) && !statusPattern.MatchString(p) {
			m.add("Codes", p, "want a code such as 421 or 4xx, or a status such as 4.7.28 or x.7.x")
		}
	}
}

func (t Trigger) checkAction(m *mistakes) {
	least := time.Nanosecond
	switch t.Action {
	case Recover:
		least = leastBreath
	case Suspend, Limit, Hold:
	default:
		m.add("Action", strconv.Itoa(int(t.Action)), "must be suspend, limit, recover or hold")
	}
	m.lasts("For", t.For, least, maxFor)
	if reason := t.Rate.mistake(); reason != "" {
		m.add("Rate", t.Rate.String(), reason)
	}
	m.within("Conns", t.Conns, 0, noLimit)
	m.within("Messages", t.Messages, 0, noLimit)
	limits := t.Rate != (Rate{}) || t.Conns != 0 || t.Messages != 0
	if limits != (t.Action == Limit) {
		m.add("Action", t.Action.String(), "limit, and only that, has a Rate, Conns or Messages")
	}
}
