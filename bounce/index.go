package bounce

import (
	"regexp"
	"strings"
)

// clause is one pattern of a rule.
type clause struct {
	re       *regexp.Regexp
	literals literals
}

// index finds, in one pass over a text, the clauses that can match it, so that
// of some hundred patterns only a few are tried. Each clause is filed under the
// rarest three bytes of each literal of which one is needed.
type index struct {
	clauses []clause
	always  []uint64              // bit set of the clauses without literals of three bytes
	filter  [1 << 10]uint64       // a bit for the hash of each gram filed: nearly all others end here
	filed   map[uint32][]filedLit // by gram
}

type filedLit struct {
	literal string
	offset  int // of the gram in literal
	clause  int
}

func gram(s string, i int) uint32 {
	return uint32(s[i])<<16 | uint32(s[i+1])<<8 | uint32(s[i+2])
}

func gramBit(g uint32) (word, bit uint32) {
	h := g * 0x9E3779B1 >> 16
	return h >> 6, h & 63
}

func newIndex(clauses []clause) *index {
	x := &index{clauses: clauses, always: make([]uint64, (len(clauses)+63)/64), filed: map[uint32][]filedLit{}}
	common := map[uint32]int{}
	for _, c := range clauses {
		for _, l := range c.literals.any {
			for i := 0; i+3 <= len(l); i++ {
				common[gram(l, i)]++
			}
		}
	}
	for id, c := range clauses {
		if shortest(c.literals.any) < 3 {
			x.always[id/64] |= 1 << (id % 64)
			continue
		}
		for _, l := range c.literals.any {
			x.file(l, id, common)
		}
	}
	return x
}

// file puts a literal under its rarest gram.
func (x *index) file(literal string, clause int, common map[uint32]int) {
	best := 0
	for i := 1; i+3 <= len(literal); i++ {
		if common[gram(literal, i)] < common[gram(literal, best)] {
			best = i
		}
	}
	g := gram(literal, best)
	word, bit := gramBit(g)
	x.filter[word] |= 1 << bit
	x.filed[g] = append(x.filed[g], filedLit{literal, best, clause})
}

// find sets in hits, a bit set that it overwrites, the clauses that can match text.
func (x *index) find(text string, hits []uint64) {
	copy(hits, x.always)
	for i := 0; i+3 <= len(text); i++ {
		g := gram(text, i)
		word, bit := gramBit(g)
		if x.filter[word]>>bit&1 == 0 {
			continue
		}
		for _, f := range x.filed[g] {
			if i >= f.offset && strings.HasPrefix(text[i-f.offset:], f.literal) {
				hits[f.clause/64] |= 1 << (f.clause % 64)
			}
		}
	}
}

// matches decides whether a clause that find has hit matches text.
func (x *index) matches(id int, text string) bool {
	c := &x.clauses[id]
	if c.literals.exact && shortest(c.literals.any) >= 3 {
		return true
	}
	return c.re.MatchString(text)
}
