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

// route is a Route checked, with its defaults filled in. Routes are compared
// by pointer: one is made for each Config.Routes entry.
type route struct {
	domain string // "example.com", ".example.com" for subdomains, "" for all
	relay  string // host name or address, "" = the domain's own servers
	addr   string // relay's host:port
	tls    smtp.TLSMode
	login  *Route // has Username, Password and Mechanism; nil = no AUTH
}

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

func checkRoutes(routes []Route, bad func(string, ...any)) []*route {
	out := make([]*route, 0, len(routes))
	for i := range routes {
		r, err := routes[i].check()
		if err != nil {
			bad("Routes[%d].%w", i, err)
		}
		out = append(out, r)
	}
	return out
}

var smtpModes = map[TLSMode]smtp.TLSMode{TLSOpportunistic: smtp.TLSOpportunistic, TLSNone: smtp.TLSNone,
	TLSRequired: smtp.TLSRequired, TLSVerify: smtp.TLSVerify, TLSImplicit: smtp.TLSImplicit}

var mechanisms = []string{"", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"}

func (r Route) check() (*route, error) {
	out := &route{}
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
	mode := r.TLS
	if mode == TLSDefault {
		mode = TLSOpportunistic
		if r.Username != "" {
			mode = TLSVerify
		}
	}
	var ok bool
	if out.tls, ok = smtpModes[mode]; !ok {
		return out, fmt.Errorf("TLS %d is no TLSMode", r.TLS)
	}
	if err := out.setRelay(r.Relay); err != nil {
		return out, err
	}
	return out, out.setLogin(r)
}

func (r *route) setRelay(relay string) error {
	if relay == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(relay)
	if err != nil { // no port
		host, port = strings.Trim(relay, "[]"), "587"
		if r.tls == smtp.TLSImplicit {
			port = "465"
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf(`Relay %q: %q is no port: use "host" or "host:port"`, relay, port)
	}
	if net.ParseIP(host) == nil {
		if _, err := normalDomain(host); err != nil {
			return fmt.Errorf(`Relay %q: %w: use "host" or "host:port"`, relay, err)
		}
	}
	r.relay, r.addr = host, net.JoinHostPort(host, port)
	return nil
}

func (r *route) setLogin(from Route) error {
	switch {
	case from.Username == "" && from.Password == "" && from.Mechanism == "":
		return nil
	case r.relay == "":
		return errors.New("Username is set without Relay: only a relay is logged in to")
	case from.Username == "":
		return errors.New("Username is empty: set it, or leave Password and Mechanism empty too")
	case !slices.Contains(mechanisms, from.Mechanism):
		return fmt.Errorf("Mechanism %q is not known: use one of%s", from.Mechanism, strings.Join(mechanisms, " "))
	}
	r.login = &from
	return nil
}

// auth picks a mechanism out of those that the server offers.
func (r *route) auth(offered string) (gosmtp.Auth, error) {
	offers := strings.Fields(strings.ToUpper(offered))
	try := []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"}
	if r.login.Mechanism != "" {
		try = []string{r.login.Mechanism}
	}
	for _, m := range try {
		if slices.Contains(offers, m) {
			return r.mechanism(m), nil
		}
	}
	return nil, fmt.Errorf("%s offers AUTH %s, none of %s: set Route.Mechanism", r.relay, offered, strings.Join(try, " "))
}

func (r *route) mechanism(name string) gosmtp.Auth {
	user, pass := r.login.Username, r.login.Password
	switch name {
	case "SCRAM-SHA-256":
		return gosmtp.ScramSHA256Auth(user, pass)
	case "SCRAM-SHA-1":
		return gosmtp.ScramSHA1Auth(user, pass)
	case "LOGIN":
		return gosmtp.LoginAuth(user, pass, r.relay, false)
	case "CRAM-MD5":
		return gosmtp.CRAMMD5Auth(user, pass)
	case "XOAUTH2":
		return gosmtp.XOAuth2Auth(user, pass)
	default:
		return gosmtp.PlainAuth("", user, pass, r.relay, false)
	}
}
