package throttle

import (
	"cmp"
	"slices"
	"strings"
)

// Specificity of a match. An MX suffix counts its length, which is below these.
const (
	rankSite   = 1000
	rankDomain = 2000
)

// matcher finds the profiles of a destination. It does not change.
type matcher struct {
	domains  map[string][]string // ids by recipient domain
	sites    map[string][]string // ids by siteKey
	suffixes map[string][]string // ids by suffix of the servers' names
	mx       map[string][]string // the suffixes, by id
}

func newMatcher(packs []*ProfilePack) *matcher {
	m := &matcher{map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}}
	add := func(to map[string][]string, key, value string) {
		if !slices.Contains(to[key], value) {
			to[key] = append(to[key], value)
		}
	}
	for _, pack := range packs {
		for id, p := range pack.profiles {
			for _, d := range p.Domains {
				add(m.domains, d, id)
			}
			for _, s := range p.sites {
				add(m.sites, s, id)
			}
			for _, suffix := range p.MX {
				add(m.suffixes, suffix, id)
				add(m.mx, id, suffix)
			}
		}
	}
	return m
}

// match is a profile and how closely it fits.
type match struct {
	id   string
	rank int
}

// find returns the profiles of a destination, the most specific first. site is
// its name, "" if there is only the set of hosts. Where two are equally specific,
// which [ProfilePack.Check] reports, it goes by id.
func (m *matcher) find(domain, site string, hosts []string) []match {
	var found []match
	add := func(id string, rank int) {
		if !slices.ContainsFunc(found, func(f match) bool { return f.id == id }) {
			found = append(found, match{id, rank})
		}
	}
	for _, id := range m.domains[domain] {
		add(id, rankDomain)
	}
	if len(m.sites) > 0 {
		// The name of the site counts a server that has no address just now, the hosts
		// are known where the name was shortened.
		for _, set := range [][]string{hosts, hostsOf(site)} {
			for _, id := range m.sites[siteKey(set)] {
				add(id, rankSite)
			}
		}
	}
	if len(hosts) > 0 {
		for suffix := hosts[0]; suffix != ""; _, suffix, _ = strings.Cut(suffix, ".") {
			for _, id := range m.suffixes[suffix] {
				if rank := m.commonRank(id, hosts); rank > 0 {
					add(id, rank)
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b match) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.id, b.id))
	})
	return found
}

// commonRank returns the length of the suffix by which the profile has each of
// the hosts, of several the shortest; 0 if it lacks one: a domain whose servers
// belong to the provider only in part is not the provider's.
func (m *matcher) commonRank(id string, hosts []string) int {
	rank := rankSite
	for _, host := range hosts {
		longest := 0
		for _, suffix := range m.mx[id] {
			if hasSuffix(host, suffix) {
				longest = max(longest, len(suffix))
			}
		}
		rank = min(rank, longest)
	}
	return rank
}

// hosts returns the names of the destination's servers, nil if they are not known.
func (k Key) hosts() []string {
	switch {
	case k.MX != "":
		return strings.Fields(k.MX)
	case strings.Contains(k.Site, " "): // made by a Namer, or a relay's
		return nil
	}
	return hostsOf(k.Site)
}

// siteKey names a set of hosts, whatever their order.
func siteKey(hosts []string) string {
	if len(hosts) == 1 {
		return hosts[0]
	}
	hosts = slices.Clone(hosts)
	slices.Sort(hosts)
	return strings.Join(slices.Compact(hosts), " ")
}

// hostsOf reads a set of host names: "mx1.example.com mx2.example.com", or as
// mx.Route.Site has it, "(mx1|mx2).example.com", "(mx1|mx2)?.example.com" if
// example.com itself belongs to it, "(mx.example.com|mx.example.net)". It
// returns nil for any other text, such as a Site shortened with a hash, which
// cannot be read back.
func hostsOf(s string) []string {
	inner, rest, factored := strings.Cut(s, ")")
	var hosts []string
	switch inner, open := strings.CutPrefix(inner, "("); {
	case factored != open:
		return nil
	case !factored:
		hosts = strings.Fields(s)
	default:
		suffix, _ := strings.CutPrefix(rest, "?")
		for name := range strings.SplitSeq(inner, "|") {
			hosts = append(hosts, name+suffix)
		}
		if suffix != rest {
			hosts = append(hosts, strings.TrimPrefix(suffix, "."))
		}
		if suffix != "" && suffix[0] != '.' || rest == "?" {
			return nil
		}
	}
	if len(hosts) == 0 || slices.ContainsFunc(hosts, func(h string) bool { return !isName(h) }) {
		return nil
	}
	return hosts
}

// isName reports whether s is a domain name as package mx has them: lower case,
// A-labels, no final dot.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// hasSuffix reports whether host is suffix or below it.
func hasSuffix(host, suffix string) bool {
	n := len(host) - len(suffix)
	return n == 0 && host == suffix || n > 0 && host[n-1] == '.' && host[n:] == suffix
}
