package bounce

import "strings"

// EncodeVERP returns the return path for one recipient in the classic form:
// "bounces@example.com" and "user@example.org" become
// "bounces+user=example.org@example.com". Anybody can forge it; see [Codec] for
// one that nobody can. It reports false if an argument is no address or the
// local part would exceed 64 octets (RFC 5321 §4.5.3.1.1).
func EncodeVERP(base, recipient string) (string, bool) {
	b, r := strings.LastIndexByte(base, '@'), strings.LastIndexByte(recipient, '@')
	if b < 1 || r < 1 || r == len(recipient)-1 {
		return "", false
	}
	local := base[:b] + "+" + recipient[:r] + "=" + recipient[r+1:]
	if len(local) > maxLocalPart || strings.ContainsAny(local, " \"<>@\r\n") {
		return "", false
	}
	return local + base[b:], true
}

// DecodeVERP returns the recipient of a return path that EncodeVERP made of
// base; false if it made none such.
func DecodeVERP(base, address string) (string, bool) {
	b, a := strings.LastIndexByte(base, '@'), strings.LastIndexByte(address, '@')
	if b < 1 || a <= b || !strings.EqualFold(base[b:], address[a:]) || !strings.EqualFold(base[:b]+"+", address[:b+1]) {
		return "", false
	}
	return verpRecipient(address[b+1 : a])
}

// verpRecipient reads "user=example.org".
func verpRecipient(s string) (string, bool) {
	eq := strings.LastIndexByte(s, '=')
	if eq < 1 || !strings.Contains(s[eq:], ".") {
		return "", false
	}
	return s[:eq] + "@" + s[eq+1:], true
}

// verpIn finds the recipient in the address that a bounce was sent to.
func verpIn(sentTo []string) string {
	for _, a := range sentTo {
		local := a[:strings.LastIndexByte(a, '@')]
		if _, tail, ok := strings.Cut(local, "+"); ok {
			if r, ok := verpRecipient(tail); ok && firstAddress(r) == r {
				return r
			}
		}
	}
	return ""
}
