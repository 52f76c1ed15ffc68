package mx

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxName  = 253  // octets of a name in text form without final dot (RFC 1035 §2.3.4: 255 on the wire)
	maxLabel = 63   // octets of a label (RFC 1035 §2.3.4)
	maxInput = 1024 // octets of a Unicode domain that are looked at; 253 octets of A-labels need no more
)

// toASCII is the lookup profile (RFC 5891 §5) without the rules that only
// registries follow: what DNS can carry, the DNS shall judge.
var toASCII = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

// normalize returns the domain in lower case and A-labels, without final dot.
// It does not allocate for a domain that is so already.
func normalize(domain string) (string, error) {
	if len(domain) > maxInput {
		return "", fmt.Errorf("it has %d octets, %d is the limit", len(domain), maxName)
	}
	if !isASCII(domain) {
		if !utf8.ValidString(domain) {
			return "", errors.New("it is not UTF-8")
		}
		ascii, err := toASCII.ToASCII(domain)
		if err != nil {
			return "", err
		}
		domain = ascii
	}
	domain = strings.TrimSuffix(domain, ".")
	if err := checkName(domain); err != nil {
		return "", err
	}
	return strings.ToLower(domain), nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// checkName accepts names of letters, digits, hyphens and underscores. RFC 5321
// §4.1.2 has no underscore and no hyphen at the edge of a label, but such
// domains exist and take mail.
func checkName(name string) error {
	if name == "" {
		return errors.New("it is empty")
	}
	if len(name) > maxName {
		return fmt.Errorf("it has %d octets, %d is the limit", len(name), maxName)
	}
	start, digits := 0, true // of the current label
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if err := checkLabel(i - start); err != nil {
				return err
			}
			start, digits = i+1, true
		case '0' <= c && c <= '9':
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_':
			digits = false
		default:
			return fmt.Errorf("%q cannot be part of it", c)
		}
	}
	if err := checkLabel(len(name) - start); err != nil {
		return err
	}
	if digits { // no top-level domain is a number (RFC 3696 §2), but addresses look so
		return errors.New("it ends in a number; an address is written [192.0.2.1] or [IPv6:2001:db8::1]")
	}
	return nil
}

func checkLabel(n int) error {
	switch {
	case n == 0:
		return errors.New("it has an empty label")
	case n > maxLabel:
		return fmt.Errorf("it has a label of %d octets, %d is the limit", n, maxLabel)
	}
	return nil
}

// parseLiteral reads an address literal with its brackets (RFC 5321 §4.1.3).
// An IPv4 address in IPv6 form is the IPv4 address.
func parseLiteral(s string) (netip.Addr, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(s, "["), "]")
	if !ok {
		return netip.Addr{}, errors.New("the closing bracket of the address literal is missing")
	}
	const tag = "IPv6:"
	tagged := len(inner) >= len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if tagged {
		inner = inner[len(tag):]
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, errors.New("an address literal is written [192.0.2.1] or [IPv6:2001:db8::1]")
	}
	if addr.Is6() != tagged {
		return netip.Addr{}, fmt.Errorf("as an address literal it is written %s", literal(addr))
	}
	return addr.Unmap(), nil
}

// literal returns the address literal of addr.
func literal(addr netip.Addr) string {
	if addr.Is4() {
		return "[" + addr.String() + "]"
	}
	return "[IPv6:" + addr.String() + "]"
}
