package bounce

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxRuleText bounds the text that rules see.
const maxRuleText = 4 << 10

// foldText prepares a reply's text for the rules: the first 4 KB in lower case,
// each run of white space as one blank, the typographic apostrophe as the plain
// one, and each mail address as "@", so that nobody's name is taken for a reason.
func foldText(s string) string {
	s = cutText(s, maxRuleText)
	b := make([]byte, 0, len(s)+utf8.UTFMax)
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '@':
			if end := domainEnd(s, i+1); end > i+1 {
				b = append(cutLocalPart(b), '@')
				i = end
				continue
			}
			b = append(b, c)
		case c <= ' ':
			if len(b) > 0 && b[len(b)-1] != ' ' {
				b = append(b, ' ')
			}
		case 'A' <= c && c <= 'Z':
			b = append(b, c|0x20)
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = appendFolded(b, r)
			i += n
			continue
		}
		i++
	}
	return strings.TrimSuffix(string(b), " ")
}

func appendFolded(b []byte, r rune) []byte {
	switch r {
	case '’', '‘':
		return append(b, '\'')
	case '\u00a0', '\u3000': // blanks
		if len(b) == 0 || b[len(b)-1] == ' ' {
			return b
		}
		return append(b, ' ')
	}
	return utf8.AppendRune(b, unicode.ToLower(r))
}

const addressStops = " <>()[]\",;:'"

// cutLocalPart removes the local part at the end of b.
func cutLocalPart(b []byte) []byte {
	for len(b) > 0 && strings.IndexByte(addressStops, b[len(b)-1]) < 0 {
		b = b[:len(b)-1]
	}
	return b
}

// domainEnd returns where the domain that starts at s[i] ends.
func domainEnd(s string, i int) int {
	for i < len(s) && (isLetter(s[i]) || isDigit(s[i]) || s[i] == '-' || s[i] == '.' || s[i] == '_' || s[i] >= utf8.RuneSelf) {
		i++
	}
	for i > 0 && s[i-1] == '.' { // the end of the sentence
		i--
	}
	return i
}
