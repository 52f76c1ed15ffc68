package bounce

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var corpora = []string{"sisimai-diag", "sisimai-rhost", "crisp-reply", "postalsys"}

// corpusDir returns the folder of labelled mails and replies, which is not part
// of the project.
func corpusDir(tb testing.TB) string {
	dir := os.Getenv("VOLLEY_CORPORA")
	if dir == "" {
		tb.Skip("VOLLEY_CORPORA is not set: it names the folder of the labelled bounce corpora (sisimai-diag.jsonl and so on)")
	}
	return dir
}

type corpusReply struct {
	ID         string
	Text       string
	RemoteHost string `json:"remote_host"`
	Command    string
	Expected   []struct {
		Category   []string
		SoftOrHard string `json:"soft_or_hard"`
	}
}

func (c *corpusReply) reply() Reply {
	r := ParseReply(c.Text)
	if r.Host == "" {
		r.Host = c.RemoteHost
	}
	if r.Stage == StageNone {
		r.Stage = stageOf(c.Command)
	}
	return r
}

func readCorpus(tb testing.TB, name string) (rows []corpusReply) {
	f, err := os.Open(filepath.Join(corpusDir(tb), name+".jsonl"))
	require.NoError(tb, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row corpusReply
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &row))
		rows = append(rows, row)
	}
	require.NoError(tb, lines.Err())
	return rows
}

// score counts over rows that have the label.
type score struct{ scored, accepted, primary, living, killed, dead, missed int }

func (s *score) add(o score) {
	s.scored += o.scored
	s.accepted += o.accepted
	s.primary += o.primary
	s.living += o.living
	s.killed += o.killed
	s.dead += o.dead
	s.missed += o.missed
}

func percent(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}

func (s score) log(t *testing.T, name string) {
	t.Logf("%-14s category %5.1f %% of %3d, primary %5.1f %%; living called dead %4.1f %% of %3d; dead missed %4.1f %% of %3d", name,
		percent(s.accepted, s.scored), s.scored, percent(s.primary, s.scored), percent(s.killed, s.living), s.living, percent(s.missed, s.dead), s.dead)
}

// TestCorpora prints how well the default rules do on labelled replies, and
// holds them to what the project promises.
func TestCorpora(t *testing.T) {
	var sum score
	for _, name := range corpora {
		var s score
		for _, row := range readCorpus(t, name) {
			s.add(scoreRow(t, &row))
		}
		s.log(t, name)
		sum.add(s)
	}
	sum.log(t, "all")
	require.GreaterOrEqual(t, percent(sum.accepted, sum.scored), 85.0)
	require.LessOrEqual(t, percent(sum.killed, sum.living), 1.0)
	require.LessOrEqual(t, percent(sum.missed, sum.dead), 15.0)
}

func scoreRow(t *testing.T, row *corpusReply) (s score) {
	e := row.Expected[0]
	c := Classify(row.reply())
	hard := c.Outcome() == Hard
	if len(e.Category) > 0 {
		s.scored = 1
		if slices.Contains(e.Category, c.Category.String()) {
			s.accepted = 1
		}
		if e.Category[0] == c.Category.String() {
			s.primary = 1
		}
	}
	switch e.SoftOrHard {
	case "hard":
		s.dead = 1
		if !hard {
			s.missed = 1
		}
	case "not-hard":
		s.living = 1
		if hard {
			s.killed = 1
		}
	}
	if s.accepted < s.scored || s.missed+s.killed > 0 {
		t.Logf("%s: %v by %s, want %s %s: %.150s", row.ID, c.Category, c.Rule, strings.Join(e.Category, ","), e.SoftOrHard, row.Text)
	}
	return s
}
