package spool

import (
	"crypto/sha256"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxDomain is the length of a domain name (RFC 5321 §4.5.3.1.2), with room for
// address literals.
const maxDomain = 255

// domainOf gives the domain of an address in lower-case A-labels, "" if it has
// none: Take's caller says what is wrong with it.
func domainOf(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return ""
	}
	return normalDomain(address[at+1:])
}

// normalDomain gives a domain in lower case, and in A-labels if it can be.
func normalDomain(d string) string {
	d = strings.TrimSuffix(d, ".")
	for i := 0; i < len(d); i++ {
		if d[i] >= utf8.RuneSelf {
			if a, err := idna.Lookup.ToASCII(d); err == nil {
				d = a
			}
			break
		}
	}
	if len(d) > maxDomain || !utf8.ValidString(d) {
		return ""
	}
	return strings.ToLower(d)
}

// pairKey is what a message's id and a recipient are known by.
func pairKey(message, address, domain string) []byte {
	var buf [256]byte
	b := append(buf[:0], message...)
	b = append(b, 0)
	if domain == "" {
		b = append(b, address...)
	} else {
		b = append(b, address[:strings.LastIndexByte(address, '@')+1]...)
		b = append(b, domain...)
	}
	sum := sha256.Sum256(b)
	return sum[:16]
}
