package bounce

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// seedMails adds the samples, and the corpora where there are any.
func seedMails(f *testing.F, add func(mail string)) {
	for _, s := range samples(f) {
		add(s.mail)
	}
	dir := os.Getenv("VOLLEY_CORPORA")
	if dir == "" {
		return
	}
	for _, name := range mailCorpora {
		for _, row := range readMails(f, name) {
			data, err := os.ReadFile(filepath.Join(dir, row.File))
			require.NoError(f, err)
			add(string(data))
		}
	}
}

func checkReport(t *testing.T, mail string) {
	rep, err := Parse(strings.NewReader(mail))
	if mail == "" {
		require.ErrorIs(t, err, ErrEmpty)
		return
	}
	if err != nil {
		require.IsType(t, &LimitError{}, err)
	}
	require.NotNil(t, rep)
	_, err = json.Marshal(rep)
	require.NoError(t, err)
	for _, rc := range append(rep.Recipients, rep.Others...) {
		require.NotEmpty(t, rc.Address)
	}
	if rep.Class == NotReport {
		require.Empty(t, rep.Recipients)
	}
	require.Equal(t, rep.Feedback != nil, rep.Class == Complaint || rep.Feedback != nil && rep.Class == Unsubscribe)
}

func FuzzParse(f *testing.F) {
	seedMails(f, func(mail string) { f.Add(mail) })
	f.Fuzz(checkReport)
}

// FuzzParseMutated keeps mails whole enough to get past the first lines: it cuts
// out, doubles and swaps their lines.
func FuzzParseMutated(f *testing.F) {
	var mails []string
	seedMails(f, func(mail string) {
		f.Add(uint16(len(mails)), uint16(3), uint16(9), uint8(len(mails)))
		mails = append(mails, mail)
	})
	f.Fuzz(func(t *testing.T, which, from, to uint16, how uint8) {
		lines := strings.SplitAfter(mails[int(which)%len(mails)], "\n")
		i, k := int(from)%len(lines), int(to)%len(lines)
		if i > k {
			i, k = k, i
		}
		part := strings.Join(lines[i:k], "")
		head, tail := strings.Join(lines[:i], ""), strings.Join(lines[k:], "")
		other := mails[int(how)%len(mails)]
		checkReport(t, []string{
			head + tail,
			head + part + part + tail,
			tail + part + head,
			head + other + tail,
			head + strings.ReplaceAll(part, "\n", "") + tail,
			head + strings.ToUpper(part) + tail,
			head + strings.ReplaceAll(part, ":", "") + tail,
			head,
		}[how%8])
	})
}
