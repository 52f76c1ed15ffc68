package suppress

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/volleymail/volley/bounce"
)

// Cause says how an address got on the list.
type Cause uint8

// The causes, weakest first: where several fit, Suppressed names the strongest.
const (
	SoftBounces  Cause = iota + 1 // failed again and again, in a way that may pass
	HardBounce                    // the address is dead
	Manual                        // put there by hand or by an import
	Unsubscribed                  // the recipient asked for it
	Complained                    // the recipient called the mail spam
)

var causeNames = [...]string{
	SoftBounces:  "soft-bounces",
	HardBounce:   "hard-bounce",
	Manual:       "manual",
	Unsubscribed: "unsubscribed",
	Complained:   "complained",
}

// String returns the name, such as "hard-bounce".
func (c Cause) String() string {
	if c.valid() {
		return causeNames[c]
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

func (c Cause) valid() bool { return SoftBounces <= c && c <= Complained }

// MarshalText gives the name, or an error if c is no cause.
func (c Cause) MarshalText() ([]byte, error) {
	if !c.valid() {
		return nil, fmt.Errorf("suppress: no cause has the value %d", uint8(c))
	}
	return []byte(causeNames[c]), nil
}

// UnmarshalText takes exactly what MarshalText gives.
func (c *Cause) UnmarshalText(text []byte) error {
	i := slices.Index(causeNames[1:], string(text))
	if i < 0 {
		return fmt.Errorf("suppress: unknown cause %q", text)
	}
	*c = Cause(i + 1)
	return nil
}

// The bounds of an entry's texts, in bytes.
const (
	maxStream = 255
	maxSource = 500
)

// The times that an entry can hold; a store may keep them as nanoseconds
// since 1970.
var (
	minTime = time.Date(1700, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Entry says that an address must not be mailed. Address, Stream and Cause
// together name it: a second one with the same three replaces the first.
type Entry struct {
	Address  string          // as Normalize gives it; compared without regard to case
	Stream   string          // the stream that it is about, "" = all
	Cause    Cause           // how it got there
	Category bounce.Category // of a bounce, else Unknown
	Source   string          // what said so: a rule, a reply, a kind of report; at most 500 bytes on one line
	Time     time.Time       // when it happened
	Expires  time.Time       // from when on it has no effect; zero = never
}

// Key is what tells addresses apart: Address in lower case. Stores find
// entries by it.
func (e *Entry) Key() string { return fold(e.Address) }

// expired reports whether the entry has no effect any more.
func (e *Entry) expired(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

// normalize checks an entry and gives it the form that stores keep.
func (e *Entry) normalize() error {
	address, err := Normalize(e.Address)
	if err != nil {
		return fmt.Errorf("address %q: %w", clip(e.Address, 100), err)
	}
	e.Address = address
	if len(e.Stream) > maxStream || !isLine(e.Stream) {
		return fmt.Errorf("stream %q: it must be UTF-8 without control characters or blanks around it, at most %d bytes", clip(e.Stream, 100), maxStream)
	}
	if !e.Cause.valid() {
		return fmt.Errorf("entry of %s: %v is no cause", e.Address, e.Cause)
	}
	if _, err := e.Category.MarshalText(); err != nil {
		return fmt.Errorf("entry of %s: %w", e.Address, err)
	}
	e.Source = cleanSource(e.Source)
	for _, t := range []*time.Time{&e.Time, &e.Expires} {
		if *t = t.Round(0).UTC(); !t.IsZero() && (t.Before(minTime) || t.After(maxTime)) {
			return fmt.Errorf("entry of %s: the year %d is out of range", e.Address, t.Year())
		}
	}
	if e.Time.IsZero() {
		return fmt.Errorf("entry of %s: it has no time", e.Address)
	}
	return nil
}

// String describes the entry in a line, for people.
func (e *Entry) String() string {
	var b strings.Builder
	b.WriteString(e.Cause.String())
	if e.Category != bounce.Unknown {
		fmt.Fprintf(&b, " (%s)", e.Category)
	}
	if e.Stream != "" {
		fmt.Fprintf(&b, " from stream %q", e.Stream)
	}
	if !e.Time.IsZero() {
		b.WriteString(" on " + e.Time.Format(time.DateOnly))
	}
	if e.Source != "" {
		b.WriteString(": " + e.Source)
	}
	return b.String()
}

// cleanSource makes any text one line of valid UTF-8 that is not too long.
func cleanSource(s string) string {
	if len(s) <= maxSource && isLine(s) {
		return s
	}
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(clip(s, maxSource))
}

// isLine reports whether s is one line of UTF-8, without blanks around it.
func isLine(s string) bool {
	return s == strings.TrimSpace(s) && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// clip cuts s after at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
