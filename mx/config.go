package mx

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Config says how New's resolver asks the DNS and what it remembers.
// The zero Config is good for most programs on Unix.
type Config struct {
	// Servers are the recursive DNS servers as "host:port" or address (port
	// 53). They are asked in this order, beginning with one that does not
	// time out. Empty means those of /etc/resolv.conf, read once by New.
	Servers []string

	// Timeout is how long one server has for one query.
	// Zero means that of resolv.conf if Servers is empty, else 5 s.
	Timeout time.Duration

	// Attempts is how often the list of servers is gone through before a
	// question fails, at most 10. Zero means that of resolv.conf if Servers is
	// empty, else 2.
	Attempts int

	// MinTTL and MaxTTL bound how long an answer is remembered, whatever
	// its TTL. A low MinTTL asks some providers' records every few seconds.
	// Zero means 1 minute and 1 day (RFC 8767 §4 advises at most a week).
	MinTTL, MaxTTL time.Duration

	// MaxNegativeTTL bounds how long it is remembered that something does not
	// exist (RFC 2308 §5); it prevails over MinTTL. Zero means 1 hour.
	MaxNegativeTTL time.Duration

	// FailureTTL is how long a failure (timeout, SERVFAIL) is remembered, and
	// how long a stale answer is served before the DNS is asked again.
	// At most 5 minutes (RFC 9520 §3.2). Zero means 30 s (RFC 8767 §5).
	FailureTTL time.Duration

	// StaleFor is how long after its expiry a good answer is still used while
	// the DNS fails (RFC 8767). Zero means 1 day, negative never.
	StaleFor time.Duration

	// CacheSize is how many domains and how many mail servers are remembered.
	// A domain takes about 1 kB. Zero means 100,000.
	CacheSize int

	// Self lists the host names and addresses under which this system itself
	// takes mail. Where one of them is among the hosts of a domain, it and
	// those of equal or worse preference are dropped (RFC 5321 §5.1).
	// "localhost" always counts as one (RFC 6761 §6.3).
	Self []string

	// Family is the choice between IPv4 and IPv6. Zero means IPv4First.
	Family Family

	// Allow says whether mail may go to an address; others are dropped.
	// It is a place to refuse loopback and private addresses, which anybody
	// can publish for a domain. It must be safe for concurrent use.
	// Nil means all addresses. Unspecified, multicast and link-local
	// addresses are always dropped.
	Allow func(netip.Addr) bool

	// Exchange sends a query. Nil means over the net. Tests set it to answer
	// from memory.
	Exchange Exchange
}

// Family is the choice between IPv4 and IPv6 addresses of a host.
type Family uint8

// The families. IPv4First is the default because large receivers ask more of
// a sender over IPv6, where reputation is thin.
const (
	IPv4First Family = iota
	IPv6First
	IPv4Only
	IPv6Only
)

const (
	resolvConf    = "/etc/resolv.conf"
	maxAttempts   = 10
	maxFailureTTL = 5 * time.Minute // RFC 9520 §3.2
)

