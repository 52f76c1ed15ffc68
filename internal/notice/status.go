package notice

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/volleymail/volley/bounce"
)

// statusPart writes the fields for programs (RFC 3464 §2.2, §2.3). What is not ASCII
// in them needs the type of RFC 6533 §4, which fewer programs read.
func (r *Report) statusPart() []byte {
	diagnostic := r.diagnostic()
	global := !ascii([]byte(r.Recipient + diagnostic))
	kind := "message/delivery-status"
	if global {
		kind = "message/global-delivery-status"
	}
	var f fields
	f.add("Reporting-MTA", "dns; "+r.Host)
	f.add("Original-Envelope-Id", clean(r.EnvelopeID)) // the ENVID decoded, RFC 3461 §6.3
	f.addTime("Arrival-Date", r.Arrival)
	f = append(f, "\r\n"...)
	if r.Original != "" {
		f.add("Original-Recipient", typed(r.Original, global))
	}
	f.add("Final-Recipient", typed(r.Recipient, global))
	f.add("Action", string(r.Action))
	f.add("Status", r.status().String())
	f.add("Remote-MTA", remote(r.Reply.Host))
	f.add("Diagnostic-Code", diagnostic)
	f.addTime("Last-Attempt-Date", r.Tried)
	if r.Action == Delayed {
		f.addTime("Will-Retry-Until", r.RetryUntil)
	}
	return part(kind, "Delivery report", f)
}

// status is what the reply has, else what its code says of the class alone
// (RFC 3463 §3.1), else what the action does.
func (r *Report) status() bounce.Status {
	switch first := uint16(r.Reply.Code / 100); {
	case r.Action == Relayed && r.Reply.Status[0] == 2:
		return r.Reply.Status
	case r.Action == Relayed:
		return bounce.Status{2, 0, 0}
	case r.Reply.Status[0] == 4 || r.Reply.Status[0] == 5:
		return r.Reply.Status
	case first == 4 || first == 5:
		return bounce.Status{first, 0, 0}
	case r.Unsure:
		return bounce.StatusLost
	case r.GivenUp:
		return bounce.StatusExpired
	case r.Action == Failed:
		return bounce.Status{5, 0, 0}
	}
	return bounce.Status{4, 0, 0}
}

// diagnostic is the reply on one line (RFC 3464 §2.3.6). What no server said has a
// type of its own.
func (r *Report) diagnostic() string {
	text := clean(r.Reply.String())
	switch {
	case text == "":
		return ""
	case r.Reply.Code == 0:
		return "X-Volley; " + text
	}
	return "smtp; " + text
}

// remote is the server that spoke, "" if its name can't stand in the field.
func remote(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		if a.Is6() {
			return "dns; [IPv6:" + host + "]" // RFC 5321 §4.1.3
		}
		return "dns; [" + host + "]"
	}
	for _, c := range host {
		name := c == '.' || c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !name {
			return ""
		}
	}
	if host == "" || len(host) > 255 {
		return ""
	}
	return "dns; " + host
}

// maxAddress bounds an address that is not one: real ones have 254 octets.
const maxAddress = 320

// typed writes an address with its type. One that is not ASCII is encoded, but
// for its letters where the part is UTF-8 (RFC 6533 §3).
func typed(addr string, global bool) string {
	if addr = strings.ToValidUTF8(cut(addr, maxAddress), "?"); ascii([]byte(addr)) {
		return "rfc822; " + clean(addr)
	}
	var b strings.Builder
	for _, c := range addr {
		if c <= ' ' || strings.ContainsRune(`\+=`, c) || c >= utf8.RuneSelf && !(global && unicode.IsPrint(c)) || c == 0x7f {
			fmt.Fprintf(&b, `\x{%02X}`, c)
		} else {
			b.WriteRune(c)
		}
	}
	if b.Len() > maxLine { // of no use, then
		return "rfc822; " + strings.Map(func(c rune) rune {
			if c >= utf8.RuneSelf {
				return '?'
			}
			return c
		}, clean(addr))
	}
	return "utf-8; " + b.String()
}

// fields are those of a message/delivery-status.
type fields []byte

func (f *fields) addTime(name string, t time.Time) {
	if !t.IsZero() {
		f.add(name, t.Format(dateLayout))
	}
}

// add writes a field, folded (RFC 5322 §2.2.3), none if value is empty. value has
// no control characters.
func (f *fields) add(name, value string) {
	if value == "" {
		return
	}
	*f = append(*f, name...)
	*f = append(*f, ':')
	for _, line := range fold(value, foldAt-len(name)-2) {
		*f = append(*f, ' ')
		*f = append(*f, line...)
		*f = append(*f, "\r\n"...)
	}
}

// Lines are folded where RFC 5322 §2.1.1 advises; they must not be longer than
// maxLine.
const (
	foldAt  = 77
	maxLine = 900
)

// fold splits a text at spaces into lines of width octets, the first one of first,
// longer ones where it must. A line but the first never looks like a field, for
// which readers that forgive an indent would take it: it does not begin with a
// word that a colon ends or follows.
func fold(text string, first int) (lines []string) {
	width := first
	for start, at := 0, 0; ; {
		n := strings.IndexByte(text[at:], ' ')
		if n < 0 {
			return append(lines, text[start:])
		}
		space := at + n
		at = space + 1
		next, rest, _ := strings.Cut(text[at:], " ")
		switch tooLong := at-start+len(next) > width; {
		case !tooLong:
		case strings.Contains(next, ":") || strings.HasPrefix(rest, ":"):
			if at-start+len(next) > maxLine { // nothing but words with colons
				return append(lines, text[start:space])
			}
		default:
			lines = append(lines, text[start:space])
			start, width = at, foldAt
		}
	}
}

// Bounds of what is quoted, in octets.
const (
	maxText = 2000
	maxWord = 400
)

// clean puts a text on one line, without control characters and what else a
// reader could stumble over, and within bounds.
func clean(text string) string {
	text = strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) && !unicode.IsSpace(c) {
			return '?'
		}
		return c
	}, cut(text, 2*maxText))
	words := strings.Fields(text)
	for i, w := range words {
		words[i] = cut(w, maxWord)
	}
	return cut(strings.Join(words, " "), maxText)
}

// cut returns the first max octets of s or a few less: no character is halved.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return strings.TrimRight(s[:max], " ") + "..."
}
