package bounce

import (
	"cmp"
	"strings"
)

// markedReason returns the text behind words that announce a server's answer.
func (b *bodyText) markedReason() string {
	for i, line := range b.report {
		lower := strings.ToLower(line)
		for _, mark := range answerMarks {
			at := strings.Index(lower, mark)
			if at < 0 || len(lower) != len(line) {
				continue
			}
			rest := []string{strings.TrimLeft(line[at+len(mark):], ": ")}
			for _, more := range b.report[i+1 : min(len(b.report), i+6)] {
				if strings.TrimSpace(more) == "" && strings.TrimSpace(strings.Join(rest, "")) != "" {
					break
				}
				rest = append(rest, more)
			}
			if text := strings.Join(textLines(rest), " "); text != "" {
				return text
			}
		}
	}
	return ""
}

// reason returns the words that most likely say why: a paragraph with a reply,
// else what stands behind words such as "the response was", else a paragraph
// that calls itself a reason, else all.
func (b *bodyText) reason() string {
	if b.why == "" {
		b.why = b.findReason()
	}
	return b.why
}

func (b *bodyText) findReason() string {
	var short, marked string
	for from := 0; from < len(b.report); {
		to := from
		for to < len(b.report) && strings.TrimSpace(b.report[to]) != "" {
			to++
		}
		paragraph := strings.Join(textLines(b.report[from:to]), " ")
		if r := ParseReply(paragraph); r.Code >= 400 && len(r.Text) >= 8 {
			return cutText(paragraph, 2<<10)
		} else if r.Code >= 400 && short == "" {
			short = paragraph
		}
		if marked == "" && reasonMarks.in(strings.ToLower(paragraph)) {
			marked = cutText(paragraph, 2<<10)
		}
		from = to + 1
	}
	if answer := b.markedReason(); short != "" || answer != "" || marked != "" {
		return cmp.Or(short, answer, marked)
	}
	return cutText(strings.Join(textLines(b.report), " "), 1<<10)
}
