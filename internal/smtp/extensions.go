package smtp

import (
	"bytes"
	"strconv"
	"strings"
)

// extensions are what a server offers in its reply to EHLO.
type extensions struct {
	pipelining, chunking, startTLS, eightBit, utf8, dsn, size bool

	maxSize  int64  // octets, 0 = no fixed limit (RFC 1870 §4)
	mailMax  int    // RFC 9422 §4.1, 0 = not said
	rcptMax  int    // RFC 9422 §4.2, 0 = not said
	authList string // mechanisms, separated by spaces; "" = no AUTH
}

// parseExtensions reads the text of an EHLO reply. Keywords are
// case-insensitive (RFC 5321 §2.4).
func parseExtensions(text []byte) (e extensions) {
	_, text, _ = bytes.Cut(text, []byte{'\n'}) // the first line is a greeting
	for line := range strings.SplitSeq(string(text), "\n") {
		keyword, param, _ := strings.Cut(line, " ")
		switch keyword = strings.ToUpper(keyword); keyword {
		case "PIPELINING":
			e.pipelining = true
		case "CHUNKING":
			e.chunking = true
		case "STARTTLS":
			e.startTLS = true
		case "8BITMIME":
			e.eightBit = true
		case "SMTPUTF8":
			e.utf8 = true
		case "DSN":
			e.dsn = true
		case "SIZE":
			e.size = true
			e.maxSize = positive(strings.TrimSpace(param))
		case "LIMITS":
			e.parseLimits(param)
		case "AUTH":
			e.addAuth(param)
		default: // servers older than RFC 2554 say "AUTH=LOGIN"
			if first, ok := strings.CutPrefix(keyword, "AUTH="); ok {
				e.addAuth(first + " " + param)
			}
		}
	}
	return e
}

func (e *extensions) addAuth(mechanisms string) {
	for m := range strings.FieldsSeq(strings.ToUpper(mechanisms)) {
		if !strings.Contains(" "+e.authList+" ", " "+m+" ") {
			e.authList = strings.TrimSpace(e.authList + " " + m)
		}
	}
}

// parseLimits reads name=value pairs (RFC 9422 §3); unknown ones are ignored.
func (e *extensions) parseLimits(param string) {
	for pair := range strings.FieldsSeq(param) {
		name, value, _ := strings.Cut(pair, "=")
		n := int(min(positive(value), 1<<30))
		switch strings.ToUpper(name) {
		case "MAILMAX":
			e.mailMax = n
		case "RCPTMAX":
			e.rcptMax = n
		}
	}
}

// positive parses a number, 0 if it is none or negative.
func positive(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
