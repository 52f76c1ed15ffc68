package sender

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// mailbox is an address taken apart (RFC 5321 §4.1.2).
type mailbox struct {
	local  string
	domain string // lower case, A-labels; or an address literal in brackets
	utf8   bool   // the local part needs SMTPUTF8 (RFC 6531)
}

// wire is the address as MAIL and RCPT carry it.
func (m mailbox) wire(addr string) string {
	if len(addr) == len(m.local)+1+len(m.domain) && strings.HasSuffix(addr, m.domain) {
		return addr
	}
	return m.local + "@" + m.domain
}

// parseMailbox checks an address as RFC 5321 §4.1.2 and §4.5.3.1 and RFC 6531
// §3.3 have it. Display names and comments are not part of an address.
func parseMailbox(addr string) (mailbox, error) {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return mailbox{}, errors.New("it has no @")
	}
	m := mailbox{local: addr[:at]}
	var err error
	if m.utf8, err = checkLocal(m.local); err != nil {
		return m, err
	}
	if m.domain, err = normalDomain(addr[at+1:]); err != nil {
		return m, err
	}
	if len(m.local)+1+len(m.domain) > 254 {
		return m, errors.New("it is longer than 254 octets")
	}
	return m, nil
}

func checkLocal(local string) (nonASCII bool, err error) {
	switch {
	case local == "":
		return false, errors.New("there is nothing before the @")
	case len(local) > 64:
		return false, errors.New("the part before the @ is longer than 64 octets")
	case local[0] == '"':
		return checkQuoted(local)
	}
	dot := true // a dot must not come next
	for i := 0; i < len(local); i++ {
		c := local[i]
		switch {
		case c == '.':
			if dot {
				return false, errors.New("a dot before the @ is at an end or doubled")
			}
		case c >= utf8.RuneSelf:
			nonASCII = true
		case !atext[c]:
			return false, errors.New("the part before the @ has a character that must not be there, such as a space")
		}
		dot = c == '.'
	}
	if dot {
		return false, errors.New("a dot before the @ is at an end or doubled")
	}
	if nonASCII && !utf8.ValidString(local) {
		return false, errors.New("it is not valid UTF-8")
	}
	return nonASCII, nil
}

// atext of RFC 5322 §3.2.3.
var atext = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~" {
		t[c] = true
	}
	return t
}()

// checkQuoted checks a quoted-string local part, RFC 5321 §4.1.2.
func checkQuoted(local string) (nonASCII bool, err error) {
	bad := errors.New("the quoted part before the @ is malformed")
	if len(local) < 3 || local[len(local)-1] != '"' {
		return false, bad
	}
	for i := 1; i < len(local)-1; i++ {
		c := local[i]
		switch {
		case c >= utf8.RuneSelf:
			nonASCII = true
		case c < ' ' || c == 0x7f || c == '"':
			return false, bad
		case c == '\\':
			i++
			if i == len(local)-1 || local[i] < ' ' || local[i] == 0x7f {
				return false, bad
			}
		}
	}
	if nonASCII && !utf8.ValidString(local) {
		return false, errors.New("it is not valid UTF-8")
	}
	return nonASCII, nil
}

// idn is the profile of RFC 5891 lookups, with the mapping of UTS #46, that
// leaves ASCII labels alone.
var idn = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// normalDomain gives the domain in lower-case A-labels, or the address literal
// as it stands. A plain ASCII domain in lower case costs no allocation.
func normalDomain(d string) (string, error) {
	if len(d) > 1 && d[0] == '[' && d[len(d)-1] == ']' {
		return d, checkLiteral(d[1 : len(d)-1])
	}
	d = strings.TrimSuffix(d, ".")
	ascii := true
	for i := 0; i < len(d); i++ {
		ascii = ascii && d[i] < utf8.RuneSelf
	}
	if !ascii {
		a, err := idn.ToASCII(d)
		if err != nil {
			return "", errors.New("the domain is not a valid international name")
		}
		d = a
	}
	d = strings.ToLower(d)
	return d, checkLabels(d)
}

func checkLabels(d string) error {
	switch {
	case d == "":
		return errors.New("there is no domain")
	case len(d) > 253:
		return errors.New("the domain is longer than 253 octets")
	case !strings.Contains(d, "."):
		return errors.New("the domain has no dot")
	}
	label := 0 // length of the label so far
	for i := 0; i <= len(d); i++ {
		if i == len(d) || d[i] == '.' {
			if label == 0 || label > 63 || d[i-1] == '-' {
				return errors.New("the domain is malformed")
			}
			label = 0
			continue
		}
		c := d[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_'
		if !letter && (c != '-' || label == 0) {
			return errors.New("the domain has a character that must not be there")
		}
		label++
	}
	return nil
}

// checkLiteral checks what stands in the brackets of an address literal,
// RFC 5321 §4.1.3.
func checkLiteral(s string) error {
	v6, is6 := strings.CutPrefix(strings.ToUpper(s), "IPV6:")
	a, err := netip.ParseAddr(strings.ToLower(v6))
	if err != nil || a.Zone() != "" || a.Is4() == is6 {
		return errors.New("the address literal is malformed")
	}
	return nil
}

// checkHostname wants a name that can stand in EHLO: a domain name or an address
// literal.
func checkHostname(h string) error {
	if h == "" {
		return errors.New("it is empty")
	}
	_, err := normalDomain(h)
	return err
}

// domainOf returns what stands after the last @, or the whole if there is none.
func domainOf(addr string) string {
	return addr[strings.LastIndexByte(addr, '@')+1:]
}
