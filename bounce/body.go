package bounce

import (
	"strings"
)

// bodyText is what a report's own words say, for mailers that write no
// message/delivery-status, or one that says less than their words do.
type bodyText struct {
	report   []string      // lines of the report, without the original
	blocks   []textBlock   // addresses that lead a reason
	blamed   []string      // addresses in a sentence that tells of a failure
	others   []string      // all other addresses
	senders  []string      // addresses said to be the sender's
	status   *statusReport // fields of a delivery report in the text, else nil
	replies  []string      // replies that stand at no address
	original Header        // header of the original, below the report
	below    []string      // lines of the original
	folded   string        // see lower
	why      string        // see reason
}

// textBlock is an address with the reason that stands at it.
type textBlock struct {
	address string
	host    string   // server that was talked to, "" if not said
	reason  []string // lines
	line    int      // where it begins in the report
	end     int      // where it ends
	indent  int
	rcpt    bool // opened by a RCPT command of a transcript
	spread  bool // the reason stands elsewhere in the report

	coded      bool // cachedCode is set: see code
	cachedCode int
}

const maxBodyLines = 3000

// readBody reads the text of a report.
func readBody(text string) *bodyText {
	lines := splitLines(text)
	b := &bodyText{}
	b.report, b.original, b.below = cutOriginal(lines)
	if hasStatusFields(text) {
		if s := readStatus(strings.Join(b.report, "\n")); len(s.recipients) > 0 && s.recipients[0].named() {
			b.status = s
		}
	}
	s := bodyScanner{bodyText: b}
	for i, line := range b.report {
		s.line(i, line)
	}
	b.replies = append(s.reply, s.own...)
	b.spreadReasons()
	return b
}

func splitLines(text string) []string {
	lines := make([]string, 0, 64)
	for text != "" && len(lines) < maxBodyLines {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		lines = append(lines, strings.TrimRight(line, " \t\r"))
	}
	return lines
}

// hasStatusFields reports whether a text carries fields of a delivery report.
func hasStatusFields(text string) bool {
	for _, field := range []string{"Final-Recipient:", "Final-recipient:", "final-recipient:", "Original-Recipient:"} {
		if strings.Contains(text, field) {
			return true
		}
	}
	return false
}

// bodyScanner reads the lines of a report in turn.
type bodyScanner struct {
	*bodyText
	cur        *textBlock // open block, index is the last of blocks
	blank      bool       // an empty line came since cur's last
	transcript bool       // the lines are those of an SMTP session
	host       string     // "while talking to"
	reply      []string   // replies of the server that no address has claimed yet
	own        []string   // coded lines of the mailer itself, likewise
}

func (s *bodyScanner) line(i int, line string) {
	t := strings.TrimSpace(line)
	switch {
	case t == "":
		s.blank = true
	case s.session(i, t):
	case s.codedLine(i, t):
	case s.ledLine(i, line, t):
	default:
		s.sentence(i, t)
	}
}

// open begins a block.
func (s *bodyScanner) open(i, indent int, address string, reason ...string) {
	s.blocks = append(s.blocks, textBlock{address: address, host: s.host, line: i, end: i + 1, indent: indent})
	s.cur, s.blank = &s.blocks[len(s.blocks)-1], false
	for _, r := range reason {
		s.add(i, r)
	}
}

// add appends a line to the open block.
func (s *bodyScanner) add(i int, t string) {
	if t != "" && len(s.cur.reason) < 40 {
		s.cur.reason = append(s.cur.reason, t)
	}
	s.cur.end = i + 1
}

// session reads the lines of a transcript: "while talking to host:", commands
// after ">>>", replies after "<<<"; InterScan has the arrows the other way.
func (s *bodyScanner) session(i int, t string) bool {
	lower := strings.ToLower(t[:min(len(t), 200)])
	if at := strings.Index(lower, "while talking to "); at >= 0 {
		s.host = strings.Trim(t[min(len(t), at+len("while talking to ")):], " .:<>")
		s.transcript, s.cur, s.reply = true, nil, nil
		return true
	}
	if strings.Contains(lower, "transcript of ") {
		s.transcript, s.cur = true, nil
		return true
	}
	command, isCommand := cutAny(t, ">>> ", "Sent <<< ", "Sent: ", "--> ")
	if verb := strings.ToUpper(command[:min(len(command), 8)]); isCommand && isVerb(verb) {
		s.transcript, s.cur, s.reply = true, nil, nil
		if a := firstAddress(command); a != "" && strings.HasPrefix(verb, "RCPT") {
			s.open(i, 0, a)
			s.cur.rcpt = true
		}
		return true
	}
	if reply, ok := cutAny(t, "<<< ", "Received >>> ", "Received: ", "<-- "); ok && isCode(reply) {
		if s.transcript = true; s.cur != nil {
			s.add(i, reply)
		} else {
			s.reply = append(s.reply, reply)
		}
		return true
	}
	return false
}

