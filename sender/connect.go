package sender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/internal/smtp"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/throttle"
	gosmtp "github.com/wneessen/go-mail/smtp"
)

// target is one address of one mail server.
type target struct {
	host string // name, for TLS, AUTH and replies
	addr string // host:port to dial
}

const (
	maxTargets      = 10 // addresses tried for one connection
	maxAddrsPerHost = 3  // RFC 5321 §5.1 wants at least two
)

// connect opens a session to the first server that greets us: hosts in the
// order of the route, those that could not be reached lately last.
func (c *session) connect(route *mx.Route) (*smtp.Session, error) {
	targets, err := c.targets(route)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, t := range targets {
		c.host = t.host
		s, err := c.open1(t)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
		if c.seeking().Err() != nil {
			break
		}
		c.dest.site.s.hosts.unreachable(t.host, time.Now())
	}
	return nil, worst(errs)
}

// worst picks the error that says most: a server's own words before silence,
// but a refusal for good only if no host may take the mail later (RFC 7504 §4).
func worst(errs []error) error {
	var forGood, silent error
	for _, err := range errs {
		switch e := sessionError(err); {
		case e == nil || e.Reply.Code == 0:
			silent = err
		case e.Reply.Code < 500:
			return err
		case forGood == nil:
			forGood = err
		}
	}
	return cmp.Or(silent, forGood)
}

func (c *session) targets(route *mx.Route) ([]target, error) {
	if way := c.dest.way(); way.relay != "" {
		return []target{{host: way.relay, addr: way.addr}}, nil
	}
	route, err := c.fresh(route)
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(int(c.dest.site.s.cfg.Port))
	var out, bad []target
	for _, h := range route.Hosts {
		_, unreachable := c.dest.site.s.hosts.recall(h.Name, time.Now())
		for n, a := range c.fitting(h.Addrs) {
			if n == maxAddrsPerHost {
				break
			}
			t := target{host: h.Name, addr: net.JoinHostPort(a.String(), port)}
			if unreachable {
				bad = append(bad, t)
			} else {
				out = append(out, t)
			}
		}
	}
	if out = append(out, bad...); len(out) == 0 {
		return nil, &smtp.Error{Stage: bounce.StageConnect, Err: fmt.Errorf("no server of %s has an address of a family that source %s has", route.Domain, c.dest.source.Name)}
	}
	return out[:min(len(out), maxTargets)], nil
}

// fitting returns the addresses that the source can reach.
func (c *session) fitting(addrs []netip.Addr) []netip.Addr {
	src := c.dest.source
	if len(src.Addrs) == 0 {
		return addrs
	}
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		_, ok := src.local(a)
		return !ok
	})
}

// fresh looks the route up again if it is out of date. If that fails the old
// one serves on.
func (c *session) fresh(route *mx.Route) (*mx.Route, error) {
	if time.Now().Before(route.Expires) {
		return route, nil
	}
	ctx, cancel := context.WithTimeout(c.seeking(), lookupTime)
	defer cancel()
	if r, err := c.dest.site.s.cfg.Resolver.Lookup(ctx, route.Domain); err == nil && r.Site == route.Site { // moved away, it says nothing of the site's other domains
		return r, nil
	}
	return route, c.seeking().Err()
}

// open1 opens a session to one address. Where TLS is opportunistic and fails,
// it is left out on a new connection, and that is remembered.
func (c *session) open1(t target) (*smtp.Session, error) {
	hosts := c.dest.site.s.hosts
	memory, _ := hosts.recall(t.host, time.Now())
	s, err := c.greet(t, memory)
	if e := sessionError(err); e != nil && e.Stage == bounce.StageTLS && c.seeking().Err() == nil &&
		c.dest.tls() == smtp.TLSOpportunistic && !memory.NoTLS {
		memory.NoTLS = true
		s, err = c.greet(t, memory)
		if err == nil {
			c.dest.site.s.cfg.log.Warn("TLS is broken, mail goes in clear", "site", c.dest.site.name, "host", t.host, "error", e)
			hosts.learn(t.host, memory, time.Now())
		}
	}
	return s, err
}

func (c *session) greet(t target, memory smtp.Memory) (*smtp.Session, error) {
	cfg := c.dest.site.s.cfg
	conn, err := c.dial(t.addr)
	if err != nil {
		return nil, &smtp.Error{Stage: bounce.StageConnect, Err: err,
			Reply: bounce.Reply{Stage: bounce.StageConnect, Status: bounce.Status{4, 4, 1}, Text: err.Error(), Host: t.host}}
	}
	o := &smtp.Options{Hello: c.dest.source.Hostname, Host: t.host, TLS: c.dest.tls(), TLSConfig: cfg.TLS,
		Timeouts: cfg.Timeouts.smtp(), Memory: memory}
	if way := c.dest.way(); way.login != nil {
		o.Auth = func(offered string) (gosmtp.Auth, error) { return way.auth(offered) }
	}
	return smtp.Open(c.seeking(), conn, o)
}

func (c *session) dial(addr string) (net.Conn, error) {
	cfg := c.dest.site.s.cfg
	ctx, cancel := context.WithTimeout(c.seeking(), cfg.Timeouts.Connect)
	defer cancel()
	return c.dest.source.dial(ctx, cfg.Dial, addr)
}

// way is where the destination's connections go: to the relay of the route, else
// to that of the source, else to the domain's own servers.
func (d *dest) way() *way {
	if d.site.way.relay == "" && d.source.relay != "" {
		return &d.source.way
	}
	return &d.site.way.way
}

// tls is what is demanded of TLS: by the route, else by the Policy.
func (d *dest) tls() smtp.TLSMode {
	mode := d.way().tls
	if p, ok := d.site.s.cfg.Policy.(throttle.TLSDemander); ok && mode == smtp.TLSOpportunistic && p.RequireTLS(d.key) {
		return smtp.TLSRequired
	}
	return mode
}

// sessionError returns the session's part of an error, nil if there is none.
func sessionError(err error) *smtp.Error {
	e, _ := errors.AsType[*smtp.Error](err)
	return e
}

// seeking is the context of everything up to the session's first transaction.
func (c *session) seeking() context.Context { return c.dest.site.s.seeking }
