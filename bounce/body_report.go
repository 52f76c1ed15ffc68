package bounce

import "strings"

// failure reads a report that has no part for machines. It takes signs of who
// wrote it and of what it says: an ordinary mail about bounces has only the
// second.
func (j *judge) failure() bool {
	h := j.mail.header
	failed := addresses(strings.Join(j.allFields("X-Failed-Recipients"), ","))
	origin, score := j.origin()
	if len(failed) > 0 {
		origin, score = origin+3, score+5
	}
	delayed, bounced := delaySubjects.in(j.subject), bounceSubjects.in(j.subject)
	if (bounced || delayed) && (!j.reply || origin >= 3) {
		score += 3
	}
	if origin == 0 && (score == 0 || j.reply || h.Get("In-Reply-To") != "" && !bounced) {
		return false
	}
	b := j.readBody()
	score += b.evidence()
	sure := len(failed) > 0 || b.status != nil || b.quotes() || b.names() && j.mail.first(partOriginal) != nil ||
		(bounced || delayed) && !j.reply && (b.names() || j.mail.first(partOriginal) != nil)
	if score < 5 || origin < 3 && (!sure || j.isList()) || origin == 0 && !b.beginsAsReport() {
		return false
	}
	if origin < 3 && !b.quotes() && len(failed) == 0 && j.away() {
		return false
	}
	fate := FateFailed
	final, still := b.says(finalPhrases) || b.refused(), b.says(delayPhrases)
	switch { // the subject alone may be that of the original
	case successSubjects.in(j.subject) && len(failed) == 0 && !final:
		fate = FateDelivered
	case still && (delayed || !final), delayed && !final:
		fate = FateDelayed
	}
	j.failedRecipients(fate, failed)
	return true
}

