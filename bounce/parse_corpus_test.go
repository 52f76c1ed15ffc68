package bounce

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var mailCorpora = []string{"sisimai", "sisimai-eol", "crisp", "arf"}

type corpusMail struct {
	ID, File  string
	Classes   []string
	Cluster   string
	MTA       string `json:"reporting_mta"`
	MessageID string `json:"original_message_id"`
	Expected  []struct {
		Recipient  []string
		Status     string
		Code       int
		Category   []string
		SoftOrHard string `json:"soft_or_hard"`
		Diagnostic string
	}
}

func readMails(tb testing.TB, name string) (rows []corpusMail) {
	f, err := os.Open(filepath.Join(corpusDir(tb), name+".jsonl"))
	require.NoError(tb, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row corpusMail
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &row))
		rows = append(rows, row)
	}
	require.NoError(tb, lines.Err())
	return rows
}

// mailScore counts right and scored answers, by what is asked.
type mailScore map[string]*[2]int

var mailColumns = []string{"class", "recipients", "status", "code", "category", "primary", "hard", "not-hard", "mta", "message-id", "diagnostic"}

func (s mailScore) count(what string, ok bool) bool {
	if s[what] == nil {
		s[what] = new([2]int)
	}
	if s[what][1]++; ok {
		s[what][0]++
	}
	return ok
}

func (s mailScore) add(o mailScore) {
	for what, n := range o {
		if s[what] == nil {
			s[what] = new([2]int)
		}
		s[what][0] += n[0]
		s[what][1] += n[1]
	}
}

func (s mailScore) share(what string) float64 {
	if s[what] == nil {
		return 100
	}
	return percent(s[what][0], s[what][1])
}

func (s mailScore) String() string {
	var b strings.Builder
	for _, what := range mailColumns {
		if n := s[what]; n != nil {
			fmt.Fprintf(&b, " %s %.1f%% (%d/%d)", what, s.share(what), n[0], n[1])
		}
	}
	return b.String()
}

// TestMailCorpora prints how well Parse does on labelled mails, and holds it to
// what the project promises.
func TestMailCorpora(t *testing.T) {
	sum := mailScore{}
	for _, name := range mailCorpora {
		s := mailScore{}
		for _, row := range readMails(t, name) {
			data, err := os.ReadFile(filepath.Join(corpusDir(t), row.File))
			require.NoError(t, err)
			s.add(scoreMail(t, &row, string(data)))
		}
		t.Logf("%-12s%v", name, s)
		sum.add(s)
	}
	t.Logf("%-12s%v", "all", sum)
	require.GreaterOrEqual(t, sum.share("class"), 97.0)
	require.GreaterOrEqual(t, sum.share("recipients"), 97.0)
	require.GreaterOrEqual(t, sum.share("category"), 88.0)
}

func scoreMail(t *testing.T, row *corpusMail, mail string) mailScore {
	s := mailScore{}
	rep, err := Parse(strings.NewReader(mail))
	require.NoError(t, err, row.ID)
	var wrong []string
	count := func(what string, ok bool, got, want any) {
		if !s.count(what, ok) && what != "primary" {
			wrong = append(wrong, fmt.Sprintf("%s %v, want %v", what, got, want))
		}
	}
	count("class", slices.Contains(row.Classes, rep.Class.String()), rep.Class, row.Classes)
	if row.MTA != "" {
		count("mta", strings.EqualFold(row.MTA, rep.ReportingMTA), rep.ReportingMTA, row.MTA)
	}
	if row.MessageID != "" {
		count("message-id", row.MessageID == rep.MessageID, rep.MessageID, row.MessageID)
	}
	scoreRecipients(row, rep, count)
	if len(wrong) > 0 {
		t.Logf("%s: %s", row.ID, strings.Join(wrong, "; "))
	}
	return s
}

func scoreRecipients(row *corpusMail, rep *Report, count func(what string, ok bool, got, want any)) {
	var got, want []string
	for _, rc := range rep.Recipients {
		got = append(got, rc.Address)
	}
	scored, found := true, true
	for _, e := range row.Expected {
		if len(e.Recipient) == 0 {
			scored = false
			continue
		}
		want = append(want, e.Recipient[0])
		i := slices.IndexFunc(rep.Recipients, func(rc Recipient) bool {
			return hasAddress(e.Recipient, rc.Address) || hasAddress(e.Recipient, rc.Original)
		})
		if found = found && i >= 0; i < 0 {
			continue
		}
		rc := rep.Recipients[i]
		if e.Status != "" {
			count("status", e.Status == rc.Status.String(), rc.Status, e.Status)
		}
		if e.Code != 0 {
			count("code", e.Code == rc.Reply.Code, rc.Reply.Code, e.Code)
		}
		if len(e.Category) > 0 {
			count("category", slices.Contains(e.Category, rc.Class.Category.String()), fmt.Sprintf("%v by %s of %.200q", rc.Class.Category, rc.Class.Rule, rc.Diagnostic), e.Category)
			count("primary", e.Category[0] == rc.Class.Category.String(), nil, nil)
		}
		if e.SoftOrHard != "" {
			hard := rc.Class.Outcome() == Hard
			count(e.SoftOrHard, hard == (e.SoftOrHard == "hard"), rc.Class.Category, e.SoftOrHard)
		}
		if e.Diagnostic != "" {
			count("diagnostic", hasWordsOf(rc.Diagnostic, e.Diagnostic), fmt.Sprintf("%.200q", rc.Diagnostic), e.Diagnostic)
		}
	}
	if scored {
		count("recipients", found && len(got) == len(want), got, want)
	}
}

// hasWordsOf reports whether got has nine in ten words of want.
func hasWordsOf(got, want string) bool {
	n, words := 0, strings.Fields(want)
	for _, w := range words {
		if strings.Contains(got, w) {
			n++
		}
	}
	return 10*n >= 9*len(words)
}

// TestMailCorporaByWordsAlone takes from each delivery report what machines
// read: its words alone must nearly do. It is a check on texts from which no rule
// was written.
func TestMailCorporaByWordsAlone(t *testing.T) {
	fields := regexp.MustCompile(`(?i)message/(global-)?delivery-status`)
	failed := regexp.MustCompile(`(?im)^x-failed-recipients:.*\r?\n`)
	s := mailScore{}
	for _, row := range readMails(t, "sisimai") {
		data, err := os.ReadFile(filepath.Join(corpusDir(t), row.File))
		require.NoError(t, err)
		words := fields.ReplaceAll(failed.ReplaceAll(data, nil), []byte("application/octet-stream"))
		if len(words) == len(data) || !slices.ContainsFunc(row.Classes, func(c string) bool { return c == "bounce" }) {
			continue
		}
		rep, err := Parse(bytes.NewReader(words))
		require.NoError(t, err)
		s.count("class", slices.Contains(row.Classes, rep.Class.String()))
		scoreRecipients(&row, rep, func(what string, ok bool, _, _ any) {
			if what == "recipients" || what == "category" {
				s.count(what, ok)
			}
		})
	}
	t.Log(s)
	require.GreaterOrEqual(t, s.share("class"), 97.0)
	require.GreaterOrEqual(t, s.share("recipients"), 95.0)
}
