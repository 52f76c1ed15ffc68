package bounce

import (
	"fmt"
	"slices"
	"strings"
)

// Flaw is what Check finds wrong with a rule.
type Flaw uint8

// The flaws.
const (
	Dead          Flaw = iota + 1 // the rule does not match its own sample
	Shadowed                      // it matches its sample, but an earlier rule decides
	Contradictory                 // an earlier rule has the same conditions or sample, and says otherwise
)

var flawNames = []string{"", "dead", "shadowed", "contradictory"}

// String returns the name, such as "shadowed".
func (f Flaw) String() string { return nameOf("flaw", flawNames, f) }

// Finding is a flaw of one rule.
type Finding struct {
	Flaw   Flaw
	Rule   string // id
	Line   int    // in the pack's file
	By     string // id of the other rule, "" if there is none
	Sample string // the sample that shows it, "" if the conditions do
}

// String says it in a sentence.
func (f Finding) String() string {
	s := fmt.Sprintf("line %d: rule %q is %v", f.Line, f.Rule, f.Flaw)
	if f.By != "" {
		s += fmt.Sprintf(" by %q", f.By)
	}
	if f.Sample != "" {
		s += fmt.Sprintf(": sample %q", f.Sample)
	}
	return s
}

// Check runs each rule's samples through the whole pack and reports rules that
// never get to decide or that contradict one another; none if all is well. A
// sample is read by ParseReply and said at the rule's first stage by the first
// host of the rule's provider.
func (rs *Rules) Check() []Finding {
	var found []Finding
	conditions := map[string]*rule{}
	samples := map[string]*rule{}
	for i := range rs.rules {
		ru := &rs.rules[i]
		key := ru.conditions()
		if other, ok := conditions[key]; ok && !ru.agrees(other) {
			found = append(found, Finding{Contradictory, ru.ID, ru.Line, other.ID, ""})
		} else if !ok {
			conditions[key] = ru
		}
		for _, s := range ru.Samples {
			key := fmt.Sprint(ru.Provider, ru.Stages, s)
			other, ok := samples[key]
			if !ok {
				samples[key] = ru
			}
			if f, bad := rs.checkSample(i, s); bad {
				if ok && f.Flaw == Shadowed && !ru.agrees(other) {
					f.Flaw = Contradictory
				}
				found = append(found, f)
			}
		}
	}
	return found
}

func (rs *Rules) checkSample(i int, sample string) (Finding, bool) {
	ru := &rs.rules[i]
	r := rs.sampleReply(ru, sample)
	text := foldText(r.Text)
	f := Finding{Flaw: Dead, Rule: ru.ID, Line: ru.Line, Sample: sample}
	if by := rs.match(&r, text); by == i {
		return Finding{}, false
	} else if by >= 0 {
		f.By = rs.rules[by].ID
	}
	only := Rules{rules: rs.rules[i : i+1], providers: rs.providers, byHost: rs.byHost, clauses: rs.clauses}
	if only.matchEach(&r, text) == 0 {
		f.Flaw = Shadowed
	}
	return f, true
}

// sampleReply is the reply that a rule's sample stands for.
func (rs *Rules) sampleReply(ru *rule, sample string) Reply {
	r := ParseReply(sample)
	if ru.provider >= 0 && r.Host == "" {
		r.Host = rs.providers[ru.provider].hosts[0]
	}
	if len(ru.Stages) > 0 && r.Stage == StageNone {
		r.Stage = ru.Stages[0]
	}
	return r
}

// matchEach is match without index: it tries each pattern of each rule.
func (rs *Rules) matchEach(r *Reply, text string) int {
	matches := func(id int) bool { return rs.clauses[id].re.MatchString(text) }
	p := rs.providerOf(r, matches)
	for i := range rs.rules {
		if ru := &rs.rules[i]; ru.fits(r, p) && ru.matchText(matches) {
			return i
		}
	}
	return -1
}

// conditions is all that a rule asks of a reply.
func (ru *rule) conditions() string {
	sorted := func(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), "\x00") }
	return fmt.Sprint(ru.Provider, ru.stages, sorted(ru.Codes), "\x01", sorted(ru.Statuses), "\x01", sorted(ru.Text), "\x01", sorted(ru.And), "\x01", sorted(ru.Unless))
}

// agrees reports whether two rules say the same of a reply.
func (ru *rule) agrees(other *rule) bool {
	return ru.Category == other.Category && ru.Scope == other.Scope && ru.Action == other.Action
}
