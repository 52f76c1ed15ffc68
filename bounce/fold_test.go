package bounce

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestFoldText(t *testing.T) {
	for text, want := range map[string]string{
		"User  Unknown\n\tHere ":      "user unknown here",
		"doesn’t":                     "doesn't",
		"ÜBER\u00a0 x":                "über x",
		"<Spam.Me+x@Example.COM>: no": "<@>: no",
		"user a@example.com. Gone":    "user @. gone",
		"a @ b":                       "a @ b",
		"at@":                         "at@",
		"mailto:a@b,c@d":              "mailto:@,@",
		"\xff@example.com":            "@",
		"":                            "",
	} {
		require.Equal(t, want, foldText(text), text)
	}
}

func TestRetryHint(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"try again in 5 minutes":                            5 * time.Minute,
		"please retry after 300 seconds":                    300 * time.Second,
		"greylisted for 300s":                               300 * time.Second,
		"come back in 00:04:35":                             4*time.Minute + 35*time.Second,
		"please try again after 00:04:35":                   4*time.Minute + 35*time.Second,
		"retry in 1 hour and 30 minutes":                    90 * time.Minute,
		"wait 2 hours":                                      2 * time.Hour,
		"try again in 30min":                                30 * time.Minute,
		"try again in 10 days":                              24 * time.Hour,
		"retry in 99999999999999999999 seconds":             24 * time.Hour,
		"try again in 0 seconds":                            0,
		"message of 5 minutes":                              0,
		"try again later":                                   0,
		"try again, error 5":                                0,
		"erneut in 10 minuten":                              10 * time.Minute,
		"blocked 192.0.2.1, please try again in 15 minutes": 15 * time.Minute,
		"limit 100 messages per 60 minutes":                 0,
		"try again in 5 minute(s)":                          5 * time.Minute,
	} {
		require.Equal(t, want, retryHint(text), text)
	}
	c := Classify(ParseReply("451 4.7.1 Greylisted, try again in 7 minutes"))
	require.Equal(t, 7*time.Minute, c.RetryAfter)
	require.Zero(t, Classify(ParseReply("550 5.1.1 user unknown, try again in 7 minutes")).RetryAfter)
	require.Equal(t, 2*time.Hour, Classify(ParseReply("421 4.7.0 [TSS04] Messages deferred")).RetryAfter)
}

// FuzzClassify: the index never changes the answer, and nothing breaks an invariant.
func FuzzClassify(f *testing.F) {
	rs := DefaultRules()
	for ru := range rs.All() {
		r := rs.sampleReply(&rule{Rule: ru, provider: providerIndex(rs, ru.Provider)}, ru.Samples[0])
		f.Add(uint8(r.Stage), uint16(r.Code), r.Status[0], r.Status[1], r.Status[2], r.Text, r.Host)
	}
	f.Fuzz(func(t *testing.T, stage uint8, code, class, subject, detail uint16, text, host string) {
		r := Reply{Stage: Stage(stage % uint8(StageReset+1)), Code: int(code % 600), Status: Status{class, subject, detail}, Text: text, Host: host}
		folded := foldText(r.Text)
		require.True(t, utf8.ValidString(folded))
		require.Equal(t, rs.matchEach(&r, folded), rs.match(&r, folded))
		c := rs.Classify(r)
		require.True(t, 0 <= c.RetryAfter && c.RetryAfter <= maxHint)
		if c.Action == ActionSuppress {
			require.Equal(t, Hard, c.Outcome())
			require.False(t, c.Scope.aboutUs())
		}
		if c.Permanent {
			require.NotContains(t, []Action{ActionRetry, ActionPause}, c.Action)
			require.Zero(t, c.RetryAfter)
		}
	})
}
