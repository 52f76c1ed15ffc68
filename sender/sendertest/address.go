package sendertest

import "strings"

// parsePath takes "FROM:<a@b.example> SIZE=1 BODY=8BITMIME" apart (RFC 5321
// §4.1.2). A source route before the address is dropped.
func parsePath(args, keyword string) (path string, params []string, ok bool) {
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return "", nil, false
	}
	rest, ok := strings.CutPrefix(args[len(keyword):], "<")
	if !ok {
		return "", nil, false
	}
	end := pathEnd(rest)
	if end < 0 {
		return "", nil, false
	}
	path, rest = rest[:end], rest[end+1:]
	if rest != "" && rest[0] != ' ' {
		return "", nil, false
	}
	if strings.HasPrefix(path, "@") {
		_, path, _ = strings.Cut(path, ":")
	}
	return path, strings.Fields(rest), true
}

// pathEnd finds the ">" that is not in a quoted string.
func pathEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

// isMailbox checks roughly for local-part@domain.
func isMailbox(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	quoted := len(local) >= 2 && local[0] == '"' && local[len(local)-1] == '"'
	if strings.ContainsAny(domain, " <>\"\\,;") || !quoted && strings.ContainsAny(local, " <>\"\\,;:@()") {
		return false
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
