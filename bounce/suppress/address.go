package suppress

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// maxAddress bounds an address, in bytes: 64 before the @ and 255 after it
// (RFC 5321 §4.5.3.1), doubled for what servers take nonetheless.
const maxAddress = 640

// domains maps as RFC 5891 lookups do, and leaves ASCII labels alone.
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// Normalize gives an address the form that entries have: the domain in
// lower-case A-labels (RFC 5890) without final dots, the local part as it
// stands but in Unicode's form NFC and without quotes that it does not need
// (RFC 5321 §4.1.2). Blanks and one pair of angle brackets around the whole go.
//
// It refuses only what can be no address; whether the address can be mailed is
// for others to say.
func Normalize(address string) (string, error) {
	a := strings.TrimSpace(address)
	if len(a) > 1 && a[0] == '<' && a[len(a)-1] == '>' {
		a = a[1 : len(a)-1]
	}
	at := strings.LastIndexByte(a, '@')
	switch {
	case at < 0:
		return "", errors.New("it has no @")
	case at == 0 || at == len(a)-1:
		return "", errors.New("a part before or after the @ is missing")
	case len(a) > maxAddress:
		return "", errors.New("it is too long")
	case !utf8.ValidString(a):
		return "", errors.New("it is not valid UTF-8")
	case strings.IndexFunc(a, unicode.IsControl) >= 0:
		return "", errors.New("it has a control character")
	}
	domain, err := normalDomain(a[at+1:])
	if err != nil {
		return "", err
	}
	local, err := normalLocal(a[:at])
	if err != nil {
		return "", err
	}
	if len(local)+len(domain) == len(a)-1 && strings.HasPrefix(a, local) && strings.HasSuffix(a, domain) {
		return a, nil // it was normal: no allocation
	}
	return local + "@" + domain, nil
}

func normalDomain(d string) (string, error) {
	if !isASCII(d) {
		a, err := domains.ToASCII(d)
		if err != nil {
			return "", errors.New("the domain is not a valid international name")
		}
		d = a
	}
	d = strings.ToLower(strings.TrimRight(d, "."))
	if d == "" || strings.ContainsAny(d, " <>,;\"") {
		return "", errors.New("the domain is malformed")
	}
	return d, nil
}

func normalLocal(local string) (string, error) {
	local = norm.NFC.String(local) // first: it makes a semicolon of the Greek question mark
	if len(local) > 2 && local[0] == '"' && local[len(local)-1] == '"' {
		if inner := unquote(local[1 : len(local)-1]); isDotString(inner) {
			return norm.NFC.String(inner), nil
		}
		return local, nil
	}
	if strings.ContainsAny(local, " <>,;\"") {
		return "", errors.New("the part before the @ has a character that must not be there, such as a space")
	}
	return local, nil
}

// unquote drops the backslashes of quoted pairs.
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// isDotString reports whether a local part can stand without quotes (RFC 5321
// §4.1.2, RFC 6531 §3.3).
func isDotString(s string) bool {
	dot := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '.' && dot || c <= ' ' || c == 0x7f || strings.IndexByte(`"(),:;<>@[\]`, c) >= 0 {
			return false
		}
		dot = c == '.'
	}
	return !dot
}

// fold gives what a normal address is compared by. RFC 5321 §2.4 leaves the
// case of local parts to the receiver, but none of note tells them apart, and
// mailing somebody who unsubscribed with a capital letter is the worse mistake.
func fold(normal string) string { return strings.ToLower(normal) }

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
