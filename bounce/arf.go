package bounce

import (
	"net/netip"
	"strconv"
	"strings"
)

// feedbackReport is a message/feedback-report (RFC 5965 §3).
type feedbackReport struct {
	Feedback
	recipients   []string
	reportingMTA string
	envelopeID   string
	arrival      string
}

func readFeedback(text string) *feedbackReport {
	f := &feedbackReport{Feedback: Feedback{Incidents: 1}}
	for name, value := range fields(text) {
		switch strings.ToLower(name) {
		case "feedback-type":
			f.Type = strings.ToLower(value)
		case "user-agent":
			f.UserAgent = value
		case "source-ip", "source":
			f.SourceIP, _ = netip.ParseAddr(strings.Trim(value, "[] "))
		case "original-mail-from":
			f.OriginalMailFrom = firstAddress(value)
		case "original-rcpt-to", "removal-recipient", "x-hmxmroriginalrecipient":
			f.recipients = addNew(f.recipients, addresses(value)...)
		case "reported-domain":
			f.ReportedDomain = value
		case "reported-uri":
			f.ReportedURI = value
		case "auth-failure":
			f.AuthFailure = strings.ToLower(value)
		case "delivery-result":
			f.DeliveryResult = strings.ToLower(value)
		case "incidents":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				f.Incidents = n
			}
		case "reporting-mta":
			f.reportingMTA = hostOf(value)
		case "original-envelope-id":
			f.envelopeID = decodeXtext(value)
		case "arrival-date", "received-date":
			f.arrival = value
		}
	}
	if f.Type == "" {
		f.Type = "abuse"
	}
	return f
}

func addNew(list []string, more ...string) []string {
	for _, a := range more {
		if len(list) < maxRecipients && !hasAddress(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// lookalike is a feedback loop that does not write ARF: who writes it, or how
// its subject begins, in lower case. It must return the original, too.
type lookalike struct{ from, subject string }

var lookalikes = []lookalike{
	{from: "staff@hotmail.com"},               // Microsoft JMRP
	{subject: "complaint about message from"}, // Microsoft JMRP
	{from: "scomp@aol.net"},                   // AOL before ARF
	{subject: "client tos notification"},      // AOL before ARF
	{subject: "email feedback report for ip"}, // AOL
	{subject: "[spamcop ("},                   // SpamCop
	{subject: "abuse report"},                 // several
	{subject: "spam report"},                  // several
	{subject: "spam complaint"},               // several
	{subject: "complaint report"},             // several
	{subject: "fbl report"},                   // several
	{from: "feedbackloop@"},                   // Return Path and others
	{from: "fbl@"}, {from: "fbl-report@"},     // several
	{from: "feedback@arf."}, {from: "fbl-bounce@"},
}

// isLookalike recognises a complaint that is no ARF.
func (m *mimeMail) isLookalike(from, subject string) bool {
	if m.header.Get("X-XARF") != "" || m.header.Get("X-ARF") != "" { // xarf.org
		return true
	}
	from, subject = strings.ToLower(from), strings.ToLower(subject)
	for _, l := range lookalikes {
		if l.from != "" && strings.HasPrefix(from, l.from) || l.subject != "" && strings.HasPrefix(subject, l.subject) {
			return m.first(partOriginal) != nil
		}
	}
	return false
}
