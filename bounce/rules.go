package bounce

import (
	"bytes"
	_ "embed"
	"iter"
	"math/bits"
	"slices"
	"strings"
	"sync"
)

//go:embed rules.toml
var defaultPack []byte

// DefaultRules returns the embedded pack, which Classify uses. The first call
// reads it, which takes some tens of milliseconds.
func DefaultRules() *Rules { return defaultRules() }

var defaultRules = sync.OnceValue(func() *Rules {
	rs, err := LoadRules(bytes.NewReader(defaultPack))
	if err != nil {
		panic(err) // a broken build: tests load the pack
	}
	return rs
})

// Classify says what a reply means, by the embedded rules: see [Rules.Classify].
func Classify(r Reply) Class { return DefaultRules().Classify(r) }

// Rules is a set of rules. It does not change once loaded and may be used by
// any number of goroutines; new definitions are a new Rules.
type Rules struct {
	version   string
	rules     []rule // in the order of the pack: the first that matches decides
	providers []provider
	byHost    map[string]int // provider by host suffix
	clauses   []clause
	index     *index
	triggers  [][]int  // by set of literals: the rules that need it
	always    []uint64 // bit set of the rules that nothing triggers
}

// provider is a receiver with replies of its own, known by the server's name,
// else by what its texts give away.
type provider struct {
	name   string
	hosts  []string // suffixes, without leading dot
	text   []int    // clauses
	source string
}

// Version returns the version of the pack.
func (rs *Rules) Version() string { return rs.version }

// All yields the rules in their order.
func (rs *Rules) All() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for i := range rs.rules {
			if !yield(rs.rules[i].Rule) {
				return
			}
		}
	}
}

// Rule returns the rule that Class.Rule names, to explain a decision.
func (rs *Rules) Rule(id string) (Rule, bool) {
	for i := range rs.rules {
		if rs.rules[i].ID == id {
			return rs.rules[i].Rule, true
		}
	}
	return Rule{}, false
}

// Classify says what a reply means. The first rule that matches decides; where
// none does the category is Unknown, and nobody is suppressed. A reply of 2yz or
// 3yz is no failure and gives the zero Class. Only the first 4 KB of the text
// are looked at.
func (rs *Rules) Classify(r Reply) Class {
	if 200 <= r.Code && r.Code < 400 {
		return Class{}
	}
	text := foldText(r.Text)
	if i := rs.match(&r, text); i >= 0 {
		return rs.rules[i].class(&r, text)
	}
	c := Class{Permanent: permanent(&r, Unknown), Action: ActionFail}
	if !c.Permanent {
		c.Action, c.RetryAfter = ActionRetry, retryHint(text)
	}
	return c
}

// match returns the index of the rule that decides, -1 if none does.
func (rs *Rules) match(r *Reply, text string) int {
	var hitsOnStack, candidatesOnStack [64]uint64
	hits := bitset(hitsOnStack[:], rs.index.sets)
	rs.index.find(text, hits)
	candidates := bitset(candidatesOnStack[:], len(rs.rules))
	copy(candidates, rs.always)
	for set := range ones(hits) {
		for _, i := range rs.triggers[set] {
			candidates[i/64] |= 1 << (i % 64)
		}
	}
	matches := func(id int) bool { return rs.clauses[id].matches(text, hits) }
	p := rs.providerOf(r, matches)
	for i := range ones(candidates) {
		if ru := &rs.rules[i]; ru.fits(r, p) && ru.matchText(matches) {
			return i
		}
	}
	return -1
}

// matchText reports whether a rule's patterns hold, as matches says of each.
func (ru *rule) matchText(matches func(clause int) bool) bool {
	return (len(ru.text) == 0 || slices.ContainsFunc(ru.text, matches)) &&
		(len(ru.and) == 0 || slices.ContainsFunc(ru.and, matches)) &&
		!slices.ContainsFunc(ru.unless, matches)
}

// providerOf returns the provider of the server, by its name, else by the text;
// -1 if it is none of the pack's.
func (rs *Rules) providerOf(r *Reply, matches func(clause int) bool) int {
	for host := strings.ToLower(strings.TrimSuffix(r.Host, ".")); host != ""; {
		if p, ok := rs.byHost[host]; ok {
			return p
		}
		_, host, _ = strings.Cut(host, ".")
	}
	for i := range rs.providers {
		if slices.ContainsFunc(rs.providers[i].text, matches) {
			return i
		}
	}
	return -1
}

// bitset returns a cleared bit set of n bits, in buf if it has room.
func bitset(buf []uint64, n int) []uint64 {
	words := (n + 63) / 64
	if words > len(buf) {
		return make([]uint64, words)
	}
	return buf[:words]
}

// ones yields the bits that are set, from the lowest up.
func ones(set []uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for w, word := range set {
			for ; word != 0; word &= word - 1 {
				if !yield(w*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}
