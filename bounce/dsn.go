package bounce

import (
	"strings"
	"time"
)

// statusReport is a message/delivery-status (RFC 3464, RFC 6533), or the same
// fields found in a text.
type statusReport struct {
	reportingMTA string
	envelopeID   string
	messageID    string
	arrival      time.Time
	recipients   []statusRecipient
}

// statusRecipient is a group of per-recipient fields (RFC 3464 §2.3).
type statusRecipient struct {
	final, original, actual string // addresses
	action, status          string
	diagnostic, remoteMTA   string
	lastAttempt, retryUntil time.Time
}

// maxRecipients bounds the recipients of one report.
const maxRecipients = 1000

// readStatus reads the fields of a delivery report. What separates recipients
// is that a field comes again, or that an address opens a new group: empty
// lines alone are not to be trusted.
func readStatus(text string) *statusReport {
	s := &statusReport{}
	var cur *statusRecipient
	newGroup := true
	next := func() *statusRecipient {
		if len(s.recipients) >= maxRecipients {
			return &statusRecipient{}
		}
		s.recipients = append(s.recipients, statusRecipient{})
		return &s.recipients[len(s.recipients)-1]
	}
	for name, value := range fields(text) {
		if name == "" {
			newGroup = true
			continue
		}
		if s.messageField(name, value) {
			continue
		}
		slot := slotOf(name)
		if slot == 0 {
			continue
		}
		if cur == nil || cur.has(slot) || newGroup && slot <= slotOriginal && cur.named() {
			if cur == nil || !(cur.has(slot) && slot >= slotDiagnostic) {
				cur = next()
			}
		}
		newGroup = false
		cur.set(slot, value)
	}
	return s
}

// fields yields the fields of a text, unfolded, and an empty name for each
// empty line. Lines that are no field are passed over.
func fields(text string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for text != "" {
			var line string
			line, text, _ = strings.Cut(text, "\n")
			if strings.TrimSpace(line) == "" {
				if !yield("", "") {
					return
				}
				continue
			}
			name, value, ok := cutField(strings.TrimLeft(line, " \t>"))
			if !ok {
				continue
			}
			for strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\t") {
				var more string
				if more, _, _ = strings.Cut(text, "\n"); strings.TrimSpace(more) == "" || isStatusField(more) {
					break
				}
				_, text, _ = strings.Cut(text, "\n")
				value += " " + strings.TrimSpace(more)
			}
			if !yield(name, strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// isStatusField recognises a field that a mailer has indented.
func isStatusField(line string) bool {
	name, _, ok := cutField(strings.TrimSpace(line))
	return ok && slotOf(name) != 0
}

func (s *statusReport) messageField(name, value string) bool {
	switch {
	case equalName(name, "Reporting-MTA"):
		if s.reportingMTA == "" {
			s.reportingMTA = hostOf(value)
		}
	case equalName(name, "Original-Envelope-Id"):
		s.envelopeID = decodeXtext(value)
	case equalName(name, "X-Original-Message-ID"):
		s.messageID = messageID(value)
	case equalName(name, "Arrival-Date"):
		s.arrival = parseDate(value)
	default:
		return false
	}
	return true
}

// hostOf reads "dns; mx.example.com" (RFC 3464 §2.2.2) and "dns;mx (comment)".
func hostOf(value string) string {
	if _, rest, ok := strings.Cut(value, ";"); ok {
		value = rest
	}
	value, _, _ = strings.Cut(strings.TrimSpace(value), " ")
	if !strings.HasPrefix(value, "[") {
		value, _, _ = strings.Cut(value, "[")
	}
	return strings.TrimSuffix(strings.Trim(value, "<>()"), ".")
}

// The fields of a recipient, by slot.
const (
	slotFinal = 1 + iota
	slotOriginal
	slotActual
	slotAction
	slotStatus
	slotDiagnostic // from here on: once more does not begin another recipient
	slotRemote
	slotLast
	slotRetry
)

var statusFields = []string{slotFinal: "Final-Recipient", slotOriginal: "Original-Recipient", slotActual: "X-Actual-Recipient", slotAction: "Action", slotStatus: "Status", slotDiagnostic: "Diagnostic-Code", slotRemote: "Remote-MTA", slotLast: "Last-Attempt-Date", slotRetry: "Will-Retry-Until"}

func slotOf(name string) int {
	for slot, field := range statusFields {
		if slot > 0 && equalName(name, field) {
			return slot
		}
	}
	return 0
}

// field returns the text field of a slot, nil if it is a date.
func (r *statusRecipient) field(slot int) *string {
	switch slot {
	case slotFinal:
		return &r.final
	case slotOriginal:
		return &r.original
	case slotActual:
		return &r.actual
	case slotAction:
		return &r.action
	case slotStatus:
		return &r.status
	case slotDiagnostic:
		return &r.diagnostic
	case slotRemote:
		return &r.remoteMTA
	}
	return nil
}

func (r *statusRecipient) has(slot int) bool {
	f := r.field(slot)
	return f != nil && *f != ""
}

func (r *statusRecipient) named() bool { return r.final != "" || r.original != "" }

func (r *statusRecipient) set(slot int, value string) {
	switch slot {
	case slotFinal, slotOriginal, slotActual:
		*r.field(slot) = typedAddress(value)
	case slotRemote:
		r.remoteMTA = hostOf(value)
	case slotLast:
		r.lastAttempt = parseDate(value)
	case slotRetry:
		r.retryUntil = parseDate(value)
	case slotDiagnostic:
		if r.diagnostic == "" || quotesReply(value) && !quotesReply(r.diagnostic) {
			r.diagnostic = value
		}
	default:
		*r.field(slot) = value
	}
}

// quotesReply reports whether a text quotes a refusal with its code.
func quotesReply(text string) bool { return ParseReply(text).Code >= 400 }

// fate reads the Action, or concludes it from the status.
func (r *statusRecipient) fate() Fate {
	action := strings.ToLower(strings.TrimSpace(r.action))
	for _, a := range []struct {
		prefix string
		fate   Fate
	}{{"fail", FateFailed}, {"delay", FateDelayed}, {"deliver", FateDelivered}, {"relay", FateRelayed}, {"expand", FateExpanded}, {"expire", FateFailed}} {
		if strings.HasPrefix(action, a.prefix) {
			return a.fate
		}
	}
	switch {
	case strings.HasPrefix(r.status, "2"):
		return FateDelivered
	case strings.HasPrefix(r.status, "5"), action != "":
		return FateFailed
	}
	return FateUnknown
}

// recipient returns what the report says. The address is the final one; where
// that is none (a local name, an X.400 address) but the original one is, that.
func (r *statusRecipient) recipient() Recipient {
	rc := Recipient{Address: r.final, Original: r.original, Fate: r.fate(), Diagnostic: r.diagnostic, RemoteMTA: r.remoteMTA, LastAttempt: r.lastAttempt, WillRetryUntil: r.retryUntil}
	if !strings.Contains(rc.Address, "@") {
		for _, other := range []string{r.original, r.actual} {
			if strings.Contains(other, "@") {
				rc.Address = other
				break
			}
		}
	}
	if strings.EqualFold(rc.Original, rc.Address) {
		rc.Original = ""
	}
	rc.Status = statusIn(r.status)
	return rc
}

// statusIn reads a Status field, which may have a comment behind it.
func statusIn(value string) Status {
	for i := range min(len(value), 32) {
		if st, n := scanStatus(value[i:]); n > 0 {
			return st
		}
	}
	return Status{}
}
