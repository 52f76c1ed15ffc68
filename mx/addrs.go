package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxAddrs is how many addresses of a host are looked at in one family.
const maxAddrs = 8

// addrSet is the addresses of one host, in the order in which to try them;
// never empty.
type addrSet struct {
	name  string
	addrs []netip.Addr
}

// queryTypes are the questions for the addresses of a host, the preferred first.
func (f Family) queryTypes() []uint16 {
	switch f {
	case IPv4Only:
		return []uint16{dns.TypeA}
	case IPv6Only:
		return []uint16{dns.TypeAAAA}
	case IPv6First:
		return []uint16{dns.TypeAAAA, dns.TypeA}
	}
	return []uint16{dns.TypeA, dns.TypeAAAA}
}

// has reports whether addr is of the family.
func (f Family) has(addr netip.Addr) bool {
	return f != IPv4Only && f != IPv6Only || addr.Is4() == (f == IPv4Only)
}

// fillHost is the fillFunc of the addresses of a host.
func (d *DNS) fillHost(ctx context.Context, name string, quick bool) (*addrSet, time.Time, *Error) {
	types := d.cfg.Family.queryTypes()
	found := make([]addrAnswer, len(types))
	var wg sync.WaitGroup
	for i, qtype := range types[1:] {
		wg.Go(func() { found[i+1] = d.addrs(ctx, name, qtype, quick) })
	}
	found[0] = d.addrs(ctx, name, types[0], quick)
	wg.Wait()
	return d.combine(name, found)
}

// addrAnswer is what the DNS says of the addresses of a host in one family.
type addrAnswer struct {
	addrs  []netip.Addr
	exists bool // false: NXDOMAIN
	ttl    time.Duration
	err    error
}

func (d *DNS) addrs(ctx context.Context, name string, qtype uint16, quick bool) addrAnswer {
	if qtype == dns.TypeA {
		a, err := question[*dns.A](ctx, &d.client, name, qtype, quick)
		return newAddrAnswer(a, err, func(rr *dns.A) []byte { return rr.A.To4() })
	}
	a, err := question[*dns.AAAA](ctx, &d.client, name, qtype, quick)
	return newAddrAnswer(a, err, func(rr *dns.AAAA) []byte { return rr.AAAA.To16() })
}

func newAddrAnswer[T dns.RR](a answer[T], err error, octets func(T) []byte) addrAnswer {
	r := addrAnswer{exists: a.exists, ttl: a.ttl, err: err}
	for _, rr := range a.records {
		addr, ok := netip.AddrFromSlice(octets(rr))
		if ok && !slices.Contains(r.addrs, addr) && len(r.addrs) < maxAddrs {
			r.addrs = append(r.addrs, addr)
		}
	}
	return r
}

// combine makes the answer for a host from those for its families. One family
// is enough, but it is not relied upon for long if the other failed.
func (d *DNS) combine(name string, found []addrAnswer) (*addrSet, time.Time, *Error) {
	var (
		set     = &addrSet{name: name}
		refused error
		failure error
		exists  bool
		ttl     = d.cfg.MaxTTL // of the addresses
		negTTL  = d.cfg.MaxNegativeTTL
	)
	for _, r := range found {
		failure = cmp.Or(failure, r.err)
		exists = exists || r.exists
		if len(r.addrs) == 0 {
			negTTL = min(negTTL, r.ttl)
			continue
		}
		ttl = min(ttl, r.ttl)
		for _, addr := range r.addrs {
			if err := d.refuse(addr); err != nil {
				refused = cmp.Or(refused, err)
				continue
			}
			set.addrs = append(set.addrs, addr)
		}
	}
	switch {
	case len(set.addrs) > 0 && failure != nil:
		return set, earliest(d.positive(ttl), time.Now().Add(maxFailureTTL)), nil
	case len(set.addrs) > 0:
		return set, d.positive(ttl), nil
	case failure != nil:
		return nil, time.Time{}, &Error{Domain: name, Err: failure}
	case refused != nil:
		return nil, d.positive(ttl), &Error{Domain: name, Failure: NoHosts, Err: refused}
	case exists:
		return nil, d.negative(negTTL), &Error{Domain: name, Failure: NoHosts, Err: d.noAddress()}
	}
	return nil, d.negative(negTTL), &Error{Domain: name, Failure: NoDomain}
}

func (d *DNS) noAddress() error {
	switch d.cfg.Family {
	case IPv4Only:
		return errors.New("no IPv4 address (A), and Config.Family is IPv4Only")
	case IPv6Only:
		return errors.New("no IPv6 address (AAAA), and Config.Family is IPv6Only")
	}
	return errors.New("no address (A or AAAA)")
}

// refuse says why no mail may go to addr.
func (d *DNS) refuse(addr netip.Addr) error {
	switch {
	case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || addr.Is4In6() ||
		addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%v cannot be the address of a mail server", addr)
	case !d.cfg.Family.has(addr):
		return fmt.Errorf("%v is not of the family in Config.Family", addr)
	case !d.cfg.Allow(addr):
		return fmt.Errorf("%v is refused by Config.Allow", addr)
	}
	return nil
}
