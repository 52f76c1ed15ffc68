package bounce

import "strings"

// cutOriginal separates a report from the message it returns in its text. The
// original begins at a line that announces it, or where a header begins; a
// summary of a few fields is no original, its report goes on behind it. Below
// are the lines of the original.
func cutOriginal(lines []string) (report []string, original Header, below []string) {
	from := 0
	for i := 0; i < len(lines); i++ {
		t := strings.TrimLeft(lines[i], " \t>")
		if len(t) < 3 {
			continue
		}
		if announces(t) {
			return append(report, lines[from:i]...), append(original, firstHeader(lines[i+1:])...), lines[i+1:]
		}
		if !isMailField(t) {
			continue
		}
		end, known, full := headerBlock(lines, i)
		switch {
		case full && known >= 2:
			return append(report, lines[from:i]...), append(original, textHeader(lines[i:end])...), lines[i:]
		case known >= 3:
			report = append(report, lines[from:i]...)
			original = append(original, textHeader(lines[i:end])...)
			from, i = end, end-1
		}
	}
	return append(report, lines[from:]...), original, nil
}

// announcements begin the line above a returned message; dashed ones have a
// rule of dashes or the like around them.
var (
	announcements = []string{
		"below this line is", "original message headers", "original message header", "original message follows", "the original message follows", "message headers follow", "message header follow",
		"included is a copy of", "below is a copy of", "original mail as follows", "a copy of the original message", "a copy of your message", "here is a copy of", "the header of the original", "headers of the original",
		"original message:", "your original message:", "the original message was:", "message text follows", "received headers of your message", "your message reads", "message headers:", "original headers:",
		"ursprüngliche nachrichtenkopfzeilen", "ursprüngliche nachricht:", "kopfzeilen der ursprünglichen", "en-têtes de message d'origine", "en-têtes du message d'origine", "encabezados de mensaje originales", "encabezados del mensaje original", "intestazioni originali del messaggio", "intestazioni messaggio originale", "cabeçalhos de mensagens originais", "cabeçalhos originais", "oorspronkelijke berichtkoppen", "исходные заголовки", "原始邮件", "元のメッセージ",
	}
	dashed = newPhrases("original me", "original mail", "copy of", "returned me", "unsent me", "undelivered me", "header", "message follows", "text follows", "below this line", "forwarded me", "rejected me", "your original", "message text follows", "ursprüngliche", "mensaje original", "message d'origine", "message original", "messaggio originale", "mensagem original", "oorspronkelijk", "исходное", "原始", "元の")
)

func announces(t string) bool {
	if len(t) > 160 {
		return false
	}
	lower := strings.ToLower(t)
	body := strings.TrimLeft(lower, "-=*_+~# \t")
	rule := len(lower) - len(body)
	if rule >= 2 || rule == 1 && lower[0] == '-' {
		if dashed.in(body) && !strings.Contains(body, "original message was received") {
			return true
		}
	}
	for _, a := range announcements {
		if strings.HasPrefix(body, a) {
			return true
		}
	}
	return false
}

// mailFields are the fields by which a header is known.
var mailFields = []string{"Received", "Return-Path", "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "DKIM-Signature", "Delivered-To", "X-Original-To", "Content-Transfer-Encoding", "DomainKey-Signature", "Reply-To", "Sender", "X-Originating-IP", "X-Mailer"}

// tellingFields are those that only a whole header has, not a summary.
var tellingFields = []string{"Received", "Return-Path", "MIME-Version", "Content-Type", "DKIM-Signature", "X-Originating-IP", "DomainKey-Signature"}

func isMailField(t string) bool {
	name, _, ok := cutField(t)
	return ok && containsName(mailFields, name)
}

func containsName(list []string, name string) bool {
	for _, n := range list {
		if equalName(n, name) {
			return true
		}
	}
	return false
}

// headerBlock returns where the header that begins at lines[i] ends, how many
// of its fields are known, and whether it is a whole one.
func headerBlock(lines []string, i int) (end, known int, full bool) {
	indent := len(lines[i]) - len(strings.TrimLeft(lines[i], " \t>"))
	for end = i; end < len(lines); end++ {
		line := lines[end]
		if strings.TrimSpace(line) == "" {
			break
		}
		own := len(line) - len(strings.TrimLeft(line, " \t>"))
		name, _, ok := cutField(line[own:])
		if own > indent && end > i {
			continue // folded
		}
		if !ok {
			break
		}
		if containsName(mailFields, name) {
			known++
		}
		full = full || containsName(tellingFields, name)
	}
	return end, known, full
}

// textHeader reads a header that may be indented or quoted.
func textHeader(lines []string) Header {
	if len(lines) == 0 {
		return nil
	}
	indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " \t>"))
	var b strings.Builder
	for _, line := range lines {
		own := len(line) - len(strings.TrimLeft(line, " \t>"))
		b.WriteString(line[min(own, indent):])
		b.WriteByte('\n')
	}
	return readHeader(b.String())
}

// firstHeader returns the first header in lines.
func firstHeader(lines []string) Header {
	for i, line := range lines {
		if i > 40 {
			break
		}
		t := strings.TrimLeft(line, " \t>")
		if name, _, ok := cutField(t); !ok || len(name) > 40 {
			continue
		}
		end, known, _ := headerBlock(lines, i)
		if known > 0 {
			return textHeader(lines[i:end])
		}
	}
	return nil
}
