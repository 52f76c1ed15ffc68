package sender

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/volleymail/volley/internal/smtp"
	gosmtp "github.com/wneessen/go-mail/smtp"
)

// Route changes where the mail of some recipient domains goes and how.
type Route struct {
	// Domain that it is for: "example.com", "*.example.com" (its subdomains) or
	// "*" (all). Required.
	Domain string

	// Relay is the server that takes the mail: "host" or "host:port", port 587
	// if none is named (465 with TLSImplicit). "" = the domain's own servers.
	Relay string

	// Username and Password log in to the relay (RFC 4954), by the best of
	// SCRAM-SHA-256, SCRAM-SHA-1, PLAIN and LOGIN that it offers; the last two
	// only under TLS. Mechanism asks for one of these, CRAM-MD5 or XOAUTH2
	// (Password is then the token).
	Username, Password string
	Mechanism          string

	// Sources are the names of the sources for these domains. nil = those of the
	// stream.
	Sources []string

	// TLS demanded. The default is opportunistic, but TLSVerify for a relay
	// with a password.
	TLS TLSMode
}

// TLSMode says how much TLS is asked of a server.
type TLSMode uint8

// The modes.
const (
	TLSDefault       TLSMode = iota // see Route.TLS
	TLSOpportunistic                // STARTTLS if offered, any certificate; in clear if that fails
	TLSNone                         // never: for servers whose TLS is broken
	TLSRequired                     // STARTTLS or no delivery, any certificate
	TLSVerify                       // STARTTLS or no delivery, certificate verified
	TLSImplicit                     // TLS from the first byte, certificate verified (RFC 8314)
)

// route is a Route checked, with its defaults filled in. Routes are compared
// by pointer: one is made for each Config.Routes entry.
type route struct {
	way
	domain  string   // "example.com", ".example.com" for subdomains, "" for all
	sources []string // nil = those of the stream
}

// way is where connections go and how.
type way struct {
	relay string // host name or address, "" = the domain's own servers
	addr  string // relay's host:port
	tls   smtp.TLSMode
	login *login // nil = no AUTH
}

type login struct{ username, password, mechanism string }

// direct is the route of domains that match none.
var direct = &route{}

// site names the queue of a domain whose servers are called mxSite. Domains
// share a queue only where they share the way and its demands.
func (r *route) site(mxSite string) string {
	switch {
	case r == direct:
		return mxSite
	case r.relay != "":
		return "relay:" + r.addr + r.suffix()
	default:
		return mxSite + r.suffix()
	}
}

func (r *route) suffix() string {
	if r.domain == "" {
		return ""
	}
	return " for *" + r.domain
}

func (r *route) match(domain string) bool {
	switch {
	case r.domain == "":
		return true
	case r.domain[0] == '.':
		return strings.HasSuffix(domain, r.domain)
	default:
		return domain == r.domain
	}
}

// routeOf returns the first route that matches the domain.
func (c *config) routeOf(domain string) *route {
	if i := slices.IndexFunc(c.routes, func(r *route) bool { return r.match(domain) }); i >= 0 {
		return c.routes[i]
	}
	return direct
}

func checkRoutes(routes []Route, sources []*source, bad func(string, ...any)) []*route {
	out := make([]*route, 0, len(routes))
	for i := range routes {
		r, err := routes[i].check()
		if err != nil {
			bad("Routes[%d].%w", i, err)
		}
		for _, name := range r.sources {
			if !known(sources, name) {
				bad("Routes[%d].Sources: %q is not in Config.Sources: add it there", i, name)
			}
		}
		out = append(out, r)
	}
	return out
}

var smtpModes = map[TLSMode]smtp.TLSMode{TLSOpportunistic: smtp.TLSOpportunistic, TLSNone: smtp.TLSNone,
	TLSRequired: smtp.TLSRequired, TLSVerify: smtp.TLSVerify, TLSImplicit: smtp.TLSImplicit}

var mechanisms = []string{"", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"}

func (r Route) check() (*route, error) {
	out := &route{sources: r.Sources}
	pattern := strings.ToLower(r.Domain)
	if pattern != "*" {
		name, err := normalDomain(strings.TrimPrefix(pattern, "*."))
		if err != nil {
			return out, fmt.Errorf(`Domain %q: %w: use "example.com", "*.example.com" or "*"`, r.Domain, err)
		}
		out.domain = name
		if strings.HasPrefix(pattern, "*.") {
			out.domain = "." + name
		}
	}
	return out, out.way.set(r.Relay, login{r.Username, r.Password, r.Mechanism}, r.TLS)
}

// set checks and fills in what Route and Source have in common.
func (w *way) set(relay string, l login, mode TLSMode) error {
	if mode == TLSDefault {
		mode = TLSOpportunistic
		if l.username != "" {
			mode = TLSVerify
		}
	}
	var ok bool
	if w.tls, ok = smtpModes[mode]; !ok {
		return fmt.Errorf("TLS %d is no TLSMode", mode)
	}
	if err := w.setRelay(relay); err != nil {
		return err
	}
	return w.setLogin(l)
}

func (w *way) setRelay(relay string) error {
	if relay == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(relay)
	if err != nil { // no port
		host, port = strings.Trim(relay, "[]"), "587"
		if w.tls == smtp.TLSImplicit {
			port = "465"
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf(`Relay %q: %q is no port: use "host" or "host:port"`, relay, port)
	}
	if net.ParseIP(host) == nil {
		if _, err := normalDomain(host + ".x"); err != nil { // one label, such as localhost, will do
			return fmt.Errorf(`Relay %q: %w: use "host" or "host:port"`, relay, err)
		}
	}
	w.relay, w.addr = host, net.JoinHostPort(host, port)
	return nil
}

func (w *way) setLogin(l login) error {
	switch {
	case l == login{}:
		return nil
	case w.relay == "":
		return errors.New("Username is set without Relay: only a relay is logged in to")
	case l.username == "":
		return errors.New("Username is empty: set it, or leave Password and Mechanism empty too")
	case !slices.Contains(mechanisms, l.mechanism):
		return fmt.Errorf("Mechanism %q is not known: use one of%s", l.mechanism, strings.Join(mechanisms, " "))
	}
	w.login = &l
	return nil
}

// auth picks a mechanism out of those that the server offers.
func (w *way) auth(offered string) (gosmtp.Auth, error) {
	offers := strings.Fields(strings.ToUpper(offered))
	try := []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"}
	if w.login.mechanism != "" {
		try = []string{w.login.mechanism}
	}
	for _, m := range try {
		if slices.Contains(offers, m) {
			return w.mechanism(m), nil
		}
	}
	return nil, fmt.Errorf("%s offers AUTH %s, none of %s: set Mechanism", w.relay, offered, strings.Join(try, " "))
}

func (w *way) mechanism(name string) gosmtp.Auth {
	user, pass := w.login.username, w.login.password
	switch name {
	case "SCRAM-SHA-256":
		return gosmtp.ScramSHA256Auth(user, pass)
	case "SCRAM-SHA-1":
		return gosmtp.ScramSHA1Auth(user, pass)
	case "LOGIN":
		return gosmtp.LoginAuth(user, pass, w.relay, false)
	case "CRAM-MD5":
		return gosmtp.CRAMMD5Auth(user, pass)
	case "XOAUTH2":
		return gosmtp.XOAuth2Auth(user, pass)
	default:
		return gosmtp.PlainAuth("", user, pass, w.relay, false)
	}
}
