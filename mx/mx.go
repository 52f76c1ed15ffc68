// Package mx finds the mail servers of a domain.
//
// It implements
//   - RFC 5321 §5.1: MX records, the implicit MX, aliases, loops, equal preferences
//   - RFC 7505: null MX
//   - RFC 5321 §4.1.3: address literals
//   - RFC 5891: internationalised domains
//   - RFC 2308 and RFC 9520: memory of negative answers and of failures
//   - RFC 8767: the last good answer while the DNS fails
//
// New gives a resolver for the process: it asks recursive DNS servers over UDP
// and TCP and answers repeated questions from memory.
package mx

import (
	"context"
	"net/netip"
	"time"
)

// Resolver finds the route to a domain. Implementations are safe for
// concurrent use and answer repeated questions from memory.
type Resolver interface {
	// Lookup returns where mail for domain goes. The domain may be an IDN in
	// Unicode or A-label form, or an address literal such as "[192.0.2.1]" or
	// "[IPv6:2001:db8::1]"; upper case and one final dot do not matter.
	// The Route is shared and must not be changed. A failure is an *Error.
	// When ctx ends, Lookup returns at once with a Temporary failure that
	// wraps ctx.Err().
	Lookup(ctx context.Context, domain string) (*Route, error)
}

// Route is where the mail of one domain goes.
type Route struct {
	// Domain is the domain asked for: lower case, A-labels, no final dot. An
	// address literal keeps its brackets: "[192.0.2.1]", "[IPv6:2001:db8::1]".
	Domain string

	// Site names the set of hosts as the DNS publishes it, whatever their
	// preferences, their order, and whether each has an address now: domains
	// with the same MX set have the same Site, other sets another one.
	// It is made for people to read: "mx.example.com" for one host,
	// "(mx1|mx2).example.com" for two, "(alt1|alt2)?.mx.example.com" if
	// mx.example.com itself belongs to the set, and a shortened form with a
	// hash for a set whose name is over 128 bytes. A single host name may be
	// longer, up to 253.
	Site string

	// Hosts are in the order in which to try them (RFC 5321 §5.1): by
	// preference, in random order where preferences are equal. Successive
	// Lookups return different orders. Never empty; at most 20.
	Hosts []Host

	Implicit bool      // no MX record: the domain's own address (RFC 5321 §5.1)
	Expires  time.Time // when the answer should be asked for anew
}

// Host is one mail server of a Route.
type Host struct {
	Name       string // lower case, A-labels, no final dot; for an address literal the address
	Preference uint16
	Addrs      []netip.Addr // in the order given by the resolver; never empty
}

// Failure says why there is no route.
type Failure uint8

// The failures.
const (
	Temporary Failure = iota // timeout, SERVFAIL, refused: try again later
	NoDomain                 // NXDOMAIN: the domain does not exist
	NullMX                   // the domain says that it takes no mail (RFC 7505)
	NoHosts                  // MX records, but no host with an address; or neither MX nor address
	Loop                     // the best host is ourselves
	BadDomain                // not a domain name
)

// Error is the failure of a Lookup. It may be shared and must not be changed.
type Error struct {
	Domain  string  // as in Route.Domain; for BadDomain as it was given, cut to 255 bytes
	Failure Failure // why there is no route
	Err     error   // cause, may be nil
}
