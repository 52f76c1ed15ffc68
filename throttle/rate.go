package throttle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is N in every period Per: no half-open interval of that length, wherever
// it begins, sees more. The zero Rate means no limit.
type Rate struct {
	N   int           // 1 to 1,000,000,000
	Per time.Duration // up to 366 days
}

// The bounds keep the arithmetic far from overflow.
const (
	maxN   = 1_000_000_000
	maxPer = 366 * day

	day       = 24 * time.Hour
	unlimited = "unlimited"
)

// Error is a mistake in Limits or in the text of a Rate.
type Error struct {
	Field  string // such as "Rates[1]"; "rate" for ParseRate
	Value  string // as it was given
	Reason string
}

// Error names the field, the value and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("throttle: %s %q: %s", e.Field, e.Value, e.Reason)
}

// ParseRate reads "20/s", "100/min", "5000/h", "2000/d", or with a number of
// units "5/10s", "1/1h30m"; "unlimited" is the zero Rate. Units are ns, us, ms,
// s, m or min, h, d. The error is an *[Error].
func ParseRate(s string) (Rate, error) {
	if s == unlimited {
		return Rate{}, nil
	}
	fail := func(reason string) (Rate, error) {
		return Rate{}, &Error{Field: "rate", Value: s, Reason: reason}
	}
	count, period, ok := strings.Cut(s, "/")
	if !ok {
		return fail(`want a number, "/" and a period, as in 20/s`)
	}
	n, err := strconv.Atoi(count)
	if err != nil || count[0] < '0' || count[0] > '9' {
		return fail("the number is not a whole number in range")
	}
	per, ok := parsePeriod(period)
	if !ok {
		return fail("the period is not a duration such as s, min, h, d, 10s")
	}
	r := Rate{N: n, Per: per}
	if reason := r.mistake(); reason != "" {
		return fail(reason)
	}
	return r, nil
}

// parsePeriod reads a time.Duration that may leave out a leading 1, may say min
// for m, and may be a whole number of days.
func parsePeriod(s string) (time.Duration, bool) {
	if s != "" && (s[0] < '0' || s[0] > '9') {
		s = "1" + s
	}
	if number, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(number, 10, 16) // 16 bits of days do not overflow
		return time.Duration(days) * day, err == nil
	}
	if number, ok := strings.CutSuffix(s, "min"); ok {
		s = number + "m"
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// String returns the Rate as ParseRate reads it: "20/s", "5000/h", "5/10s".
func (r Rate) String() string {
	if r == (Rate{}) {
		return unlimited
	}
	return strconv.Itoa(r.N) + "/" + period(r.Per)
}

func period(d time.Duration) string {
	switch d {
	case time.Second:
		return "s"
	case time.Minute:
		return "min"
	case time.Hour:
		return "h"
	case day:
		return "d"
	}
	if d > 0 && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns what String returns.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what [ParseRate] reads.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// mistake says what is wrong with r, "" if nothing is.
func (r Rate) mistake() string {
	switch {
	case r == (Rate{}):
		return ""
	case r.N < 1:
		return "the number must be at least 1"
	case r.N > maxN:
		return "the number must be at most 1000000000"
	case r.Per <= 0:
		return "the period must be longer than 0"
	case r.Per > maxPer:
		return "the period must be at most 366 days"
	}
	return ""
}

// gap is the even distance of starts, rounded up so that N+1 of them never fit
// in Per.
func (r Rate) gap() time.Duration { return ceilDiv(r.Per, time.Duration(r.N)) }

func ceilDiv[T ~int | ~int64](a, b T) T { return (a-1)/b + 1 }
