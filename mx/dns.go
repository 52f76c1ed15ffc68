package mx

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// DNS is the Resolver that asks the DNS. Nothing of it runs between calls, so
// there is nothing to close.
type DNS struct {
	cfg    *Config
	self   self
	client client

	// Three layers, each with a life of its own: the routes are made of the
	// other two, and the hosts are shared by all domains that name them.
	routes *cache[*routes]  // by domain
	sets   *cache[*mxSet]   // by domain
	hosts  *cache[*addrSet] // by host name
}

var _ Resolver = (*DNS)(nil)

// New returns a resolver. All mistakes in cfg are reported together.
func New(cfg Config) (*DNS, error) {
	full, err := cfg.withDefaults(resolvConf)
	self, selfErr := newSelf(cfg.Self)
	if err := errors.Join(err, selfErr); err != nil {
		return nil, err
	}
	d := &DNS{
		cfg:  full,
		self: self,
		client: client{
			servers:  full.Servers,
			timeout:  full.Timeout,
			attempts: full.Attempts,
			exchange: full.Exchange,
		},
	}
	d.routes = newCache(full, 0, d.fillRoute)
	d.sets = newCache(full, full.StaleFor, d.fillSet)
	d.hosts = newCache(full, full.StaleFor, d.fillHost)
	return d, nil
}

// Lookup implements Resolver. A domain that was looked up before is answered
// without allocation and without waiting, until its Route expires. Callers that
// ask for the same at the same time share one query; when the ctx of one of
// them ends, the others go on.
func (d *DNS) Lookup(ctx context.Context, domain string) (*Route, error) {
	if strings.HasPrefix(domain, "[") {
		return d.literalRoute(domain)
	}
	name, err := normalize(domain)
	if err != nil {
		return nil, badDomain(domain, err)
	}
	e := d.routes.fresh(name, time.Now())
	if e == nil {
		e = d.routes.get(ctx, strings.Clone(name)) // name may be a piece of something large
	}
	if e.err != nil {
		return nil, e.err
	}
	return e.val.pick(), nil
}

func badDomain(domain string, cause error) *Error {
	return &Error{Domain: strings.Clone(domain[:min(len(domain), 255)]), Failure: BadDomain, Err: cause}
}

// literalRoute returns the route to an address literal; it needs no DNS.
func (d *DNS) literalRoute(domain string) (*Route, error) {
	addr, err := parseLiteral(domain)
	if err != nil {
		return nil, badDomain(domain, err)
	}
	domain = literal(addr)
	if err := d.refuse(addr); err != nil {
		return nil, &Error{Domain: domain, Failure: NoHosts, Err: err}
	}
	if d.self.addrs[addr] {
		return nil, &Error{Domain: domain, Failure: Loop}
	}
	return &Route{
		Domain:  domain,
		Site:    domain,
		Hosts:   []Host{{Name: addr.String(), Addrs: []netip.Addr{addr}}},
		Expires: time.Now().Add(d.cfg.MaxTTL),
	}, nil
}

// positive returns when an answer with this TTL expires.
func (d *DNS) positive(ttl time.Duration) time.Time {
	return time.Now().Add(min(max(ttl, d.cfg.MinTTL), d.cfg.MaxTTL))
}

// negative returns when a negative answer with this TTL expires.
func (d *DNS) negative(ttl time.Duration) time.Time {
	return time.Now().Add(min(max(ttl, d.cfg.MinTTL), d.cfg.MaxNegativeTTL))
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
