package mx

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/miekg/dns"
)

// maxHosts is how many hosts of a domain are looked at.
const maxHosts = 20

// mxSet is what a domain publishes.
type mxSet struct {
	hosts    []exchanger // best first, equal ones by name; never empty, at most maxHosts
	site     unique.Handle[string]
	implicit bool
}

// exchanger is a host that a domain names for its mail.
type exchanger struct {
	name       string
	preference uint16
}

// fillSet is the fillFunc of the MX records of a domain.
func (d *DNS) fillSet(ctx context.Context, domain string, quick bool) (*mxSet, time.Time, *Error) {
	fail := func(f Failure, expires time.Time, cause error) (*mxSet, time.Time, *Error) {
		return nil, expires, &Error{Domain: domain, Failure: f, Err: cause}
	}
	a, err := question[*dns.MX](ctx, &d.client, domain, dns.TypeMX, quick)
	switch {
	case err != nil:
		return fail(Temporary, time.Time{}, err)
	case !a.exists:
		return fail(NoDomain, d.negative(a.ttl), nil)
	case len(a.records) == 0: // implicit MX (RFC 5321 §5.1), at the end of the aliases
		hosts, err := exchangers([]*dns.MX{{Mx: a.name}})
		if err != nil {
			return fail(NoHosts, d.negative(a.ttl), err)
		}
		return newSet(hosts, true), d.negative(a.ttl), nil
	case isNullMX(a.records):
		return fail(NullMX, d.positive(a.ttl), nil)
	}
	hosts, err := exchangers(a.records)
	if err != nil { // there are MX records, so no implicit MX (RFC 5321 §5.1)
		return fail(NoHosts, d.positive(a.ttl), err)
	}
	return newSet(hosts, false), d.positive(a.ttl), nil
}

// isNullMX reports whether the records name the root and nothing else. RFC 7505
// §3 forbids a null MX beside others; there it is ignored.
func isNullMX(records []*dns.MX) bool {
	return !slices.ContainsFunc(records, func(rr *dns.MX) bool { return rr.Mx != "." })
}

// exchangers returns the hosts that the records name, sorted, each once. The
// error says why none is usable.
func exchangers(records []*dns.MX) ([]exchanger, error) {
	var reject error
	hosts := make([]exchanger, 0, len(records))
	for _, rr := range records {
		if rr.Mx == "." {
			continue
		}
		name, err := normalize(rr.Mx)
		if err != nil {
			reject = cmp.Or(reject, fmt.Errorf("%q is not a host name: %w", rr.Mx, err))
			continue
		}
		hosts = append(hosts, exchanger{name, rr.Preference})
	}
	if len(hosts) == 0 {
		return nil, reject
	}
	slices.SortFunc(hosts, func(a, b exchanger) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.preference, b.preference))
	})
	hosts = slices.CompactFunc(hosts, func(a, b exchanger) bool { return a.name == b.name })
	slices.SortStableFunc(hosts, func(a, b exchanger) int { return cmp.Compare(a.preference, b.preference) })
	return hosts, nil
}

func newSet(hosts []exchanger, implicit bool) *mxSet {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.name
	}
	return &mxSet{
		hosts:    slices.Clone(hosts[:min(len(hosts), maxHosts)]),
		site:     unique.Make(siteName(names)),
		implicit: implicit,
	}
}
