package bounce

import (
	"strings"
)

// feedback reads a feedback loop's report (RFC 5965).
func (j *judge) feedback() bool {
	p := j.mail.first(partFeedback)
	if p == nil {
		return false
	}
	f := readFeedback(p.text())
	j.rep.Feedback = &f.Feedback
	j.rep.ReportingMTA, j.rep.EnvelopeID, j.rep.ArrivalDate = f.reportingMTA, f.envelopeID, parseDate(f.arrival)
	j.complaint(f.recipients)
	if strings.HasPrefix(f.Type, "opt-out") || strings.HasPrefix(f.Type, "unsubscribe") {
		j.rep.Class = Unsubscribe
	}
	return true
}

// lookalike reads a complaint that is not written as ARF.
func (j *judge) lookalike() bool {
	if !j.mail.isLookalike(j.rep.From, j.rep.Subject) {
		return false
	}
	j.readWords()
	f := readFeedback(j.words)
	f.Type = "abuse"
	j.rep.Feedback = &f.Feedback
	j.complaint(f.recipients)
	return true
}

// complainants are fields of the original in which loops leave the recipient.
var complainants = []string{"X-HmXmrOriginalRecipient", "X-Original-Recipient", "X-Original-To", "Delivered-To", "X-Apparently-To", "Envelope-To", "X-Envelope-To"}

// complaint names who complains: as the report says, else as the original does,
// for many loops remove it only from the report.
func (j *judge) complaint(recipients []string) {
	j.rep.Class = Complaint
	for i := 0; len(recipients) == 0 && i < len(complainants); i++ {
		recipients = addresses(j.rep.Original.Get(complainants[i]))
	}
	if to := addresses(j.rep.Original.Get("To")); len(recipients) == 0 && len(to) == 1 {
		recipients = to
	}
	for _, a := range recipients {
		j.rep.Recipients = append(j.rep.Recipients, Recipient{Address: a})
	}
}
