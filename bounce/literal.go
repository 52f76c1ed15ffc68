package bounce

import (
	"regexp/syntax"
	"slices"
)

// maxLiterals bounds how many literals stand for one pattern.
const maxLiterals = 256

// minLiteral is the length from which on a literal can be found by the index.
const minLiteral = 3

// literals describes a pattern by the strings without which it cannot match.
type literals struct {
	sets       [][]string // of each set the text must contain one, the most telling set first
	exact      bool       // and a text that contains one of the only set does match,
	start, end edge       // and what must be before it, behind it
}

// literalsOf finds the literals of a pattern, as far as there are any.
func literalsOf(re *syntax.Regexp) literals {
	var l literals
	inner := re
	if re.Op == syntax.OpConcat {
		subs := re.Sub
		if l.start = edgeOf(subs[0], syntax.OpBeginText); l.start != anything {
			subs = subs[1:]
		}
		if n := len(subs); n > 0 {
			if l.end = edgeOf(subs[n-1], syntax.OpEndText); l.end != anything {
				subs = subs[:n-1]
			}
		}
		inner = &syntax.Regexp{Op: syntax.OpConcat, Sub: subs}
	}
	if whole := expand(inner); shortest(whole) >= minLiteral {
		l.sets, l.exact = [][]string{whole}, true
		return l
	}
	sets := setsOf(re)
	slices.SortStableFunc(sets, func(a, b []string) int { return shortest(b) - shortest(a) })
	return literals{sets: sets}
}

func edgeOf(re *syntax.Regexp, text syntax.Op) edge {
	switch re.Op {
	case syntax.OpWordBoundary:
		return wordEdge
	case text:
		return textEdge
	}
	return anything
}

// setsOf returns sets of literals: what matches re contains one of each set.
func setsOf(re *syntax.Regexp) [][]string {
	if whole := expand(re); whole != nil {
		return indexable(whole)
	}
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return setsOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return setsOf(re.Sub[0])
		}
	case syntax.OpConcat:
		return setsOfConcat(re.Sub)
	case syntax.OpAlternate:
		return setsOfAlternate(re.Sub)
	}
	return nil
}

// setsOfAlternate makes one set of the best of each branch.
func setsOfAlternate(subs []*syntax.Regexp) [][]string {
	var union []string
	for _, sub := range subs {
		var best []string
		for _, set := range setsOf(sub) {
			if shortest(set) > shortest(best) {
				best = set
			}
		}
		if best == nil || len(union)+len(best) > maxLiterals {
			return nil
		}
		union = append(union, best...)
	}
	return [][]string{union}
}

// setsOfConcat makes a set of each run of parts that can be expanded together,
// and takes those of the other parts.
func setsOfConcat(subs []*syntax.Regexp) (sets [][]string) {
	var run []string
	for _, sub := range subs {
		part := expand(sub)
		joined := cross(run, part)
		if joined == nil {
			sets = append(sets, indexable(run)...)
			joined = part
		}
		run = joined
		if part == nil {
			sets = append(sets, setsOf(sub)...)
		}
	}
	return append(sets, indexable(run)...)
}

func indexable(set []string) [][]string {
	if shortest(set) < minLiteral {
		return nil
	}
	return [][]string{set}
}

func shortest(list []string) int {
	if len(list) == 0 {
		return 0
	}
	n := len(list[0])
	for _, s := range list[1:] {
		n = min(n, len(s))
	}
	return n
}

// expand lists all strings that a pattern matches, nil if it is not a small
// finite set of them.
func expand(re *syntax.Regexp) []string {
	if re.Flags&syntax.FoldCase != 0 {
		return nil
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}
	case syntax.OpLiteral:
		return []string{string(re.Rune)}
	case syntax.OpCharClass:
		return expandClass(re.Rune)
	case syntax.OpCapture:
		return expand(re.Sub[0])
	case syntax.OpQuest:
		if list := expand(re.Sub[0]); list != nil {
			return append([]string{""}, list...)
		}
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			list := expand(sub)
			if list == nil || len(all)+len(list) > maxLiterals {
				return nil
			}
			all = append(all, list...)
		}
		return all
	case syntax.OpConcat:
		all := []string{""}
		for _, sub := range re.Sub {
			if all = cross(all, expand(sub)); all == nil {
				return nil
			}
		}
		return all
	}
	return nil
}

func expandClass(ranges []rune) []string {
	var all []string
	for pair := range slices.Chunk(ranges, 2) {
		if pair[1]-pair[0] > 9 {
			return nil
		}
		for r := pair[0]; r <= pair[1]; r++ {
			all = append(all, string(r))
		}
	}
	if len(all) > 10 {
		return nil
	}
	return all
}

// cross joins each of a with each of b, nil if either is nil or there are too many.
func cross(a, b []string) []string {
	if a == nil || b == nil || len(a)*len(b) > maxLiterals {
		return nil
	}
	all := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			all = append(all, x+y)
		}
	}
	return all
}
