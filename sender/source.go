package sender

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"

	"golang.org/x/net/proxy"
)

// Source is a way out: an address of this machine, a proxy, or a relay.
type Source struct {
	Name     string // names it in results and to the Policy; unique; "" = the first of Addrs, else "default"
	Hostname string // EHLO name that fits the address; "" = Config.Hostname
	Weight   int    // share of the mail where several sources may send it; 0 = whoever is free

	// Addrs are the local addresses to send from, at most one IPv4 and one IPv6.
	// Hosts without an address of such a family are passed over. nil = the
	// system's choice.
	Addrs []netip.Addr

	// Proxy is a server that connects for us: "socks5://host:port", with
	// "user:password@" before the host if it asks for them (RFC 1928, 1929), or
	// "haproxy://host:port" for one that takes the PROXY protocol, version 2, and
	// connects from Addrs, which must then be set, to the mail server named in it.
	Proxy string

	// Relay takes the mail of this source, in place of the recipients' servers,
	// with the meanings that the fields have in Route.
	Relay              string
	Username, Password string
	Mechanism          string
	TLS                TLSMode
}

// source is a Source checked, with its defaults filled in.
type source struct {
	Source
	way
	proxy *url.URL // nil = none
}

func known(sources []*source, name string) bool {
	return slices.ContainsFunc(sources, func(s *source) bool { return s.Name == name })
}

func checkSources(c *Config, bad func(string, ...any)) []*source {
	list := c.Sources
	if len(list) == 0 {
		list = []Source{{}}
	}
	var out []*source
	for i, s := range list {
		if s.Name == "" {
			s.Name = "default"
			if len(s.Addrs) > 0 {
				s.Name = s.Addrs[0].String()
			}
		}
		if known(out, s.Name) {
			bad("Sources[%d].Name %q is used twice: give each source a name of its own", i, s.Name)
		}
		if s.Weight < 0 {
			bad("Sources[%d].Weight is %d: it must be positive, or 0", i, s.Weight)
		}
		if s.Hostname == "" {
			s.Hostname = c.Hostname
		} else if err := checkHostname(s.Hostname); err != nil {
			bad("Sources[%d].Hostname %q: %w: set it to the DNS name of its address, or leave it empty for Config.Hostname", i, s.Hostname, err)
		}
		src := &source{Source: s}
		src.Hostname, _ = normalDomain(s.Hostname)
		for _, err := range []error{src.checkAddrs(), src.checkProxy(), src.set(s.Relay, login{s.Username, s.Password, s.Mechanism}, s.TLS)} {
			if err != nil {
				bad("Sources[%d].%w", i, err)
			}
		}
		out = append(out, src)
	}
	return out
}

func (s *source) checkAddrs() error {
	families := map[bool]bool{}
	for _, a := range s.Addrs {
		if !a.IsValid() || families[a.Unmap().Is4()] {
			return errors.New("Addrs: give at most one IPv4 and one IPv6 address")
		}
		families[a.Unmap().Is4()] = true
	}
	return nil
}

func (s *source) checkProxy() error {
	if s.Proxy == "" {
		return nil
	}
	u, err := url.Parse(s.Proxy)
	switch {
	case err != nil || u.Port() == "" || u.Hostname() == "" || u.Path != "":
		return errors.New(`Proxy: use "socks5://host:port" or "haproxy://host:port"`)
	case u.Scheme == "haproxy" && len(s.Addrs) == 0:
		return errors.New("Addrs is empty: with an haproxy Proxy it says where that connects from")
	case u.Scheme == "socks5" && len(s.Addrs) > 0:
		return errors.New("Addrs is set: a socks5 Proxy cannot be told what address to connect from")
	case u.Scheme != "socks5" && u.Scheme != "haproxy":
		return fmt.Errorf("Proxy: %q is no known kind: use socks5 or haproxy", u.Scheme)
	}
	s.proxy = u
	return nil
}

// local returns the source's address of the family of to, if it has one.
func (s *source) local(to netip.Addr) (netip.Addr, bool) {
	for _, a := range s.Addrs {
		if a.Unmap().Is4() == to.Unmap().Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// dialFunc opens connections.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (f dialFunc) Dial(network, address string) (net.Conn, error) {
	return f(context.Background(), network, address)
}

func (f dialFunc) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

// dial connects to addr, through the proxy if there is one. dial is Config.Dial,
// nil for the system's.
func (s *source) dial(ctx context.Context, dial dialFunc, addr string) (net.Conn, error) {
	if dial == nil {
		dial = s.direct
	}
	switch {
	case s.proxy == nil:
		return dial(ctx, "tcp", addr)
	case s.proxy.Scheme == "socks5":
		d, err := proxy.FromURL(s.proxy, dial)
		if err != nil {
			return nil, err
		}
		return d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	default:
		return s.viaHAProxy(ctx, dial, addr)
	}
}

// direct dials from the source's own address.
func (s *source) direct(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if to, err := netip.ParseAddrPort(addr); err == nil && s.proxy == nil {
		if a, ok := s.local(to.Addr()); ok {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
		}
	}
	return d.DialContext(ctx, network, addr)
}

// viaHAProxy connects to the proxy and tells it, in a PROXY protocol header,
// where from and where to (haproxy.org, proxy-protocol.txt, section 2.2).
func (s *source) viaHAProxy(ctx context.Context, dial dialFunc, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("haproxy needs an address, not %q: %w", addr, err)
	}
	from, ok := s.local(to.Addr())
	if !ok {
		return nil, fmt.Errorf("source %s has no address of the family of %s", s.Name, to.Addr())
	}
	conn, err := dial(ctx, "tcp", s.proxy.Host)
	if err != nil {
		return nil, fmt.Errorf("haproxy %s: %w", s.proxy.Host, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	w := bufio.NewWriter(conn)
	w.Write(proxyHeader(from.Unmap(), netip.AddrPortFrom(to.Addr().Unmap(), to.Port())))
	err = w.Flush()
	if !stop() || err != nil {
		conn.Close()
		return nil, errors.Join(fmt.Errorf("haproxy %s", s.proxy.Host), err, ctx.Err())
	}
	return conn, nil
}

// proxyHeader is a PROXY protocol version 2 header of a TCP connection from
// any port of from to to.
func proxyHeader(from netip.Addr, to netip.AddrPort) []byte {
	h := []byte("\r\n\r\n\x00\r\nQUIT\n\x21") // signature; version 2, command PROXY
	if from.Is4() {
		h = append(h, 0x11, 0, 12) // TCP over IPv4; length of what follows
	} else {
		h = append(h, 0x21, 0, 36)
	}
	h = append(h, from.AsSlice()...)
	h = append(h, to.Addr().AsSlice()...)
	return append(h, 0, 0, byte(to.Port()>>8), byte(to.Port()))
}
