package mx

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxAliases is how many CNAMEs are followed for one name; longer chains are
// taken for loops.
const maxAliases = 10

var errAliases = errors.New("too many aliases (CNAME), or a loop of them")

// answer is what the DNS says of a name and a type of record.
type answer[T dns.RR] struct {
	name    string        // where the aliases lead, as RRs write it
	records []T           // at name
	exists  bool          // false: NXDOMAIN
	ttl     time.Duration // the least of records and aliases, or of the negative answer; not clamped
}

// question asks for the records of a name and follows its aliases.
func question[T dns.RR](ctx context.Context, c *client, name string, qtype uint16, quick bool) (answer[T], error) {
	a := answer[T]{name: dns.Fqdn(name), ttl: math.MaxInt32 * time.Second}
	for links := maxAliases; ; {
		m, err := c.ask(ctx, a.name, qtype, quick)
		if err != nil {
			return a, err
		}
		asked := a.name
		if links = a.follow(m, links); links < 0 {
			return a, errAliases
		}
		a.records = recordsAt[T](m, a.name)
		a.exists = len(a.records) > 0 || m.Rcode != dns.RcodeNameError // of the last name (RFC 2308 §2.1)
		switch soa := soaOf(m); {
		case len(a.records) > 0:
			for _, rr := range a.records {
				a.lower(rr.Header().Ttl)
			}
			return a, nil
		case soa != nil: // RFC 2308 §5
			a.lower(soa.Hdr.Ttl)
			a.lower(soa.Minttl)
			return a, nil
		case a.name == asked || !a.exists: // without SOA: not to be remembered (RFC 2308 §5)
			a.ttl = 0
			return a, nil
		}
		// The server has not followed the alias itself: ask on.
	}
}

// follow moves a.name along the aliases in m, links of them at most. It returns
// how many are left, negative if there are more.
func (a *answer[T]) follow(m *dns.Msg, links int) int {
	for len(recordsAt[T](m, a.name)) == 0 {
		aliases := recordsAt[*dns.CNAME](m, a.name)
		if len(aliases) == 0 {
			break
		}
		if links--; links < 0 {
			break
		}
		a.lower(aliases[0].Hdr.Ttl)
		a.name = aliases[0].Target
	}
	return links
}

// lower makes seconds the TTL of a if it is less. RFC 2181 §8: a TTL with the
// highest bit set is zero.
func (a *answer[T]) lower(seconds uint32) {
	if seconds > math.MaxInt32 {
		seconds = 0
	}
	a.ttl = min(a.ttl, time.Duration(seconds)*time.Second)
}

func recordsAt[T dns.RR](m *dns.Msg, name string) []T {
	var records []T
	for _, rr := range m.Answer {
		if r, ok := rr.(T); ok && r.Header().Class == dns.ClassINET && strings.EqualFold(r.Header().Name, name) {
			records = append(records, r)
		}
	}
	return records
}

func soaOf(m *dns.Msg) *dns.SOA {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa
		}
	}
	return nil
}
