package dkim

import (
	"slices"
	"strings"
)

// alwaysSigned: From by RFC 6376 §5.4, the others by RFC 8058 §4.
var alwaysSigned = []string{"From", "List-Unsubscribe", "List-Unsubscribe-Post"}

// DefaultHeaders returns the names of the fields that are signed unless
// Options.Headers says otherwise: those of RFC 6376 §5.4.1 that no relay has
// reason to change, and those that feedback loops, list managers and mailbox
// providers act upon.
func DefaultHeaders() []string {
	return []string{
		"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
		"In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
		"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post",
		"List-Post", "List-Owner", "List-Archive",
		"Auto-Submitted", "Feedback-ID", "CFBL-Address", "CFBL-Feedback-ID", "BIMI-Selector",
	}
}

// DefaultOversign returns the names of the fields that are oversigned unless
// Options.Oversign says otherwise: those that are shown to the reader, decide
// how the body is read, or are acted upon by a click.
func DefaultOversign() []string {
	return []string{
		"From", "To", "Cc", "Subject", "Date", "Reply-To", "Sender", "Message-ID",
		"MIME-Version", "Content-Type", "List-Unsubscribe", "List-Unsubscribe-Post",
	}
}

// neverSigned are in lower case: trace fields and fields that change or are
// removed on the way (RFC 6376 §5.4.1), and the signatures themselves (§3.7).
var neverSigned = []string{
	"return-path", "received", "received-spf", "bcc", "resent-bcc", "delivered-to",
	"authentication-results", "dkim-signature", "domainkey-signature",
	"arc-authentication-results", "arc-message-signature", "arc-seal",
}

// headerList says which fields a signature covers. Nothing in it changes.
type headerList struct {
	tokens [][]byte       // "From:", as they stand in h=
	over   []bool         // oversigned, parallel to tokens
	rank   map[string]int // name in lower case -> index in tokens
}

func newHeaderList(sign, oversign []string) (headerList, error) {
	l := headerList{rank: make(map[string]int)}
	if err := checkNames("Options.Headers", sign); err != nil {
		return l, err
	}
	if err := checkNames("Options.Oversign", oversign); err != nil {
		return l, err
	}
	if sign == nil {
		sign = DefaultHeaders()
	}
	for _, name := range slices.Concat(sign, alwaysSigned, oversign) {
		l.add(name)
	}
	if oversign == nil {
		oversign = DefaultOversign()
	}
	for _, name := range oversign {
		if i, ok := l.rank[strings.ToLower(name)]; ok {
			l.over[i] = true
		}
	}
	return l, nil
}

func (l *headerList) add(name string) {
	lower := strings.ToLower(name)
	if _, ok := l.rank[lower]; ok {
		return
	}
	l.rank[lower] = len(l.tokens)
	l.tokens = append(l.tokens, []byte(name+":"))
	l.over = append(l.over, false)
}

func checkNames(option string, names []string) error {
	for _, name := range names {
		switch {
		case !isFieldName([]byte(name)):
			return &OptionError{option, name, "is not the name of a header field"}
		case strings.ContainsAny(name, ";="): // a tag value can't hold ";" (RFC 6376 §3.2)
			return &OptionError{option, name, "cannot be written in a signature"}
		case slices.Contains(neverSigned, strings.ToLower(name)):
			return &OptionError{option, name, "changes on the way and must not be signed"}
		}
	}
	return nil
}

// isFieldName reports whether b is a field-name (RFC 5322 §3.6.8).
func isFieldName(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return len(b) > 0
}
