package suppress

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// field is what a column can hold.
type field int

const (
	fieldAddress field = iota
	fieldStream
	fieldCause
	fieldCategory
	fieldSource
	fieldTime
	fieldExpires
	fields // how many there are
)

// fieldNames are the names that columns have here and in the exports of other
// systems, as plainName gives them. Where a file has several columns for one
// field, the earlier name counts; but a second one for the cause is its source.
var fieldNames = [fields][]string{
	fieldAddress:  {"email", "emailaddress", "address", "recipient", "mail", "emailid", "subscriber", "contact"},
	fieldStream:   {"stream", "messagestream", "list", "listname", "group", "groupname"},
	fieldCause:    {"cause", "suppressionreason", "suppressiontype", "bouncetype", "type", "reason", "status"},
	fieldCategory: {"category", "class", "classification"},
	fieldSource:   {"source", "description", "error", "details", "diagnostic", "message", "bouncereason", "origin", "code"},
	fieldTime: {"createdat", "created", "time", "timestamp", "date", "datetime", "dateadded", "addedat", "added",
		"suppressedat", "bouncedat", "unsubscribedat", "cleantime", "unsubtime", "lastupdatetime", "updated", "updatedat"},
	fieldExpires: {"expiresat", "expires", "expiry", "expireson", "until"},
}

// plainName drops what names differ in: case, blanks, punctuation.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// causeWords are the words for causes, as plainName gives them.
var causeWords = map[string]Cause{
	"softbounces": SoftBounces, "softbounce": SoftBounces, "soft": SoftBounces, "transient": SoftBounces,
	"temporarybounce": SoftBounces,

	"hardbounce": HardBounce, "hardbounces": HardBounce, "hardbounced": HardBounce, "hard": HardBounce, "bounce": HardBounce,
	"bounced": HardBounce, "bounces": HardBounce, "permanent": HardBounce, "permanentbounce": HardBounce,
	"invalid": HardBounce, "invalidemail": HardBounce, "bouncerule": HardBounce, "cleaned": HardBounce,
	"undeliverable": HardBounce, "bademailaddress": HardBounce,

	"manual": Manual, "manuallyadded": Manual, "manualsuppression": Manual, "admin": Manual, "blacklist": Manual,
	"blocklist": Manual, "rejectblacklist": Manual, "suppressed": Manual, "suppression": Manual, "customer": Manual,
	"compliance": Manual, "import": Manual, "imported": Manual, "globalsuppression": Manual, "spamtrap": Manual,

	"unsubscribed": Unsubscribed, "unsubscribe": Unsubscribed, "unsubscribes": Unsubscribed, "unsub": Unsubscribed,
	"optout": Unsubscribed, "optedout": Unsubscribed, "groupunsubscribe": Unsubscribed, "listunsubscribe": Unsubscribed,
	"unsubscribelink": Unsubscribed, "linkunsubscribe": Unsubscribed, "globalunsubscribe": Unsubscribed,

	"complained": Complained, "complaint": Complained, "complaints": Complained, "spam": Complained, "spamreport": Complained,
	"spamreports": Complained, "spamcomplaint": Complained, "abuse": Complained, "abusecomplaint": Complained,
	"feedbackloop": Complained, "fbl": Complained, "markedasspam": Complained,
}

// noCauses are words, as plainName gives them, for what is no cause: of lists
// that are not for suppression, and of blocks, which say nothing about an address.
var noCauses = map[string]bool{
	"subscribed": true, "active": true, "confirmed": true, "optedin": true, "optin": true, "valid": true, "deliverable": true,
	"delivered": true, "sent": true, "opened": true, "clicked": true,
	"block": true, "blocks": true, "blocked": true,
}

// parseCause reads a word for a cause.
func parseCause(s string) (Cause, bool) {
	if len(s) > 40 {
		return 0, false // a sentence
	}
	c, ok := causeWords[plainName(s)]
	return c, ok
}

// timeForms are the forms of time that exports have, besides seconds since
// 1970. Without a zone they are UTC. Those that leave open which number is the
// month are not among them.
var timeForms = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 -0700 MST", "2006-01-02 15:04", time.DateOnly, "2006/01/02 15:04:05", "2006/01/02",
	time.RFC1123Z, time.RFC1123, "Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04:05 -0700",
	"2 Jan 2006", "Jan 2, 2006", "Jan 2, 2006 15:04:05", time.ANSIC, time.UnixDate,
}

// parseTime reads a time in any of the usual forms.
func parseTime(s string) (time.Time, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return parseUnix(s, n)
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: give it as 2006-01-02T15:04:05Z", clip(s, 60))
}

// parseUnix reads seconds since 1970, or, if that would be thousands of years
// ahead, milliseconds. Numbers that are more likely something else, such as
// 20261121, are refused.
func parseUnix(s string, n float64) (time.Time, error) {
	const year2001, year2200 = 1e9, 7.3e9
	switch {
	case n >= year2001 && n < year2200:
	case n >= 1000*year2001 && n < 1000*year2200:
		n /= 1000
	default:
		return time.Time{}, fmt.Errorf("%q is no time in seconds since 1970", clip(s, 60))
	}
	seconds, rest := math.Modf(n)
	return time.Unix(int64(seconds), int64(rest*1e3+0.5)*1e6).UTC(), nil
}
