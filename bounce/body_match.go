package bounce

import "strings"

// phraseSet finds whether a text has one of many phrases, in one pass over it.
// Each phrase has three octets or more.
type phraseSet struct {
	list   []string
	filter [1 << 8]uint64      // a bit for the hash of each phrase's first three octets
	heads  map[uint32][]string // phrases by them
}

func newPhrases(list ...string) *phraseSet {
	p := &phraseSet{list: list, heads: map[uint32][]string{}}
	for _, phrase := range list {
		head := headOf(phrase, 0)
		p.heads[head] = append(p.heads[head], phrase)
		h := hash(head) >> 2
		p.filter[h>>6] |= 1 << (h & 63)
	}
	return p
}

func headOf(s string, i int) uint32 {
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16
}

// in reports whether s has one of the phrases.
func (p *phraseSet) in(s string) bool {
	for i := 0; i+3 <= len(s); i++ {
		head := headOf(s, i)
		if h := hash(head) >> 2; p.filter[h>>6]>>(h&63)&1 == 0 {
			continue
		}
		for _, phrase := range p.heads[head] {
			if strings.HasPrefix(s[i:], phrase) {
				return true
			}
		}
	}
	return false
}
