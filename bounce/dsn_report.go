package bounce

import (
	"strconv"
	"strings"
)

// delivery reads a delivery report with its machine-readable part.
func (j *judge) delivery() bool {
	var all statusReport
	for _, p := range j.mail.parts {
		if p.kind != partStatus {
			continue
		}
		s := readStatus(p.text())
		if all.reportingMTA == "" {
			all.reportingMTA, all.envelopeID, all.messageID, all.arrival = s.reportingMTA, s.envelopeID, s.messageID, s.arrival
		}
		all.recipients = append(all.recipients, s.recipients...)
	}
	j.statusReport(&all)
	if len(all.recipients) == 0 {
		return false
	}
	if !all.recipients[0].named() {
		j.nameRecipients(&all)
	}
	if !all.recipients[0].named() {
		return false
	}
	j.recipients(&all)
	return true
}

// statusReport takes the fields of the whole report.
func (j *judge) statusReport(s *statusReport) {
	if s.reportingMTA != "" {
		j.rep.ReportingMTA = s.reportingMTA
	}
	if s.messageID != "" {
		j.rep.MessageID = s.messageID
	}
	if s.envelopeID != "" {
		j.rep.EnvelopeID = s.envelopeID
	}
	if !s.arrival.IsZero() {
		j.rep.ArrivalDate = s.arrival
	}
}

// nameRecipients takes the addresses from the text where the fields have none.
func (j *judge) nameRecipients(s *statusReport) {
	found := addresses(j.mail.header.Get("X-Failed-Recipients"))
	if len(found) == 0 {
		found = j.readBody().addresses(j.excluded(), j.originalTo())
	}
	for i := range min(len(found), len(s.recipients)) {
		s.recipients[i].final = found[i]
	}
}

// recipients sorts the recipients by their fate and decides the class.
func (j *judge) recipients(s *statusReport) {
	var by [FateExpanded + 1][]Recipient
	for i := range s.recipients {
		rc := s.recipients[i].recipient()
		if rc.Fate == FateUnknown {
			rc.Fate = j.wordedFate()
		}
		if rc.Address == "" {
			continue
		}
		if rc.Fate == FateFailed || rc.Fate == FateDelayed {
			j.explain(&rc)
		}
		by[rc.Fate] = append(by[rc.Fate], rc)
	}
	reached := append(append(by[FateDelivered], by[FateRelayed]...), by[FateExpanded]...)
	switch {
	case len(by[FateFailed]) > 0:
		j.rep.Class, j.rep.Recipients = Bounce, dropRepeated(by[FateFailed])
		j.rep.Others = append(by[FateDelayed], reached...)
	case len(by[FateDelayed]) > 0:
		j.rep.Class, j.rep.Recipients, j.rep.Others = Delayed, dropRepeated(by[FateDelayed]), reached
	default:
		j.rep.Class, j.rep.Recipients = Delivered, reached
	}
}

// dropRepeated keeps the first report of each address, unless a later one has
// the reply that it lacks.
func dropRepeated(list []Recipient) []Recipient {
	kept := list[:0]
	for _, rc := range list {
		i := 0
		for i < len(kept) && !strings.EqualFold(kept[i].Address, rc.Address) {
			i++
		}
		if i == len(kept) {
			kept = append(kept, rc)
		} else if kept[i].Reply.Code == 0 && rc.Reply.Code != 0 {
			kept[i] = rc
		}
	}
	return kept
}

// wordedFate is what the subject says where the fields say nothing.
func (j *judge) wordedFate() Fate {
	switch {
	case delaySubjects.in(j.subject):
		return FateDelayed
	case successSubjects.in(j.subject):
		return FateDelivered
	}
	return FateFailed
}

