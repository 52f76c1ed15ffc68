package livepack

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/BurntSushi/toml"

	"github.com/volleymail/volley/bounce"
)

// RuleSet is a set of bounce rules that can be replaced while it is used. It is
// for any number of goroutines.
type RuleSet struct{ current atomic.Pointer[bounce.Rules] }

// NewRuleSet returns a RuleSet of the built-in rules.
func NewRuleSet() *RuleSet {
	s := &RuleSet{}
	s.Store(bounce.DefaultRules())
	return s
}

// Load returns the rules in place.
func (s *RuleSet) Load() *bounce.Rules { return s.current.Load() }

// Store replaces the rules.
func (s *RuleSet) Store(rules *bounce.Rules) { s.current.Store(rules) }

// Classify says what a reply means by the rules in place, see [bounce.Rules.Classify].
func (s *RuleSet) Classify(r bounce.Reply) bounce.Class { return s.Load().Classify(r) }

// RuleClamp says how far downloaded rules may go from the built-in ones. Both are
// asked about the samples of all rules of both; what the download answers
// otherwise is counted. A pack that goes further is refused with Clamped.
type RuleClamp struct {
	// Suppress lets a download suppress an address for a reply that to the built-in
	// rules is a block of the sender or asks to slow down.
	Suppress bool

	// Changed is the share of the samples whose advised action may change. 0 = a
	// tenth; negative = all of them.
	Changed float64
}

// Rules returns the Target of bounce rules. swap is called with the rules that
// are to hold from now on: [RuleSet.Store], or what hands them to an engine.
func Rules(swap func(*bounce.Rules), c RuleClamp) Target {
	base := bounce.DefaultRules
	return Target{
		Name: "rules",
		Base: base().Version(),
		Prepare: func(data []byte) (Pack, error) {
			rules, err := bounce.LoadRules(bytes.NewReader(data))
			if err != nil {
				return Pack{}, err
			}
			if found := rules.Check(); len(found) > 0 {
				return Pack{}, &Error{Reason: Invalid, Version: rules.Version(), Err: flaws(found)}
			}
			if err := c.check(base(), rules, hostsIn(data)); err != nil {
				return Pack{}, &Error{Reason: Clamped, Version: rules.Version(), Err: err}
			}
			return Pack{rules.Version(), func() { swap(rules) }}, nil
		},
		Reset: func() { swap(base()) },
	}
}

// hostsIn returns a server's name for each provider of a pack.
func hostsIn(data []byte) map[string]string {
	var pack struct {
		Provider map[string]struct {
			Hosts []string `toml:"hosts"`
		} `toml:"provider"`
	}
	if _, err := toml.Decode(string(data), &pack); err != nil {
		return nil // LoadRules has taken it: cannot be
	}
	hosts := map[string]string{}
	for name, p := range pack.Provider {
		if len(p.Hosts) > 0 {
			hosts[name] = p.Hosts[0]
		}
	}
	return hosts
}

// ClampError is what a download changes that it must not.
type ClampError struct {
	Suppresses []string // samples for which it would suppress the address
	Changed    int      // samples with another action
	Samples    int      // of both packs together
}

func (e *ClampError) Error() string {
	if len(e.Suppresses) > 0 {
		shown := e.Suppresses[:min(len(e.Suppresses), maxShown)]
		return fmt.Sprintf("%d samples would suppress addresses that were not to blame: %q", len(e.Suppresses), shown)
	}
	return fmt.Sprintf("%d of %d samples get another action", e.Changed, e.Samples)
}

// check compares rules with base.
func (c RuleClamp) check(base, rules *bounce.Rules, hosts map[string]string) error {
	found := &ClampError{}
	for _, pack := range []*bounce.Rules{base, rules} {
		for rule := range pack.All() {
			for _, sample := range rule.Samples {
				r := sampleReply(rule, sample, hosts)
				before, after := base.Classify(r), rules.Classify(r)
				found.Samples++
				if before.Action != after.Action && before.Rule != "" {
					found.Changed++
				}
				if after.Action == bounce.ActionSuppress && aboutUs(before) {
					found.Suppresses = append(found.Suppresses, strings.ToValidUTF8(sample, "?"))
				}
			}
		}
	}
	share := c.Changed
	if share == 0 {
		share = 0.1
	}
	suppresses := len(found.Suppresses) > 0 && !c.Suppress
	if !suppresses {
		found.Suppresses = nil
	}
	if suppresses || share >= 0 && float64(found.Changed) > share*float64(found.Samples) {
		return found
	}
	return nil
}

// aboutUs reports whether a reply blames the sender, or asks it for less.
func aboutUs(c bounce.Class) bool {
	return c.Category.Outcome() == bounce.Block || c.Action == bounce.ActionPause || c.Scope == bounce.ScopeSource || c.Scope == bounce.ScopeSenderDomain
}

// sampleReply is the reply that a rule's sample stands for.
func sampleReply(rule bounce.Rule, sample string, hosts map[string]string) bounce.Reply {
	r := bounce.ParseReply(sample)
	if r.Host == "" {
		r.Host = hosts[rule.Provider]
	}
	if len(rule.Stages) > 0 && r.Stage == bounce.StageNone {
		r.Stage = rule.Stages[0]
	}
	return r
}