func (j *judge) allFields(name string) (values []string) {
	for _, f := range j.mail.header {
		if equalName(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// origin judges by the header whether a mail system wrote the mail; score is
// what that counts among the signs of a report.
func (j *judge) origin() (origin, score int) {
	h := j.mail.header
	from := strings.ToLower(h.Get("From"))
	switch {
	case daemons.in(from) || strings.Trim(from, " <>") == "" && h.Get("From") != "":
		origin = 3
	case postmasters.in(from):
		origin = 2
	}
	if rp := h.Get("Return-Path"); rp != "" {
		if rp = strings.ToLower(strings.TrimSpace(rp)); rp == "<>" || strings.Contains(rp, "mailer-daemon") {
			origin += 2
		}
	}
	if strings.HasPrefix(h.Get("Auto-Submitted"), "auto-replied") && bounceSubjects.in(j.subject) {
		origin++
	}
	if j.mail.kind == "multipart/report" && parameterIs(j.mail.params, "report-type", "delivery-status") {
		origin += 4
	}
	for _, name := range []string{"X-MX-Bounce", "X-Mailer-Daemon-Recipients", "X-Bounce-Report", "X-MLServer"} {
		if h.Get(name) != "" {
			origin += 2
		}
	}
	if origin > 0 && j.mail.first(partOriginal) != nil {
		score++
	}
	return origin, score + min(origin, 5)
}

func parameterIs(params, name, value string) bool {
	return strings.EqualFold(parameter(params, name), value)
}

// evidence counts the signs of a report in its text.
func (b *bodyText) evidence() int {
	n := 0
	if b.status != nil {
		n += 4
	}
	if b.says(reportPhrases) {
		n += 3
	}
	if b.quotes() {
		n += 3
	}
	if b.names() {
		n++
	}
	return n
}

// quotes reports whether the report quotes a refusal with its code.
func (b *bodyText) quotes() bool {
	for i := range b.blocks {
		if b.blocks[i].code() >= 400 {
			return true
		}
	}
	return len(b.replies) > 0
}

// refused reports whether a reply at an address is a permanent one.
func (b *bodyText) refused() bool {
	for i := range b.blocks {
		if b.blocks[i].code() >= 500 {
			return true
		}
	}
	return false
}

// names reports whether the report puts a failure on an address.
func (b *bodyText) names() bool { return len(b.blocks)+len(b.blamed) > 0 }

// says reports whether the report has one of the phrases, which are in lower case.
func (b *bodyText) says(phrases *phraseSet) bool { return phrases.in(b.lower()) }

// lower returns the report in lower case on one line.
func (b *bodyText) lower() string {
	if b.folded == "" {
		text := strings.Join(b.report, " ")
		b.folded = strings.ToLower(strings.Join(strings.Fields(cutText(text, 8<<10)), " ")) + " "
	}
	return b.folded
}

// beginsAsReport reports whether the text begins with the words of a report,
// not with somebody's about one, and quotes what a server said.
func (b *bodyText) beginsAsReport() bool {
	head := b.lower()[:min(len(b.lower()), 120)]
	return (b.quotes() || b.status != nil) && openings.in(head) && !hasPrefixAny(head, greetings)
}

// failedRecipients names the recipients, by the surest sign there is.
func (j *judge) failedRecipients(fate Fate, failed []string) {
	b := j.readBody()
	switch {
	case b.status != nil && len(failed) == 0:
		for i := range b.status.recipients {
			if rc := &b.status.recipients[i]; rc.action == "" && fate == FateDelayed {
				rc.action = "delayed"
			}
		}
		j.statusReport(b.status)
		j.recipients(b.status)
		return
	case len(failed) == 0:
		if failed = b.addresses(j.excluded(), j.originalTo()); len(failed) == 0 && j.nested() {
			return
		}
		if len(failed) == 0 {
			failed = b.localNames(j.rep.From)
		}
		if len(failed) == 0 {
			failed = j.originalRecipients()
		}
		if len(failed) == 0 {
			failed = without(b.others, j.excluded())
		}
	}
	for _, a := range failed {
		rc := Recipient{Address: a, Fate: fate}
		if fate != FateDelivered {
			j.explainByText(&rc, len(failed) == 1)
		}
		j.rep.Recipients = append(j.rep.Recipients, rc)
	}
	j.rep.Class = map[Fate]ReportClass{FateFailed: Bounce, FateDelayed: Delayed, FateDelivered: Delivered}[fate]
}

// nested reads the report that this one returns, if it names nobody itself: a
// gateway has wrapped it.
func (j *judge) nested() bool {
	text := ""
	for _, p := range j.mail.parts {
		if p.nested {
			text = p.text()
		}
	}
	if text == "" && isReportHeader([]byte(headerText(j.readBody().original))) {
		text = strings.Join(j.readBody().below, "\n")
	}
	if text == "" || j.depth > 0 {
		return false
	}
	l := newLines(strings.NewReader(text), int64(len(text)))
	defer l.close()
	m, err := walk(l, defaultMaxDepth)
	if err != nil {
		return false
	}
	in := newJudge(j.Parser, m)
	in.depth = j.depth + 1
	inner := in.report()
	if inner.Class != Bounce && inner.Class != Delayed || len(inner.Recipients) == 0 {
		return false
	}
	inner.From, inner.SentTo, inner.Subject, inner.Date = j.rep.From, j.rep.SentTo, j.rep.Subject, j.rep.Date
	*j.rep = *inner
	return true
}

// explainByText finds the words about a recipient. A reason elsewhere in the
// report counts for one that is alone in it.
func (j *judge) explainByText(rc *Recipient, alone bool) {
	b := j.readBody()
	if blk := b.blockOf(rc.Address, ""); blk != nil {
		rc.Diagnostic, rc.RemoteMTA, rc.Status = blk.text(), blk.host, blk.status()
	} else if alone && len(b.blocks) == 1 {
		rc.Diagnostic, rc.RemoteMTA, rc.Status = b.blocks[0].text(), b.blocks[0].host, b.blocks[0].status()
	}
	quoted := quotesReply(rc.Diagnostic)
	if !quoted && len(b.replies) > 0 {
		rc.Diagnostic = strings.Join(b.replies, " ")
		quoted = quotesReply(rc.Diagnostic)
	}
	if rc.Diagnostic == "" || alone && !quoted && quotesReply(b.reason()) {
		rc.Diagnostic = b.reason()
	}
	words := rc.Diagnostic
	if alone {
		words = b.lower()
	}
	j.judgeReply(rc, rc.Diagnostic, words)
}

// excluded are addresses that are not the failed ones unless the report marks
// them so: its own author, and the sender it went to.
func (j *judge) excluded() []string {
	return addNew(append([]string{}, j.rep.SentTo...), j.rep.From)
}

// addresses returns the failed recipients by the text: those at which a reason
// stands, else those in a sentence about a failure. Of several those count to
// whom the original went, for the others may be whom to ask.
func (b *bodyText) addresses(excluded, to []string) (found []string) {
	excluded = append(excluded, b.senders...)
	var sure []string
	for i := range b.blocks {
		blk := &b.blocks[i]
		if blk.rcpt || blk.code() >= 400 {
			sure = addNew(sure, blk.address)
		}
		if len(b.blocks) == 1 || blk.rcpt || blk.code() >= 400 || !hasAddress(excluded, blk.address) {
			found = addNew(found, blk.address)
		}
	}
	if len(found) == 0 {
		found = without(b.blamed, excluded)
	}
	if len(found) == 0 && len(b.blocks) > 0 {
		return []string{b.blocks[0].address} // the sender wrote to himself
	}
	written := common(found, to)
	if len(written)+len(sure) == 0 {
		written = common(b.blamed, to)
	}
	if len(written) > 0 {
		return addNew(written, sure...)
	}
	return found
}

// without returns the addresses that are not excluded and not those of a role.
func without(list, excluded []string) (kept []string) {
	for _, a := range list {
		if !hasAddress(excluded, a) && !isRole(a) {
			kept = append(kept, a)
		}
	}
	return kept
}

func common(list, other []string) (kept []string) {
	for _, a := range list {
		if hasAddress(other, a) {
			kept = append(kept, a)
		}
	}
	return kept
}

// originalTo returns the recipients that the returned message names.
func (j *judge) originalTo() []string {
	original := j.rep.Original
	if len(original) == 0 {
		original = j.readBody().original
	}
	return addNew(addresses(original.Get("To")), addresses(original.Get("Cc"))...)
}

// originalRecipients takes the recipients from the returned message, if it had
// only one, else from the return path.
func (j *judge) originalRecipients() []string {
	if to := j.originalTo(); len(to) == 1 {
		return to
	}
	if r := verpIn(j.rep.SentTo); r != "" {
		return []string{r}
	}
	return nil
}

// blockOf returns the block of an address, nil if there is none. Of several the
// one that quotes a reply counts.
func (b *bodyText) blockOf(address, other string) *textBlock {
	var found *textBlock
	for i := range b.blocks {
		blk := &b.blocks[i]
		if !strings.EqualFold(blk.address, address) && (other == "" || !strings.EqualFold(blk.address, other)) {
			continue
		}
		if blk.code() >= 400 {
			return blk
		}
		if found == nil || found.spread && !blk.spread {
			found = blk
		}
	}
	return found
}

func (blk *textBlock) text() string { return cutText(strings.Join(blk.reason, " "), 4<<10) }

// code returns the code of the reply that the reason quotes, 0 if it quotes none.
func (blk *textBlock) code() int {
	if !blk.coded {
		blk.coded, blk.cachedCode = true, ParseReply(blk.text()).Code
	}
	return blk.cachedCode
}

// status finds an enhanced status without a reply code at the head of a line.
func (blk *textBlock) status() Status {
	for _, line := range blk.reason {
		if st, n := scanStatus(line); n > 0 {
			return st
		}
	}
	return Status{}
}

// localNames reads a list of local parts alone, as AOL gave it: the domain is
// that of the reporter.
func (b *bodyText) localNames(from string) (found []string) {
	at := strings.LastIndexByte(from, '@')
	for i, line := range b.report {
		if lower := strings.ToLower(line); at < 0 || !strings.HasSuffix(line, ":") || !strings.Contains(lower, "not be delivered") && !strings.Contains(lower, "not delivered") {
			continue
		}
		for _, name := range b.report[i+1:] {
			if name = strings.TrimSpace(name); name == "" && len(found) == 0 {
				continue
			}
			name, _, _ = strings.Cut(name, "   ") // the reason, in a column
			if name == "" || strings.ContainsAny(name, " @:,<>()") || len(name) > maxLocalPart {
				break
			}
			found = addNew(found, name+from[at:])
		}
		break
	}
	return found
}