func cutAny(s string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}

func isVerb(s string) bool {
	for _, v := range []string{"RCPT", "MAIL", "DATA", "EHLO", "HELO", "QUIT", "RSET", "BDAT", "STARTTLS", "."} {
		if strings.HasPrefix(s, v) {
			return true
		}
	}
	return false
}

// codedLine reads a line that begins with a reply code: in a transcript of
// sendmail it names the recipient ("554 <a@example.com>... Host unknown").
func (s *bodyScanner) codedLine(i int, t string) bool {
	if !isCode(t) || t[0] < '4' {
		return false
	}
	inBlock := s.cur != nil && !s.blank
	address := codedAddress(t)
	switch {
	case address != "" && s.cur != nil && strings.EqualFold(s.cur.address, address):
		s.add(i, t)
	case address != "" && (s.transcript || !inBlock):
		if len(s.reply) == 0 { // else the server's words count, not what the mailer makes of them
			s.reply = append(s.own, t)
		}
		s.open(i, 0, address, s.reply...)
		s.reply, s.own = nil, nil
	case inBlock && (s.cur.rcpt || !s.transcript), s.cur != nil && len(s.cur.reason) == 0:
		s.add(i, t)
	default:
		if s.own = append(s.own, t); !s.transcript {
			s.blamed = addNew(s.blamed, addresses(t)...)
		}
	}
	return true
}

// codedAddress returns the address right behind the codes of a reply.
func codedAddress(t string) string {
	rest := strings.TrimLeft(t[3:], " -#")
	_, rest = cutStatus(rest)
	rest = strings.TrimLeft(rest, " <\"'")
	if start, end := nextAddress(rest, 0); start == 0 {
		if tail := strings.TrimLeft(rest[end:], ">\"'"); tail == "" || strings.HasPrefix(tail, ".") || strings.HasPrefix(tail, ":") || strings.HasPrefix(tail, " ") {
			return rest[:end]
		}
	}
	return ""
}

// ledLine reads a line that an address leads, after bullets or a label, as in
// "<a@example.com>: host said ..." and "Recipient: a@example.com".
func (s *bodyScanner) ledLine(i int, line, t string) bool {
	if !strings.Contains(t, "@") {
		return false
	}
	indent := len(line) - len(strings.TrimLeft(line, " \t"))
	if s.cur != nil && !s.blank && indent > s.cur.indent && !s.transcript {
		return false // it belongs to the open block
	}
	u := strings.TrimLeft(t, " \t*->•·=\"'`<([|")
	label, rest := cutLabel(u)
	if label == labelSender {
		s.senders = addNew(s.senders, addresses(rest)...)
		return true
	}
	if label == labelRecipient {
		u = strings.TrimLeft(rest, " \t\"'`<([|")
		if n := strings.IndexByte(u, '<'); n > 0 && n < 60 && firstAddress(u[:n]) == "" {
			u = u[n+1:] // a name before the address
		}
	}
	if name, ok := cutName(u); ok && label == 0 {
		u = name
	}
	u = cutAddressType(u)
	start, end := nextAddress(u, 0)
	if start != 0 {
		return false
	}
	address, tail := u[:end], cutMailto(u[end:])
	if label == 0 && !leads(tail) || label == 0 && tail == "" && isRole(address) {
		return false
	}
	s.open(i, indent, address, s.reply...)
	if s.reply = nil; strings.Trim(tail, ".>") != "" {
		s.add(i, strings.Trim(tail, " \t:,;-|"))
	}
	return true
}

