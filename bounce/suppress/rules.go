package suppress

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Rule says when failures of a kind suppress an address. The zero Rule never does.
type Rule struct {
	After  int           // suppress at the so-many-th failure; 1 = at once, 0 = never
	Within time.Duration // they lie within this time, with no delivery between; must be given if After > 1
	Apart  time.Duration // failures in one such span (counted in UTC: 24h is a day) count once; 0 = each counts
	For    time.Duration // how long the entry holds; 0 = for good
}

// maxAfter bounds what a store has to count for one address.
const maxAfter = 1000

// Rules say what suppresses an address.
//
// A failure is sure if its class is Hard (permanent, and about the address), its
// scope the recipient or, for an InvalidDomain, the site, its advice to
// suppress, and its confidence at least MinConfidence. One about the sender,
// the message or, otherwise, the site as a whole never counts against an address.
type Rules struct {
	// Bounces has the rule of each category; a category that is not here never
	// suppresses. Those of Hard categories are for sure failures.
	Bounces map[bounce.Category]Rule

	// Doubtful is for failures of Hard categories in Bounces that are not sure,
	// such as a "450 user unknown". All categories count together.
	Doubtful Rule

	// MinConfidence is the least confidence of a sure failure, 0 to 1.
	MinConfidence float32

	// Complaint is for complaints, and AllStreams says that one ends the mail
	// of all streams, not only of the one complained about.
	Complaint  Rule
	AllStreams bool
}

// DefaultRules returns the rules that a List has if it is given none:
//
//   - dead mailbox, dead domain or disabled mailbox: at once, for good;
//   - such failures that are in doubt: on three days within 30 days, for 180 days;
//   - mailbox full: on five days within 30 days, for 90 days;
//   - a complaint: at once, for good, for all streams;
//   - anything else: never.
func DefaultRules() Rules {
	const day = 24 * time.Hour
	once := Rule{After: 1}
	return Rules{
		Bounces: map[bounce.Category]Rule{
			bounce.InvalidMailbox:  once,
			bounce.InvalidDomain:   once,
			bounce.MailboxDisabled: once,
			bounce.MailboxFull:     {After: 5, Within: 30 * day, Apart: day, For: 90 * day},
		},
		Doubtful:      Rule{After: 3, Within: 30 * day, Apart: day, For: 180 * day},
		MinConfidence: 0.5,
		Complaint:     once,
		AllStreams:    true,
	}
}

// Validate reports all mistakes together.
func (r Rules) Validate() error {
	var errs []error
	add := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("suppress: %s: %w", name, err))
		}
	}
	for _, c := range slices.Sorted(maps.Keys(r.Bounces)) {
		name := fmt.Sprintf("Bounces[%s]", c)
		if _, err := c.MarshalText(); err != nil {
			add(name, err)
		}
		if c == bounce.Suppressed || c.Outcome() == bounce.Block {
			add(name, errors.New("this category says nothing about an address"))
		}
		add(name, r.Bounces[c].validate())
	}
	add("Doubtful", r.Doubtful.validate())
	add("Complaint", r.Complaint.validate())
	if !(r.MinConfidence >= 0 && r.MinConfidence <= 1) {
		add("MinConfidence", fmt.Errorf("%v is not from 0 to 1", r.MinConfidence))
	}
	return errors.Join(errs...)
}

func (r Rule) validate() error {
	switch {
	case r.After < 0 || r.After > maxAfter:
		return fmt.Errorf("After %d is not from 0 to %d", r.After, maxAfter)
	case r.Within < 0 || r.Apart < 0 || r.For < 0:
		return errors.New("a time is negative")
	case r.After > 1 && r.Within == 0:
		return errors.New("Within is missing: in what time?")
	case r.After > 1 && r.Within < time.Duration(r.After-1)*r.Apart:
		return fmt.Errorf("%d failures that are %v apart do not fit within %v", r.After, r.Apart, r.Within)
	}
	return nil
}

// doubtful is the kind under which failures in doubt are counted; others are
// counted by the name of their category.
const doubtful = "doubtful"

// judge finds the rule for a failure, and what its occurrences are counted by.
func (r *Rules) judge(c bounce.Class) (rule Rule, kind string, cause Cause) {
	rule, ok := r.Bounces[c.Category]
	if !ok || !aboutAddress(c) {
		return Rule{}, "", 0
	}
	switch {
	case c.Category.Outcome() != bounce.Hard:
		return rule, c.Category.String(), SoftBounces
	case r.sure(c):
		return rule, c.Category.String(), HardBounce
	default:
		return r.Doubtful, doubtful, SoftBounces
	}
}

// aboutAddress reports whether the failure can be held against an address.
func aboutAddress(c bounce.Class) bool {
	if c.Category == bounce.Suppressed || c.Outcome() == bounce.Block {
		return false
	}
	switch c.Scope {
	case bounce.ScopeRecipient, bounce.ScopeUnknown:
		return true
	case bounce.ScopeSite:
		return c.Category == bounce.InvalidDomain
	}
	return false
}

func (r *Rules) sure(c bounce.Class) bool {
	return c.Outcome() == bounce.Hard && c.Scope != bounce.ScopeUnknown &&
		c.Action == bounce.ActionSuppress && c.Confidence >= r.MinConfidence
}
