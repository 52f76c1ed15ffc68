package bounce

import (
	"strings"
	"unicode/utf8"
)

// maxReplyText bounds what ParseReply looks at. Real replies are shorter than a
// kilobyte; RFC 5321 §4.5.3.1.5 allows 512 octets to a line.
const maxReplyText = 8 << 10

// ParseReply reads a reply of one line or more ("550-5.1.1 No such user\r\n550
// 5.1.1 Goodbye"), also where a report has folded it into one line, put it
// behind a type as in Diagnostic-Code ("smtp; 550 ..."), or quotes it in a
// sentence ("host mx.example.com[192.0.2.1] said: 550 ... (in reply to RCPT TO
// command)"); there it takes Host and Stage from the sentence. Codes that are
// missing stay zero. It looks at the first 8 KB and never fails: a text without
// any code becomes Text.
func ParseReply(text string) Reply {
	text = cutText(text, maxReplyText)
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	text = cutType(strings.TrimSpace(text))

	var r Reply
	start, ok := findCode(text)
	if ok {
		if start > 0 {
			r.Host = quotedHost(text[:start])
		}
		r.Code = int(text[start]-'0')*100 + int(text[start+1]-'0')*10 + int(text[start+2]-'0')
	}
	text, r.Stage = cutCommand(text, start)
	if !ok {
		r.Status, text = cutStatus(strings.TrimLeft(text, " #[("))
	} else {
		code := text[start : start+3]
		folded := strings.HasPrefix(text[start+3:], "-")
		text = text[start+3:]
		if text != "" {
			text = text[1:] // what isCode takes for the end of a code
		}
		r.Status, text = cutStatus(strings.TrimLeft(text, " \n#"))
		text = unfold(text, code, r.Status, folded)
	}
	if r.Status == (Status{}) {
		r.Status = markedStatus(text)
	}
	r.Text = tidyLines(text)
	return r
}

// ParseStatus reads an enhanced status code such as "5.1.1" (RFC 3463 §2). It
// reports false for anything else, also for text behind the code.
func ParseStatus(text string) (Status, bool) {
	s, n := scanStatus(text)
	return s, n > 0 && n == len(text)
}

