package dkim

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxName is the longest domain name that DNS can hold, without final dot.
const maxName = 253

func signingDomain(s string) (string, error) {
	name, reason := domainName(s)
	if reason == "" && !strings.Contains(name, ".") { // RFC 6376 §3.5, domain-name
		reason = "must have at least two labels"
	}
	if reason != "" {
		return "", &OptionError{"domain", s, reason}
	}
	return name, nil
}

// selectorName checks a selector, which may have several labels (RFC 6376 §3.1).
func selectorName(s, domain string) (string, error) {
	name, reason := domainName(s)
	if full := recordName(name, domain); reason == "" && len(full) > maxName {
		reason = fmt.Sprintf("%s is longer than the %d octets of a DNS name", full, maxName)
	}
	if reason != "" {
		return "", &OptionError{"selector", s, reason}
	}
	return name, nil
}

func recordName(selector, domain string) string { return selector + "._domainkey." + domain }

// domainName returns s in lower case, with A-labels and without final dot, or
// the reason why it is no host name (RFC 5321 §4.1.2, sub-domain).
func domainName(s string) (name, reason string) {
	name = strings.ToLower(strings.TrimSuffix(s, "."))
	if !isASCII(name) {
		a, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", "is not an internationalised domain name: " + err.Error()
		}
		name = a
	}
	if name == "" {
		return "", "is empty"
	}
	if len(name) > maxName {
		return "", fmt.Sprintf("is longer than %d octets", maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if reason := badLabel(label); reason != "" {
			return "", reason
		}
	}
	return name, ""
}

func badLabel(label string) (reason string) {
	switch {
	case label == "":
		return "has an empty label"
	case len(label) > 63:
		return "has a label longer than 63 octets"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "has a label that begins or ends with a hyphen"
	}
	for _, c := range []byte(label) {
		if !isLetterDigit(c) && c != '-' {
			return fmt.Sprintf("has the character %q; only letters, digits and hyphens are allowed", c)
		}
	}
	return ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func isLetterDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// quote makes a caller's string safe to show: escaped, and cut to a sane length.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
