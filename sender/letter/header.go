package letter

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// headerText renders the value of a header field, on one line; errors of the
// template say its name themselves. go-mail encodes
// what is not ASCII and folds. A line break out of the data is an error: it has
// no business there, and would let the data add fields of its own.
func headerText(name string, t tmpl, data any) (string, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	text := string(bytes.TrimSpace(withoutNull(b.Bytes())))
	if err := checkText(text); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	words := strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == '\t' })
	return strings.Join(words, " "), nil
}

// checkText refuses what must not stand in a header field.
func checkText(text string) error {
	for _, c := range text {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("%.100q has a line break or control character: a header field is one line", text)
		}
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%.100q is not valid UTF-8", text)
	}
	return nil
}

// encoded makes sure that people read what the template wrote: text that looks
// like an encoded-word is encoded itself (RFC 2047 §2), lest the data hide a line
// break in one from those who check and show it to those who decode.
func encoded(text string) string {
	if !strings.Contains(text, "=?") {
		return text
	}
	var words []string
	for text != "" {
		n := min(len(text), 45) // 60 characters of base64 and 12 around them: 75 are allowed
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n-- // no character is split, RFC 2047 §5
		}
		words = append(words, "=?UTF-8?b?"+base64.StdEncoding.EncodeToString([]byte(text[:n]))+"?=")
		text = text[n:]
	}
	return strings.Join(words, " ")
}

// domains makes A-labels (RFC 5891), with the mapping of UTS #46.
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// address checks an address and writes its domain in A-labels, so that the
// header stays ASCII where it can.
func address(a netmail.Address) (*netmail.Address, error) {
	if err := checkText(a.Name); err != nil {
		return nil, err
	}
	parsed, err := netmail.ParseAddress(a.Address)
	if err != nil || parsed.Name != "" || strings.ContainsAny(a.Address, "<>()") {
		return nil, fmt.Errorf("%.100q is no address: it must be like ann@example.com, and nothing else", a.Address)
	}
	at := strings.LastIndexByte(parsed.Address, '@')
	local, domain := parsed.Address[:at], parsed.Address[at+1:]
	if !isASCII(domain) {
		if domain, err = domains.ToASCII(domain); err != nil {
			return nil, fmt.Errorf("%.100q is no address: its domain is no domain: %w", a.Address, err)
		}
	}
	return &netmail.Address{Name: a.Name, Address: local + "@" + domain}, nil
}

// checkURL checks one for List-Unsubscribe. It stands in angle brackets there
// (RFC 2369 §2), so it must not end them.
func checkURL(text, scheme string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != scheme || scheme == "https" && u.Host == "" || scheme == "mailto" && !strings.Contains(u.Opaque, "@"):
		return fmt.Errorf("%.100q: it must be a URL that begins with %s: (RFC 8058 §3.1, RFC 2369 §3.2)", text, scheme)
	case strings.ContainsAny(text, "<>\" ,\\") || !isASCII(text):
		return fmt.Errorf("%.100q: a URL has no such characters: write {{urlquery .field}} to encode a field", text)
	case len(text) > maxURL:
		return fmt.Errorf("%.100q: it has %d characters, %d are allowed", text, len(text), maxURL)
	}
	return nil
}

// maxURL keeps the line below 998 octets (RFC 5322 §2.1.1).
const maxURL = 900

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// writeWithout writes a mail without some fields of its header.
func writeWithout(w io.Writer, msg []byte, names ...string) error {
	keep := msg[:0] // never ahead of what is read
	rest := msg
	for len(rest) > 0 && !bytes.HasPrefix(rest, []byte("\r\n")) {
		line, after, found := bytes.Cut(rest, []byte("\r\n"))
		if !found {
			return errors.New("letter: the header has no end")
		}
		if name, _, _ := bytes.Cut(line, []byte(":")); !contains(names, string(name)) {
			keep = append(keep, rest[:len(line)+2]...)
		}
		rest = after
	}
	if _, err := w.Write(keep); err != nil {
		return err
	}
	_, err := w.Write(rest)
	return err
}