// cutText returns the first max bytes of s or a few less: no character is halved.
func cutText(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// cutType removes the diagnostic-type of RFC 3464 §2.3.6, such as "smtp;".
func cutType(s string) string {
	kind, rest, ok := strings.Cut(s, ";")
	if !ok || len(kind) > 40 || kind == "" || isDigit(kind[0]) || strings.ContainsAny(kind, " \n:<>@") {
		return s
	}
	return strings.TrimSpace(rest)
}

// findCode returns where the reply code stands: at the start, else where a
// sentence, or a positive reply as "220-host 421 4.7.0 ...", quotes a refusal.
func findCode(s string) (int, bool) {
	lead := len(s) - len(strings.TrimLeft(s, " \"'#<(["))
	first := isCode(s[lead:])
	if first && s[lead] >= '4' {
		return lead, true
	}
	for i := lead; i+3 <= len(s); i++ {
		if s[i] != '4' && s[i] != '5' || isDigit(before(s, i)) || !isCode(s[i:]) {
			continue
		}
		if statusFollows(s, i) || !first && quoted(s, i) {
			return i, true
		}
	}
	if !first {
		lead = len(s)
	}
	return lead, first
}

// isCode reports whether s starts with three digits that can be a reply code
// (RFC 5321 §4.2) and end as one.
func isCode(s string) bool {
	if len(s) < 3 || s[0] < '2' || s[0] > '5' || s[1] < '0' || s[1] > '5' || !isDigit(s[2]) {
		return false
	}
	return len(s) == 3 || strings.IndexByte(" -\n:,;'\"#", s[3]) >= 0
}

// statusFollows reports whether the code at s[i], in the middle of a text, is
// shown to be one by a status behind it.
func statusFollows(s string, i int) bool {
	if len(s) < i+4 || strings.IndexByte(" \n\t:;\"'#(<[", before(s, i)) < 0 {
		return false
	}
	_, n := scanStatus(s[i+4:])
	return n > 0
}

// quoted reports whether the code at s[i] in the middle of a text is that of a
// reply and not some number: it is the head of a folded line, or a colon, quote
// or the like leads in.
func quoted(s string, i int) bool {
	if rest := s[i+3:]; strings.HasPrefix(rest, "-") && len(rest) > 1 && !isDigit(rest[1]) && before(s, i) == ' ' {
		return true
	}
	lead := strings.TrimRight(s[:i], " \n")
	return lead != "" && strings.IndexByte(":;\"'#<", lead[len(lead)-1]) >= 0
}

func before(s string, i int) byte {
	if i == 0 {
		return ' '
	}
	return s[i-1]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// cutStatus takes a status from the start of s.
func cutStatus(s string) (Status, string) {
	st, n := scanStatus(s)
	if n == 0 {
		return Status{}, s
	}
	if n < len(s) && strings.IndexByte(":)]-", s[n]) >= 0 {
		n++
	}
	return st, strings.TrimLeft(s[n:], " ")
}

// scanStatus reads a status at the start of s and returns its length, 0 if there
// is none: three numbers, not four as in an IP address or a version.
func scanStatus(s string) (Status, int) {
	if len(s) < 5 || s[1] != '.' || (s[0] != '2' && s[0] != '4' && s[0] != '5') {
		return Status{}, 0
	}
	st := Status{uint16(s[0] - '0')}
	n := 2
	for part := 1; part <= 2; part++ {
		digits := 0
		for n < len(s) && isDigit(s[n]) && digits < 4 {
			st[part] = st[part]*10 + uint16(s[n]-'0')
			n++
			digits++
		}
		if digits == 0 || digits == 4 { // RFC 3463 §2: at most three digits
			return Status{}, 0
		}
		if part == 1 {
			if n >= len(s) || s[n] != '.' {
				return Status{}, 0
			}
			n++
		}
	}
	if n < len(s) && (isLetter(s[n]) || s[n] == '_' || s[n] == '.' && n+1 < len(s) && isDigit(s[n+1])) {
		return Status{}, 0
	}
	return st, n
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// markedStatus finds a status inside the text if a mark shows that it is one:
// "(#5.1.1)" of qmail, "[5.1.1]", or a second reply quoted in the first.
func markedStatus(s string) Status {
	for i := 1; i < len(s); i++ {
		if strings.IndexByte("#([", s[i-1]) < 0 && !(i >= 4 && s[i-1] == ' ' && isCode(s[i-4:])) {
			continue
		}
		if st, n := scanStatus(s[i:]); n > 0 {
			return st
		}
	}
	return Status{}
}

// unfold puts the lines of a reply that was folded into one line back, and
// removes the codes at their heads.
func unfold(s, code string, st Status, folded bool) string {
	if !strings.Contains(s, code) {
		return s
	}
	var b strings.Builder
	for i, from := 0, 0; ; {
		at := strings.Index(s[i:], code)
		if at < 0 {
			b.WriteString(s[from:])
			return b.String()
		}
		i += at
		if n := lineHead(s, i, code, st, folded); n > 0 {
			b.WriteString(s[from:i])
			b.WriteByte('\n')
			i += n
			from = i
		} else {
			i += len(code)
		}
	}
}

// lineHead returns the length of the codes at s[i:] if a line of the reply
// starts there, else 0.
func lineHead(s string, i int, code string, st Status, folded bool) int {
	if c := before(s, i); c != ' ' && c != '\n' || !strings.HasPrefix(s[i:], code) || !isCode(s[i:]) {
		return 0
	}
	n := min(4, len(s)-i)
	if _, m := scanStatus(s[i+n:]); m > 0 && strings.HasPrefix(s[i+n:], st.String()) {
		return n + m
	}
	atStart := i > 0 && s[i-1] == '\n'
	hyphen := n == 4 && s[i+3] == '-'
	if atStart || folded && (hyphen || n == 4 && s[i+3] == ' ') && i > 0 {
		return n
	}
	return 0
}

// tidyLines trims each line and drops the empty ones.
func tidyLines(s string) string {
	if !strings.Contains(s, "\n") {
		return strings.TrimSpace(s)
	}
	lines := strings.Split(s, "\n")
	kept := lines[:0]
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// commands are the words for a stage in "(in reply to ... command)".
var commands = []struct {
	word  string
	stage Stage
}{
	{"rcpt", StageRcpt}, {"mail", StageMail}, {"end of data", StageBody}, {"data", StageData},
	{"bdat", StageBody}, {"ehlo", StageHello}, {"helo", StageHello}, {"starttls", StageTLS},
	{"auth", StageAuth}, {"initial server greeting", StageGreeting},
}

// cutCommand reads and removes Postfix's "(in reply to RCPT TO command)" and
// reads Exim's "after RCPT TO:<...>" before the code at start.
func cutCommand(s string, start int) (string, Stage) {
	if i := strings.Index(s, "(in reply to "); i >= start {
		return s[:i], stageOf(s[i+len("(in reply to "):])
	}
	if i := strings.Index(s[:start], " after "); i >= 0 {
		return s, stageOf(s[i+len(" after "):])
	}
	return s, StageNone
}

func stageOf(s string) Stage {
	for _, c := range commands {
		if len(s) >= len(c.word) && strings.EqualFold(s[:len(c.word)], c.word) {
			return c.stage
		}
	}
	return StageNone
}

// quotedHost reads the server's name from "host mx.example.com[192.0.2.1] said:"
// (Postfix) and "host mx.example.com [192.0.2.1]:" (Exim).
func quotedHost(s string) string {
	i := strings.LastIndex(s, "host ")
	if i < 0 {
		return ""
	}
	s = s[i+len("host "):]
	if n := strings.IndexAny(s, " [:\n"); n >= 0 {
		s = s[:n]
	}
	if !strings.Contains(s, ".") {
		return ""
	}
	return strings.TrimSuffix(s, ".")
}