// withDefaults returns cfg with its zero fields filled in, or all its mistakes.
func (cfg Config) withDefaults(resolvConf string) (*Config, error) {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("mx: Config."+format, args...))
		}
	}
	check(cfg.Timeout >= 0, "Timeout is negative: %v", cfg.Timeout)
	check(cfg.Attempts >= 0 && cfg.Attempts <= maxAttempts, "Attempts is not within 0 and %d: %d", maxAttempts, cfg.Attempts)
	check(cfg.MinTTL >= 0, "MinTTL is negative: %v", cfg.MinTTL)
	check(cfg.MaxTTL >= 0, "MaxTTL is negative: %v", cfg.MaxTTL)
	check(cfg.MaxNegativeTTL >= 0, "MaxNegativeTTL is negative: %v", cfg.MaxNegativeTTL)
	check(cfg.FailureTTL >= 0, "FailureTTL is negative: %v", cfg.FailureTTL)
	check(cfg.FailureTTL <= maxFailureTTL, "FailureTTL is over 5 minutes (RFC 9520): %v", cfg.FailureTTL)
	check(cfg.CacheSize >= 0, "CacheSize is negative: %d", cfg.CacheSize)
	check(cfg.Family <= IPv6Only, "Family is unknown: %d", cfg.Family)

	if err := cfg.setServers(resolvConf); err != nil {
		errs = append(errs, err)
	}
	setDefault(&cfg.Timeout, 5*time.Second)
	setDefault(&cfg.Attempts, 2)
	setDefault(&cfg.MinTTL, time.Minute)
	setDefault(&cfg.MaxTTL, 24*time.Hour)
	setDefault(&cfg.MaxNegativeTTL, time.Hour)
	setDefault(&cfg.FailureTTL, 30*time.Second)
	setDefault(&cfg.StaleFor, 24*time.Hour)
	setDefault(&cfg.CacheSize, 100_000)
	check(cfg.MinTTL <= cfg.MaxTTL, "MinTTL %v is over MaxTTL %v", cfg.MinTTL, cfg.MaxTTL)
	if cfg.Allow == nil {
		cfg.Allow = func(netip.Addr) bool { return true }
	}
	if cfg.Exchange == nil {
		cfg.Exchange = exchange
	}
	return &cfg, errors.Join(errs...)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// setServers completes the ports of Servers, or reads resolv.conf.
func (cfg *Config) setServers(resolvConf string) error {
	if len(cfg.Servers) == 0 {
		return cfg.readResolvConf(resolvConf)
	}
	servers := make([]string, len(cfg.Servers)) // the caller keeps his
	var errs []error
	for i, s := range cfg.Servers {
		if addr, err := netip.ParseAddr(s); err == nil {
			servers[i] = net.JoinHostPort(addr.String(), "53")
			continue
		}
		servers[i] = s
		host, port, err := net.SplitHostPort(s)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
			errs = append(errs, fmt.Errorf("mx: Config.Servers: %q is not host:port", s))
		}
	}
	cfg.Servers = servers
	return errors.Join(errs...)
}

func (cfg *Config) readResolvConf(path string) error {
	rc, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return fmt.Errorf("mx: no DNS server known, set Config.Servers: %w", err)
	}
	for _, s := range rc.Servers {
		if addr, err := netip.ParseAddr(s); err == nil {
			cfg.Servers = append(cfg.Servers, net.JoinHostPort(addr.String(), rc.Port))
		}
	}
	if len(cfg.Servers) == 0 {
		return fmt.Errorf("mx: no DNS server known, set Config.Servers: %s names none", path)
	}
	// resolv.conf(5) caps both values.
	setDefault(&cfg.Timeout, time.Duration(min(rc.Timeout, 30))*time.Second)
	setDefault(&cfg.Attempts, min(rc.Attempts, 5))
	return nil
}

// self is the set of our own names and addresses.
type self struct {
	names map[string]bool
	addrs map[netip.Addr]bool
}

func newSelf(list []string) (self, error) {
	s := self{names: map[string]bool{}, addrs: map[netip.Addr]bool{}}
	var errs []error
	for _, item := range list {
		if addr, err := netip.ParseAddr(item); err == nil {
			s.addrs[addr.Unmap().WithZone("")] = true
			continue
		}
		name, err := normalize(item)
		if err != nil {
			errs = append(errs, fmt.Errorf("mx: Config.Self: %q is neither an address nor a host name: %w", item, err))
			continue
		}
		s.names[name] = true
	}
	return s, errors.Join(errs...)
}

func (s self) hasName(name string) bool {
	return s.names[name] || name == "localhost" || strings.HasSuffix(name, ".localhost")
}

func (s self) hasAny(addrs []netip.Addr) bool {
	for _, addr := range addrs {
		if s.addrs[addr] {
			return true
		}
	}
	return false
}
