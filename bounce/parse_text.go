package bounce

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // all charsets
)

func (p *part) encoded() bool {
	enc := p.header.Get("Content-Transfer-Encoding")
	return strings.EqualFold(enc, "base64") || strings.EqualFold(enc, "quoted-printable")
}

// text returns the content decoded, in UTF-8 with "\n" for line ends.
func (p *part) text() string {
	cs := strings.ToLower(parameter(p.params, "charset"))
	plain := cs == "" || cs == "utf-8" || cs == "us-ascii" || cs == "utf8" || cs == "ascii"
	if plain && !p.encoded() {
		return toUTF8(p.raw)
	}
	var h message.Header
	if enc := p.header.Get("Content-Transfer-Encoding"); p.encoded() {
		h.Set("Content-Transfer-Encoding", enc)
	}
	if h.Set("Content-Type", "text/plain"); !plain {
		h.SetContentType("text/plain", map[string]string{"charset": cs})
	}
	e, err := message.New(h, bytes.NewReader(p.raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return toUTF8(p.raw)
	}
	decoded, err := io.ReadAll(io.LimitReader(e.Body, 2*keepFields))
	if err != nil && len(decoded) == 0 { // not encoded after all
		decoded = p.raw
	}
	text := toUTF8(decoded)
	if strings.Contains(text, "\r") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	}
	return text
}

// toUTF8 takes text that is not UTF-8 for Latin-1.
func toUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}
