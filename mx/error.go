package mx

import (
	"fmt"
	"strconv"
)

var failureNames = [...]string{
	Temporary: "temporary",
	NoDomain:  "no domain",
	NullMX:    "null MX",
	NoHosts:   "no hosts",
	Loop:      "loop",
	BadDomain: "bad domain",
}

// String returns the failure in a word or two, such as "null MX".
func (f Failure) String() string {
	if int(f) < len(failureNames) {
		return failureNames[f]
	}
	return "failure " + strconv.Itoa(int(f))
}

var failureTexts = [...]string{
	Temporary: "%s: no answer from the DNS for now, a later try may get one",
	NoDomain:  "%s does not exist (NXDOMAIN)",
	NullMX:    "%s takes no mail (null MX, RFC 7505)",
	NoHosts:   "%s has no usable mail server",
	Loop:      "%s: the best mail server is this system itself",
	BadDomain: "%q is not a domain",
}

// Error says which domain, what is wrong with it and, where known, why.
func (e *Error) Error() string {
	text := "%s: unknown failure"
	if int(e.Failure) < len(failureTexts) {
		text = failureTexts[e.Failure]
	}
	text = "mx: " + fmt.Sprintf(text, e.Domain)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether a later try may succeed.
func (e *Error) Temporary() bool { return e.Failure == Temporary }