// explain says why a recipient failed: by the diagnostic, by the report's words
// where that has none.
func (j *judge) explain(rc *Recipient) {
	why := rc.Diagnostic
	if !hasWords(why) {
		b := j.readBody()
		if blk := b.blockOf(rc.Address, rc.Original); blk != nil {
			why = blk.text()
			if rc.RemoteMTA == "" {
				rc.RemoteMTA = blk.host
			}
		}
		if replies := strings.Join(b.replies, " "); !quotesReply(why) && quotesReply(replies) {
			why = replies
		}
		if reason := b.reason(); why == "" || !hasWords(why) && quotesReply(reason) {
			why = reason
		}
	}
	if rc.Diagnostic == "" {
		rc.Diagnostic = why
	}
	j.judgeReply(rc, why, why)
}

// hasWords reports whether a diagnostic is more than a type and a number, as in
// "X-Unix; 255".
func hasWords(diagnostic string) bool {
	text := strings.TrimSpace(cutType(diagnostic))
	return strings.Contains(text, " ") && !equalName(text, "delivery error") || len(text) > 8 && quotesReply(text)
}

// judgeReply reads the reply out of the text that says why, and classifies it.
// A reason without a reply may stand in any of the words.
func (j *judge) judgeReply(rc *Recipient, why, words string) {
	r := ParseReply(why)
	if r.Code != 0 && r.Code < 400 { // a number that is no refusal
		r.Code, r.Text = 0, cutType(why)
	}
	if r.Status == (Status{}) {
		r.Status = furtherStatus(why, r)
	}
	if r.Status[0] == 2 {
		r.Status = Status{}
	}
	if r.Status == (Status{}) || r.Status[1] == 0 && r.Status[2] == 0 && rc.Status[1] != 0 && r.Status[0] == rc.Status[0] {
		r.Status = rc.Status
	}
	rc.Status = r.Status
	if rc.RemoteMTA == "" {
		rc.RemoteMTA = r.Host
	}
	if r.Host == "" {
		r.Host = rc.RemoteMTA
	}
	rc.Reply = r
	if r.Code == 0 && r.Status[1] == 0 && r.Status[2] == 0 {
		if st := impliedStatus(words); st != (Status{}) {
			r.Status, r.Text = st, ""
		}
	}
	if r.Code == 0 && r.Status == (Status{}) { // final or not, the report itself says
		if r.Status = (Status{5, 0, 0}); rc.Fate == FateDelayed {
			r.Status = StatusExpired // on the way to it, for no reason given
		}
	}
	rc.Class = j.classify(r)
}

// furtherStatus finds a status at the head of a line, or behind the second of
// two codes ("550 550 5.1.1 ...").
func furtherStatus(why string, r Reply) Status {
	for text := r.Text; text != ""; {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if st, n := scanStatus(line); n > 0 {
			return st
		}
	}
	if r.Code == 0 {
		return Status{}
	}
	code := strconv.Itoa(r.Code) + " "
	for {
		i := strings.Index(why, code)
		if i < 0 {
			return Status{}
		}
		why = why[i+len(code):]
		if st, n := scanStatus(why); n > 0 {
			return st
		}
	}
}

// disposition reads a disposition notification (RFC 8098): the mail was
// delivered, whatever became of it then.
func (j *judge) disposition() bool {
	p := j.mail.first(partMDN)
	if p == nil {
		return false
	}
	rc := Recipient{Fate: FateDelivered}
	for name, value := range fields(p.text()) {
		switch {
		case equalName(name, "Final-Recipient"):
			rc.Address = typedAddress(value)
		case equalName(name, "Original-Recipient"):
			rc.Original = typedAddress(value)
		case equalName(name, "Original-Message-ID"):
			j.rep.MessageID = messageID(value)
		case equalName(name, "Disposition"):
			rc.Diagnostic = value
		}
	}
	if rc.Address == "" {
		rc.Address = j.rep.From
	}
	if strings.EqualFold(rc.Original, rc.Address) {
		rc.Original = ""
	}
	if j.rep.Class = Delivered; rc.Address != "" {
		j.rep.Recipients = []Recipient{rc}
	}
	return true
}
