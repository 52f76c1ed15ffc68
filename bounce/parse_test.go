package bounce

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is a mail of testdata/mails with what Parse must make of it. The files
// hold many, each behind a line "=== name | class | recipients | status |
// category"; an empty item is not checked, except the recipients.
type sample struct {
	name, class, status, category string
	recipients                    []string
	mail                          string
}

func samples(tb testing.TB) (all []sample) {
	files, err := filepath.Glob("testdata/mails/*.txt")
	require.NoError(tb, err)
	require.NotEmpty(tb, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(tb, err)
		for text := range strings.SplitSeq("\n"+string(data), "\n=== ") {
			head, mail, _ := strings.Cut(text, "\n")
			items := strings.Split(head, "|")
			if len(items) < 5 {
				continue
			}
			for i := range items {
				items[i] = strings.TrimSpace(items[i])
			}
			s := sample{name: items[0], class: items[1], status: items[3], category: items[4], mail: mail + "\n"}
			if items[2] != "" {
				s.recipients = strings.Split(items[2], ",")
			}
			all = append(all, s)
		}
	}
	return all
}

func TestParseSamples(t *testing.T) {
	ends := map[string]*strings.Replacer{"lf": strings.NewReplacer(), "crlf": strings.NewReplacer("\n", "\r\n"), "cr": strings.NewReplacer("\n", "\r")}
	for _, s := range samples(t) {
		for end, replacer := range ends {
			t.Run(s.name+"/"+end, func(t *testing.T) {
				rep, err := Parse(strings.NewReader(replacer.Replace(s.mail)))
				require.NoError(t, err)
				require.Equal(t, s.class, rep.Class.String())
				var got []string
				for _, rc := range rep.Recipients {
					got = append(got, rc.Address)
				}
				require.Equal(t, s.recipients, got)
				if s.status != "" {
					require.Equal(t, s.status, rep.Recipients[0].Status.String())
				}
				if s.category != "" {
					require.Equal(t, s.category, rep.Recipients[0].Class.Category.String(), rep.Recipients[0].Diagnostic)
				}
			})
		}
	}
}