// cutAddressType removes "rfc822;" (RFC 3464 §2.1.2) and Exchange's "SMTP:".
func cutAddressType(u string) string {
	for _, t := range []string{"rfc822;", "smtp:", "smtp;"} {
		if len(u) > len(t) && strings.EqualFold(u[:len(t)], t) {
			return strings.TrimLeft(u[len(t):], " <")
		}
	}
	return u
}

// cutName removes a name before an address in brackets, if the line is nothing
// else: "Jane Doe <jane@example.com>".
func cutName(u string) (string, bool) {
	n := strings.IndexByte(u, '<')
	if n < 1 || n > 60 || strings.Count(u[:n], " ") > 4 || strings.ContainsAny(u[:n], "@:") || mentionsFailure(u[:n]) {
		return u, false
	}
	if _, end := nextAddress(u, n); end < 0 || strings.Trim(u[end:], "> \t:") != "" {
		return u, false
	}
	return u[n+1:], true
}

// cutMailto removes the brackets at an address, and the link that some programs
// make of it.
func cutMailto(tail string) string {
	tail = strings.TrimLeft(tail, ">\"'`)]")
	if rest, ok := cutAny(tail, "<mailto:", " <mailto:", " (mailto:", "(mailto:", " [mailto:", "<"); ok && firstAddress(rest) != "" {
		_, end := nextAddress(rest, 0)
		tail = strings.TrimLeft(rest[end:], ">)]\"'")
	}
	return strings.TrimSpace(tail)
}

// leads reports whether the text behind an address makes it the head of a block.
func leads(tail string) bool {
	if tail == "" || strings.IndexByte(":,;([-|.", tail[0]) >= 0 {
		return true
	}
	return strings.HasPrefix(tail, "on ") || isCode(tail) || mentionsFailure(tail)
}

// sentence takes a line of text into the open block, or notes the addresses in it.
func (s *bodyScanner) sentence(i int, t string) {
	if s.cur != nil && !s.blank {
		if !isMailField(t) { // a summary of the original
			s.add(i, t)
		}
		return
	}
	if !strings.Contains(t, "@") {
		return
	}
	around := t
	if i > 0 {
		around = s.report[i-1] + " " + t
	}
	if i+1 < len(s.report) {
		around += " " + s.report[i+1]
	}
	if mentionsFailure(around) {
		s.blamed = addNew(s.blamed, addresses(t)...)
	} else {
		s.others = addNew(s.others, addresses(t)...)
	}
}

// spreadReasons gives the blocks that have no reason of their own the text that
// follows the last of them, else the lines before.
func (b *bodyText) spreadReasons() {
	for i := len(b.blocks) - 1; i >= 0; i-- {
		blk := &b.blocks[i]
		if len(blk.reason) > 0 {
			continue
		}
		if i+1 < len(b.blocks) && b.blocks[i+1].line-blk.end <= 1 && b.onlySpread(i+1) {
			blk.reason, blk.spread = b.blocks[i+1].reason, true
			continue
		}
		next := len(b.report)
		if i+1 < len(b.blocks) {
			next = b.blocks[i+1].line
		}
		from := 0
		if i > 0 {
			from = b.blocks[i-1].end
		}
		before, after := lastParagraph(b.report[from:blk.line]), textLines(b.report[blk.end:next])
		if blk.reason, blk.spread = after, true; len(after) == 0 || mentionsFailure(strings.Join(before, " ")) && !mentionsFailure(strings.Join(after, " ")) {
			blk.reason = before
		}
	}
}

// onlySpread reports whether a block has no words at its address.
func (b *bodyText) onlySpread(i int) bool { return b.blocks[i].end == b.blocks[i].line+1 }

// textLines returns the lines with words in them, up to some.
func textLines(lines []string) (kept []string) {
	for _, line := range lines {
		t := strings.TrimSpace(line)
		if t != "" && len(kept) < 40 && !strings.HasPrefix(t, "---") && strings.Trim(t, "-=*_#~") != "" {
			kept = append(kept, t)
		}
	}
	return kept
}

func lastParagraph(lines []string) []string {
	end := len(lines)
	for end > 0 && strings.TrimSpace(lines[end-1]) == "" {
		end--
	}
	start := end
	for start > 0 && strings.TrimSpace(lines[start-1]) != "" {
		start--
	}
	return textLines(lines[start:end])
}
