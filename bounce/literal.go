package bounce

import (
	"regexp/syntax"
	"slices"
)

// maxLiterals bounds how many literals stand for one pattern.
const maxLiterals = 256

// literals describes a pattern by the strings that it can match.
type literals struct {
	any   []string // whatever matches contains one of them; nil = not known
	exact bool     // and whatever contains one of them matches
}

// literalsOf finds the literals of a pattern: of all that it needs, the ones
// that are rarest, judged by their length.
func literalsOf(re *syntax.Regexp) literals {
	if whole := expand(re); whole != nil {
		return literals{any: whole, exact: true}
	}
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return inexact(literalsOf(re.Sub[0]))
	case syntax.OpRepeat:
		if re.Min > 0 {
			return inexact(literalsOf(re.Sub[0]))
		}
	case syntax.OpConcat:
		return literalsOfConcat(re.Sub)
	case syntax.OpAlternate:
		var all literals
		for _, sub := range re.Sub {
			l := literalsOf(sub)
			if shortest(l.any) == 0 || len(all.any)+len(l.any) > maxLiterals {
				return literals{}
			}
			all.any = append(all.any, l.any...)
		}
		return all
	}
	return literals{}
}

func inexact(l literals) literals { return literals{any: l.any} }

// literalsOfConcat picks the part, or the run of expandable parts, whose
// shortest literal is the longest.
func literalsOfConcat(subs []*syntax.Regexp) literals {
	var best literals
	keep := func(any []string) {
		if shortest(any) > shortest(best.any) {
			best.any = any
		}
	}
	var run []string
	for _, sub := range subs {
		part := expand(sub)
		if part == nil {
			run = nil
			keep(literalsOf(sub).any)
			continue
		}
		if joined := cross(run, part); joined != nil {
			run = joined
		} else {
			run = part
		}
		keep(run)
	}
	return best
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
