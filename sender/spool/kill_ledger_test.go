package spool

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/volleymail/volley/sender"
)

// killLedger is what all processes reported.
type killLedger struct {
	accepted int                   // Submit returned nil for all messages before this one
	refused  map[int]bool          // but for these: their campaign was canceled
	canceled map[string]bool       // campaigns that some process was told to cancel
	results  map[string]killResult // by recipient
	waiting  map[string]bool       // accepted recipients without a result
	repeated int                   // results that were reported more than once
	lost     map[string]int        // recipients whose fate was unknown when a process began, and how often
	last     map[string]bool       // those when the last process began
	listed   map[string]bool       // those when this one began
	marked   int                   // lost recipients, at all kills
	unacked  int                   // results that this process has not acknowledged
	faults   []string
}

// killResult is the fate of a recipient.
type killResult struct {
	sender.Result
	text string // JSON
}

func newKillLedger() *killLedger {
	return &killLedger{refused: map[int]bool{}, canceled: map[string]bool{}, results: map[string]killResult{}, waiting: map[string]bool{}, lost: map[string]int{}}
}

func (l *killLedger) fault(format string, a ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, a...))
}

// begin notes that a process begins.
func (l *killLedger) begin() { l.listed, l.unacked = map[string]bool{}, 0 }

// note enters a line that a process reported.
func (l *killLedger) note(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "submitted", "refused":
		n, err := strconv.Atoi(rest)
		switch {
		case err != nil:
			l.fault("a torn line: %q", line)
		case word == "refused":
			l.refused[n] = true
		default:
			l.submitted(n)
		}
	case "result":
		l.unacked++
		l.result(rest)
	case "acknowledged":
		l.unacked = 0
	case "lost":
		l.listed[killRecipient(rest)] = true
	case "opened":
		l.opened()
	case "opening", "ready", "closing", "ended":
	default:
		l.fault("a strange line: %q", line)
	}
}

// submitted notes that Submit has accepted all messages before n, but for those
// that it refused.
func (l *killLedger) submitted(n int) {
	for ; l.accepted < n; l.accepted++ {
		for _, to := range killRecipients(l.accepted) {
			if _, ended := l.results[to]; !ended && !l.refused[l.accepted] {
				l.waiting[to] = true
			}
		}
	}
}

// result enters a result. One that comes again must be the same to the letter.
func (l *killLedger) result(text string) {
	var r sender.Result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		l.fault("%v in %q", err, text)
		return
	}
	to := killRecipient(r.Recipient)
	if _, i, _ := killParse(to); r.Message == nil || r.Message.ID != strconv.Itoa(i) || r.Message.Tags["n"] != r.Message.ID {
		l.fault("the result of another message: %s", text)
	}
	if before, known := l.results[to]; known {
		l.repeated++
		if before.text != text {
			l.fault("two fates of a recipient:\n%s\n%s", before.text, text)
		}
	}
	l.results[to] = killResult{r, text}
	delete(l.waiting, to)
}

// opened looks at the recipients of unknown fate. The processes before cannot
// have had more on the wire than their connections hold: one message that is
// under way, and one behind it. Where connections are cut there are others:
// those that wait in memory for the try after an unknown end keep their marks.
func (l *killLedger) opened() {
	transactions := map[string]bool{}
	for to := range l.listed {
		l.lost[to]++
		if !l.last[to] {
			l.marked++
			_, i, domain := killParse(to)
			if domain != killCutDomain {
				transactions[fmt.Sprint(i, domain)] = true
			}
		}
	}
	if len(transactions) > 2*killConns {
		l.fault("%d transactions were marked at a kill, with %d connections: %v", len(transactions), killConns, slices.Sorted(maps.Keys(transactions)))
	}
	l.last = l.listed
}

// check compares what was reported with what the server took over. unsaid is
// what it took over without saying so.
func (l *killLedger) check(accepted, unsaid map[string]int) []string {
	faults := &killLedger{faults: slices.Clone(l.faults)}
	known := map[string]bool{}
	for i := range l.accepted {
		for _, to := range killRecipients(i) {
			known[to] = true
			r, ended := l.results[to]
			switch {
			case ended:
				l.checkFate(to, r, accepted[to], unsaid[to], faults)
			case !l.refused[i]:
				faults.fault("%s has no result: it is lost", to)
			case accepted[to] > 0:
				faults.fault("%s was refused by Submit, and sent", to)
			}
		}
	}
	for _, to := range slices.Sorted(maps.Keys(l.results)) {
		if !known[to] {
			faults.fault("%s has a result and was not submitted", to)
		}
	}
	for _, to := range slices.Sorted(maps.Keys(accepted)) {
		if !known[to] {
			faults.fault("%s was sent and not submitted", to)
		}
	}
	return faults.faults
}

// checkFate judges a recipient that the server took over n times, unsaid times
// without saying so.
func (l *killLedger) checkFate(to string, r killResult, n, unsaid int, faults *killLedger) {
	kind, i, domain := killParse(to)
	doubt := l.lost[to] + unsaid
	sure := killSure(i)
	bad := func(why string) {
		faults.fault("%s %s: taken over %d times, unsaid %d, lost %d: %s", to, why, n, unsaid, l.lost[to], r.text)
	}
	switch r.Outcome {
	case sender.Sent:
		switch {
		case n == 0:
			bad("is not sent")
		case n > 1 && !sure:
			bad("was sent twice")
		case n-1 > doubt && domain != killCutDomain: // there replies are lost with their connections
			bad("was sent again without need")
		}
	case sender.Unknown:
		switch {
		case sure:
			bad("should have been tried again")
		case n > 1:
			bad("was sent twice")
		case doubt == 0 && domain != killCutDomain:
			bad("is not unknown")
		}
		return
	default: // what is tried again after an unknown end may be canceled before it is
		if n > 0 && (!sure || n > doubt && domain != killCutDomain) { // there replies are lost with their connections
			bad("was sent, and it is said that it was not")
		}
	}
	switch {
	case !sure && doubt > 0:
		bad("should be unknown")
	case r.Outcome == sender.Canceled && !l.canceled[r.Message.Campaign]:
		bad("was not canceled")
	case r.Outcome == sender.Rejected && kind != "bad" && kind != "dotbad" && kind != "malformed":
		bad("was not rejected")
	case r.Outcome == sender.Deferred && kind != "never" && domain != killCutDomain:
		bad("should have been tried again")
	case (r.Err == nil) != (r.Outcome == sender.Sent):
		bad("has the wrong error")
	}
}
