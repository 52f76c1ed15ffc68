package bounce

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// clause is one pattern of a rule.
type clause struct {
	re       *regexp.Regexp
	literals literals
	needs    []int // the index's numbers of the sets of literals
}

// index finds, in one pass over a text, the sets of literals that have one in
// it, so that of more than a thousand patterns only a few are tried.
type index struct {
	sets  int // how many
	long  gramTable
	short gramTable // for literals too short for the other
}

// gramTable files literals by the n bytes of them that are the rarest.
type gramTable struct {
	n      int
	filter [1 << 10]uint64  // a bit for the hash of each gram: nearly all others end here
	filed  [1 << 12][]entry // by the upper bits of the gram's hash
}

type entry struct {
	gram uint32
	*filed
}

type filed struct {
	literal string
	offset  int // of the gram in literal
	sets    []setEdge
}

// setEdge is a set that has the literal, with what must be around it.
type setEdge struct {
	set        int
	start, end edge
}

func (t *gramTable) gram(s string, i int) uint32 {
	s = s[i : i+t.n]
	g := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16
	if len(s) == 4 {
		g |= uint32(s[3]) << 24
	}
	return g
}

// hash returns 16 bits.
func hash(gram uint32) uint32 { return gram * 0x9E3779B1 >> 16 }

// newIndex files the literals of the clauses and sets their needs. What is rare
// it learns from texts, which are like those to come.
func newIndex(clauses []clause, texts []string) *index {
	x := &index{long: gramTable{n: 4}, short: gramTable{n: 3}}
	literals := map[string]*filed{}
	numbers := map[string]int{} // of sets, by what they have
	for i := range clauses {
		c := &clauses[i]
		for _, set := range c.literals.sets {
			key := fmt.Sprint(c.literals.start, c.literals.end, strings.Join(set, "\x00"))
			n, ok := numbers[key]
			if !ok {
				n, numbers[key] = x.sets, x.sets
				x.sets++
				for _, l := range set {
					if literals[l] == nil {
						literals[l] = &filed{literal: l}
					}
					literals[l].sets = append(literals[l].sets, setEdge{n, c.literals.start, c.literals.end})
				}
			}
			c.needs = append(c.needs, n)
		}
	}
	var long, short []*filed
	for _, l := range slices.Sorted(maps.Keys(literals)) {
		if len(l) >= x.long.n {
			long = append(long, literals[l])
		} else {
			short = append(short, literals[l])
		}
	}
	x.long.file(long, texts)
	x.short.file(short, texts)
	return x
}

func (t *gramTable) file(list []*filed, texts []string) {
	common := map[uint32]int{}
	for _, s := range texts {
		for i := 0; i+t.n <= len(s); i++ {
			common[t.gram(s, i)] += 10 // a gram met costs more than one shared
		}
	}
	for _, f := range list {
		for i := 0; i+t.n <= len(f.literal); i++ {
			common[t.gram(f.literal, i)]++
		}
	}
	for _, f := range list {
		for i := 1; i+t.n <= len(f.literal); i++ {
			if common[t.gram(f.literal, i)] < common[t.gram(f.literal, f.offset)] {
				f.offset = i
			}
		}
		g := t.gram(f.literal, f.offset)
		h := hash(g)
		t.filter[h>>6] |= 1 << (h & 63)
		t.filed[h>>4] = append(t.filed[h>>4], entry{g, f})
	}
}

// find sets in hits the bits of the sets that have a literal in text.
func (x *index) find(text string, hits []uint64) {
	x.long.find(text, hits)
	x.short.find(text, hits)
}

func (t *gramTable) find(text string, hits []uint64) {
	for i := 0; i+t.n <= len(text); i++ {
		g := t.gram(text, i)
		h := hash(g)
		if t.filter[h>>6]>>(h&63)&1 == 0 {
			continue
		}
		for _, f := range t.filed[h>>4] {
			if f.gram != g {
				continue
			}
			if from := i - f.offset; from >= 0 && strings.HasPrefix(text[from:], f.literal) {
				f.hit(text, from, hits)
			}
		}
	}
}

// hit sets the bits of the sets that take the literal where it stands.
func (f *filed) hit(text string, from int, hits []uint64) {
	for _, s := range f.sets {
		if s.start.at(text, from) && s.end.at(text, from+len(f.literal)) {
			hits[s.set/64] |= 1 << (s.set % 64)
		}
	}
}

// edge is what must be before or behind a literal.
type edge uint8

const (
	anything edge = iota
	wordEdge      // \b
	textEdge      // ^ or $
)

func (e edge) at(s string, i int) bool {
	switch e {
	case wordEdge:
		return boundary(s, i)
	case textEdge:
		return i == 0 || i == len(s)
	}
	return true
}

// boundary is \b of RE2.
func boundary(s string, i int) bool {
	return (i > 0 && isWord(s[i-1])) != (i < len(s) && isWord(s[i]))
}

func isWord(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' }

// cost is what trying the clause costs, roughly: nothing, or a regular
// expression that grows with its length.
func (c *clause) cost() int {
	if c.literals.exact {
		return 0
	}
	return len(c.re.String())
}

// matches decides whether the clause matches text, for which find has set hits.
func (c *clause) matches(text string, hits []uint64) bool {
	for _, set := range c.needs {
		if hits[set/64]>>(set%64)&1 == 0 {
			return false
		}
	}
	return c.literals.exact || c.re.MatchString(text)
}
