package smtp

import "strings"

// maxPath bounds an address. RFC 5321 §4.5.3.1.3 asks servers for 256 octets,
// §4.5.3.1.4 for 512 in a command.
const maxPath = 500

// validPath reports whether addr can stand between angle brackets without
// ending them or the line: the last defence against a command hidden in an
// address. It does not ask whether the address makes sense.
func validPath(addr string, allow8bit bool) bool {
	if len(addr) > maxPath {
		return false
	}
	rest := addr
	if strings.HasPrefix(addr, `"`) {
		end := quotedEnd(addr)
		if end < 0 || !clean(addr[:end], allow8bit) || !strings.HasPrefix(addr[end:], "@") {
			return false
		}
		rest = addr[end:]
	}
	return !strings.ContainsAny(rest, `<>"\ `) && clean(rest, allow8bit)
}

// quotedEnd returns the length of the quoted-string that addr begins with
// (RFC 5321 §4.1.2), -1 if it does not end.
func quotedEnd(addr string) int {
	for i := 1; i < len(addr); i++ {
		switch addr[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// clean reports whether s has no control characters, and 8-bit ones only where
// allowed.
func clean(s string, allow8bit bool) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || c >= 0x80 && !allow8bit {
			return false
		}
	}
	return true
}

// validParam reports whether s can be the value of an ESMTP parameter (RFC
// 5321 §4.1.2, esmtp-value), or is empty.
func validParam(s string) bool {
	return len(s) <= maxPath && clean(s, false) && !strings.ContainsAny(s, " =")
}
