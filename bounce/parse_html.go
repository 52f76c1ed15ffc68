package bounce

import (
	"html"
	"strings"
)

// breaks are the elements that begin a new line.
var breaks = []string{"br", "p", "/p", "div", "/div", "tr", "/tr", "li", "h1", "h2", "h3", "h4", "hr", "table", "/table", "pre", "/pre", "/title", "td"}

// htmlText returns the words of an HTML text, with its lines.
func htmlText(s string) string {
	var b strings.Builder
	pre := 0
	for s != "" {
		text := s
		i := strings.IndexByte(s, '<')
		if i >= 0 {
			text = s[:i]
		}
		if pre == 0 {
			text = strings.NewReplacer("\n", " ", "\t", " ").Replace(text)
		}
		b.WriteString(html.UnescapeString(text))
		if i < 0 {
			break
		}
		s = s[i+1:]
		end := strings.IndexByte(s, '>')
		if strings.HasPrefix(s, "!--") {
			if end = strings.Index(s, "-->"); end >= 0 {
				end += 2
			}
		}
		if end < 0 {
			break
		}
		name, tag := strings.ToLower(s[:tagEnd(s[:end])]), s[:end]
		s = s[end+1:]
		switch {
		case strings.Contains(tag, "@") && !strings.ContainsAny(tag, " ="): // an address that nobody escaped
			b.WriteString("<" + tag + ">")
		case name == "style" || name == "script" || name == "head":
			s = skipElement(s, name)
		case name == "pre":
			pre++
		case name == "/pre" && pre > 0:
			pre--
		}
		if containsExact(breaks, name) {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// tagEnd returns the length of a tag's name.
func tagEnd(s string) int {
	n := 0
	for n < len(s) && n < 12 && (isLetter(s[n]) || isDigit(s[n]) || s[n] == '/' && n == 0) {
		n++
	}
	return n
}

// skipElement passes over the content of an element that holds no text.
func skipElement(s, name string) string {
	for from := 0; ; {
		i := strings.Index(s[from:], "</")
		if i < 0 {
			return ""
		}
		from += i + 2
		if rest := s[from:]; len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) {
			_, rest, _ = strings.Cut(rest, ">")
			return rest
		}
	}
}
