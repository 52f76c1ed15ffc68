package bounce

import (
	"strings"
	"unicode/utf8"
)

// nextAddress finds the first mail address in s[from:] and returns where it
// stands; start is -1 if there is none. An address in a URL is none.
func nextAddress(s string, from int) (start, end int) {
	for {
		i := strings.IndexByte(s[from:], '@')
		if i < 0 {
			return -1, -1
		}
		i += from
		start, end = localStart(s, i), hostEnd(s, i+1)
		if start < i && end > i+1 && !inURL(s, start) {
			return start, end
		}
		from = i + 1
	}
}

// localStart returns where the local part that ends before s[at] begins.
func localStart(s string, at int) int {
	if at > 1 && s[at-1] == '"' { // quoted string, RFC 5321 §4.1.2
		if i := strings.LastIndexByte(s[:at-1], '"'); i >= 0 && at-i <= 66 && !strings.Contains(s[i:at], "\n") {
			return i
		}
		return at
	}
	i := at
	for i > 0 && isLocal(s[i-1]) {
		i--
	}
	for i < at && strings.IndexByte("'`.-*=?/|&", s[i]) >= 0 { // not of the address, but around it
		i++
	}
	if i > 0 && s[i-1] == '/' { // the end of a path
		i += strings.LastIndexByte(s[i:at], '/') + 1
	}
	return i
}

// isLocal reports whether c can stand in a local part: the atext of RFC 5322
// §3.2.3, a dot, or what is not ASCII (RFC 6531).
func isLocal(c byte) bool {
	return isLetter(c) || isDigit(c) || c >= utf8.RuneSelf || strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// hostEnd returns where the domain that begins at s[i] ends, i if there is none.
// It must have a dot, or be an address in brackets.
func hostEnd(s string, i int) int {
	if i < len(s) && s[i] == '[' {
		if n := strings.IndexByte(s[i:], ']'); n > 0 && n < 48 {
			return i + n + 1
		}
		return i
	}
	end := i
	for end < len(s) && (isLetter(s[end]) || isDigit(s[end]) || s[end] == '-' || s[end] == '.' || s[end] == '_' || s[end] >= utf8.RuneSelf) {
		end++
	}
	for end > i && (s[end-1] == '.' || s[end-1] == '-' || s[end-1] == '_') {
		end--
	}
	if dot := strings.IndexByte(s[i:end], '.'); dot < 1 {
		return i
	}
	return end
}

func inURL(s string, start int) bool {
	word := s[strings.LastIndexAny(s[:start], " \t\n<>\"'(")+1 : start]
	return strings.Contains(word, "://")
}

// addresses returns the addresses in a field or text, each once.
func addresses(s string) (found []string) {
	for from := 0; ; {
		start, end := nextAddress(s, from)
		if start < 0 || len(found) >= maxRecipients {
			return found
		}
		if a := s[start:end]; !hasAddress(found, a) {
			found = append(found, a)
		}
		from = end
	}
}

func firstAddress(s string) string {
	if start, end := nextAddress(s, 0); start >= 0 {
		return s[start:end]
	}
	return ""
}

// hasAddress compares without regard to case, as nearly every server does.
func hasAddress(list []string, addr string) bool {
	for _, a := range list {
		if strings.EqualFold(a, addr) {
			return true
		}
	}
	return false
}

// typedAddress reads "rfc822; a@example.com" (RFC 3464 §2.3.1), also the utf-8
// type of RFC 6533 and an address without type. Where no address stands it
// returns what does, for a server that reports a mailbox by its name alone.
func typedAddress(value string) string {
	kind, rest, ok := strings.Cut(value, ";")
	if !ok || strings.ContainsAny(kind, "@<") {
		kind, rest = "", value
	}
	rest = strings.TrimSpace(strings.Trim(strings.TrimSpace(rest), "<>"))
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "utf-8":
		rest = decodeUTF8Address(rest)
	case "rfc822", "":
		rest = decodeXtext(rest)
	}
	if at := strings.LastIndexByte(rest, '@'); at > 0 && at+1 < len(rest) && !strings.ContainsAny(rest, " <>(),;") {
		return rest
	}
	if a := firstAddress(rest); a != "" {
		return a
	}
	if i := strings.IndexAny(rest, " <>()"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// decodeXtext decodes +XX (RFC 3461 §4): only what can't be meant literally, for
// many servers put an address with a plus sign there as it is.
func decodeXtext(s string) string {
	if !strings.Contains(s, "+2B") && !strings.Contains(s, "+3D") && !strings.Contains(s, "+40") {
		return s
	}
	return strings.NewReplacer("+2B", "+", "+3D", "=", "+40", "@").Replace(s)
}

// decodeUTF8Address decodes \x{HEX} of utf-8-addr-xtext (RFC 6533 §3).
func decodeUTF8Address(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, `\x{`)
		if i < 0 {
			break
		}
		n := strings.IndexByte(s[i:], '}')
		r, ok := hexRune(s[i+3 : i+max(n, 3)])
		if !ok {
			break
		}
		b.WriteString(s[:i])
		b.WriteRune(r)
		s = s[i+n+1:]
	}
	b.WriteString(s)
	return b.String()
}

func hexRune(s string) (rune, bool) {
	if s == "" || len(s) > 6 {
		return 0, false
	}
	var r rune
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, utf8.ValidRune(r)
}
