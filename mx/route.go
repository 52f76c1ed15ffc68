package mx

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// hostQueries is how many hosts one Lookup asks for at a time.
	hostQueries = 8
	// minOrders is how many orders of a Route there are at least if some
	// hosts are equal.
	minOrders = 8
)

var errLoop = errors.New("mail would come back (RFC 5321 §5.1); see Config.Self")

// fillRoute is the fillFunc of the routes. It serves nothing stale itself: the
// layers below do.
func (d *DNS) fillRoute(ctx context.Context, domain string, _ bool) (*routes, time.Time, *Error) {
	e := d.sets.get(ctx, domain)
	if e.err != nil {
		return nil, e.expires, e.err
	}
	set := e.val
	wanted := before(set.hosts, func(i int) bool { return d.self.hasName(set.hosts[i].name) })
	if len(wanted) == 0 {
		return nil, e.expires, &Error{Domain: domain, Failure: Loop, Err: errLoop}
	}
	found := d.findHosts(ctx, wanted)
	kept := before(wanted, func(i int) bool { return found[i].err == nil && d.self.hasAny(found[i].val.addrs) })
	hosts, err := usable(kept, found)
	expires := expiry(e.expires, found, len(hosts) > 0)
	switch {
	case len(hosts) > 0:
		return newRoutes(Route{
			Domain:   domain,
			Site:     set.site.Value(),
			Hosts:    hosts,
			Implicit: set.implicit,
			Expires:  expires,
		}), expires, nil
	case set.implicit && err != nil: // speaks of the domain itself
		return nil, expires, &Error{Domain: domain, Failure: err.Failure, Err: err.Err}
	case err.failed():
		return nil, expires, &Error{Domain: domain, Failure: Temporary, Err: err}
	case len(kept) < len(set.hosts):
		return nil, expires, &Error{Domain: domain, Failure: Loop, Err: errLoop}
	}
	return nil, expires, &Error{Domain: domain, Failure: NoHosts, Err: err}
}

// expiry returns when a route of these parts expires. A route that has hosts
// does not expire with each failure of another: trying again may take long.
func expiry(expires time.Time, found []*entry[*addrSet], usable bool) time.Time {
	now := time.Now()
	for _, e := range found {
		if e.err.failed() && usable {
			expires = earliest(expires, now.Add(maxFailureTTL))
		} else {
			expires = earliest(expires, e.expires)
		}
	}
	if least := now.Add(time.Second); expires.Before(least) {
		return least // a part has just expired
	}
	return expires
}

// before returns the hosts that are better than the best of those for which
// self is true: RFC 5321 §5.1 against loops.
func before(hosts []exchanger, self func(i int) bool) []exchanger {
	for i := range hosts {
		if self(i) {
			worse := func(h exchanger) bool { return h.preference >= hosts[i].preference }
			return hosts[:slices.IndexFunc(hosts, worse)]
		}
	}
	return hosts
}

// findHosts returns the addresses of the hosts, some at a time.
func (d *DNS) findHosts(ctx context.Context, hosts []exchanger) []*entry[*addrSet] {
	found := make([]*entry[*addrSet], len(hosts))
	var g errgroup.Group
	g.SetLimit(hostQueries)
	for i, h := range hosts {
		if e := d.hosts.fresh(h.name, time.Now()); e != nil {
			found[i] = e
			continue
		}
		g.Go(func() error {
			found[i] = d.hosts.get(ctx, h.name)
			return nil
		})
	}
	_ = g.Wait()
	return found
}

// usable returns the hosts that have addresses, and else why there are none: a
// failure if one of them may yet have some, or what is wrong with the best.
func usable(hosts []exchanger, found []*entry[*addrSet]) ([]Host, *Error) {
	var list []Host
	var why *Error
	for i, h := range hosts {
		e := found[i]
		if e.err != nil {
			if why == nil || e.err.failed() && !why.failed() {
				why = e.err
			}
			continue
		}
		list = append(list, Host{Name: e.val.name, Preference: h.preference, Addrs: e.val.addrs})
	}
	return list, why
}

// routes is a Route in several orders of its equal hosts. RFC 5321 §5.1 wants
// the sender to spread load over hosts of equal preference, and a Route is
// shared, so each Lookup picks one of a few ready orders, made when they are
// first picked: a domain with one recipient holds one, a busy domain some, and
// a pick allocates nothing. The number of orders is a multiple of the number of
// best hosts, each of which comes first equally often; the rest is random, so
// that the load of a dead host falls on all the others.
type routes struct {
	route  Route                   // hosts sorted by preference
	best   int                     // number of hosts with the best preference
	orders []atomic.Pointer[Route] // empty if no two hosts are equal
}

func newRoutes(route Route) *routes {
	r := &routes{route: route}
	equal := 0
	for group := range groups(route.Hosts) {
		if r.best == 0 {
			r.best = len(group)
		}
		equal = max(equal, len(group))
	}
	if equal > 1 {
		r.orders = make([]atomic.Pointer[Route], (minOrders+r.best-1)/r.best*r.best)
	}
	return r
}

// groups yields the runs of equal hosts.
func groups(hosts []Host) iter.Seq[[]Host] {
	return func(yield func([]Host) bool) {
		for len(hosts) > 0 {
			n := slices.IndexFunc(hosts, func(h Host) bool { return h.Preference != hosts[0].Preference })
			if n < 0 {
				n = len(hosts)
			}
			if !yield(hosts[:n:n]) {
				return
			}
			hosts = hosts[n:]
		}
	}
}

// pick returns the Route in one of its orders.
func (r *routes) pick() *Route {
	if len(r.orders) == 0 {
		return &r.route
	}
	i := rand.IntN(len(r.orders))
	if route := r.orders[i].Load(); route != nil {
		return route
	}
	route := r.order(i % r.best)
	if !r.orders[i].CompareAndSwap(nil, route) {
		return r.orders[i].Load()
	}
	return route
}

// order returns a copy of the Route whose equal hosts are shuffled, with the
// given one of the best hosts first.
func (r *routes) order(first int) *Route {
	route := r.route
	route.Hosts = slices.Clone(r.route.Hosts)
	hosts := route.Hosts
	hosts[0], hosts[first] = hosts[first], hosts[0]
	shuffle(hosts[1:r.best])
	for group := range groups(hosts[r.best:]) {
		shuffle(group)
	}
	return &route
}

func shuffle(hosts []Host) {
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
}
