package bounce

import (
	"math"
	"strings"
	"time"
)

// maxHint bounds a wait that a reply asks for; a longer one counts as this.
const maxHint = 24 * time.Hour

// hintCues are the words of which one stands before a number that is a wait
// ("try again in 5 minutes"), in the few characters that hintReach allows.
var hintCues = []string{"again", "retry", "retries", "wait", "delay", "back in", "after", "greylist", "graylist", "grey-list", "blocked for", "limited for", "deferred for", "remaining", "reconnect", "erneut", "minutos", "réessay"}

const hintReach = 48

// retryHint finds the wait that a reply's folded text asks for, 0 if none.
func retryHint(text string) time.Duration {
	for i := 0; i < len(text); i++ {
		if !isDigit(text[i]) {
			continue
		}
		n, end := number(text, i)
		cue := text[max(0, i-hintReach):i]
		if d := duration(text[i:], n, end-i); d > 0 && hasCue(cue) {
			return min(d, maxHint)
		}
		i = end
	}
	return 0
}

func hasCue(s string) bool {
	for _, c := range hintCues {
		if strings.Contains(s, c) {
			return true
		}
	}
	return false
}

// duration reads one or more numbers with units ("1 hour and 30 minutes", "5m"),
// or hh:mm:ss. n is the first number and end where it ends.
func duration(s string, n int, end int) time.Duration {
	if d, ok := clock(s); ok {
		return d
	}
	var sum time.Duration
	for {
		unit, width := timeUnit(strings.TrimLeft(s[end:], " -"))
		if unit == 0 {
			return sum
		}
		if n > int(maxHint/unit) {
			return maxHint
		}
		sum += time.Duration(n) * unit
		s = strings.TrimLeft(strings.TrimLeft(s[end:], " -")[width:], " ,")
		s = strings.TrimPrefix(s, "and ")
		if s == "" || !isDigit(s[0]) {
			return sum
		}
		n, end = number(s, 0)
	}
}

// clock reads hh:mm:ss.
func clock(s string) (time.Duration, bool) {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' || len(s) > 8 && (isDigit(s[8]) || s[8] == ':') {
		return 0, false
	}
	var sum int
	for _, i := range []int{0, 3, 6} {
		if !isDigit(s[i]) || !isDigit(s[i+1]) {
			return 0, false
		}
		sum = sum*60 + int(s[i]-'0')*10 + int(s[i+1]-'0')
	}
	return time.Duration(sum) * time.Second, true
}

// number reads the digits at s[i:]; one too large becomes math.MaxInt32.
func number(s string, i int) (n, end int) {
	for ; i < len(s) && isDigit(s[i]); i++ {
		n = min(n*10+int(s[i]-'0'), math.MaxInt32)
	}
	return n, i
}

var timeUnits = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"second(s)": time.Second, "sekunden": time.Second, "segundos": time.Second, "secondes": time.Second, "secondi": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"minute(s)": time.Minute, "minuten": time.Minute, "minutos": time.Minute, "minuti": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour, "hour(s)": time.Hour,
	"stunden": time.Hour, "heures": time.Hour, "horas": time.Hour, "ore": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
}

// timeUnit reads the unit at the start of s and returns its length.
func timeUnit(s string) (time.Duration, int) {
	n := 0
	for n < len(s) && (isLetter(s[n]) || s[n] == '(' && n > 0 || s[n] == ')' && n > 0 && s[n-1] == 's') {
		n++
	}
	if u, ok := timeUnits[s[:n]]; ok {
		return u, n
	}
	return 0, 0
}
