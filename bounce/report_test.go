package bounce

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// parseSample parses the sample of that name.
func parseSample(t *testing.T, name string) *Report {
	for _, s := range samples(t) {
		if s.name == name {
			rep, err := Parse(strings.NewReader(s.mail))
			require.NoError(t, err)
			return rep
		}
	}
	t.Fatalf("no sample %q", name)
	return nil
}

func TestReportMixedFates(t *testing.T) {
	rep := parseSample(t, "mixed fates")
	require.Equal(t, FateFailed, rep.Recipients[0].Fate)
	require.Len(t, rep.Others, 2)
	require.Equal(t, "slow@fine.example", rep.Others[0].Address)
	require.Equal(t, FateDelayed, rep.Others[0].Fate)
	require.Equal(t, "good@fine.example", rep.Others[1].Address)
	require.Equal(t, FateRelayed, rep.Others[1].Fate)
	require.Zero(t, rep.Others[1].Class)
}

func TestReportFields(t *testing.T) {
	rep := parseSample(t, "haraka")
	require.Equal(t, "out.sender.example", rep.ReportingMTA)
	require.Equal(t, "ENV+1=2", rep.EnvelopeID)
	require.Equal(t, time.Date(2016, 3, 3, 10, 11, 12, 0, time.UTC), rep.ArrivalDate)
	require.Equal(t, "MAILER-DAEMON@out.sender.example", rep.From)
	require.Equal(t, []string{"news@sender.example"}, rep.SentTo)
	rc := rep.Recipients[0]
	require.Equal(t, "mx.long.example", rc.RemoteMTA)
	require.Equal(t, Reply{Code: 554, Status: Status{5, 7, 1}, Text: "Message identified as spam", Host: "mx.long.example"}, rc.Reply)
	require.Equal(t, "smtp;554 5.7.1 Message identified as spam", rc.Diagnostic)

	rep = parseSample(t, "smtp svc delay")
	require.Equal(t, "<offer-7@sender.example>", rep.MessageID)
	require.Equal(t, "Spring offers", rep.Original.Get("subject"))
	require.False(t, rep.Recipients[0].WillRetryUntil.IsZero())

	rep = parseSample(t, "orcpt differs")
	require.Equal(t, "outer+tag@gate.example", rep.Recipients[0].Original)

	rep = parseSample(t, "mdn")
	require.Equal(t, "<offer-8@sender.example>", rep.MessageID)

	rep = parseSample(t, "outlook away")
	require.Equal(t, "<offer-1@sender.example>", rep.MessageID)

	rep = parseSample(t, "gmail html only")
	require.Equal(t, "<offer-9@sender.example>", rep.MessageID)
}

func TestReportFeedback(t *testing.T) {
	rep := parseSample(t, "arf")
	require.Equal(t, &Feedback{Type: "abuse", UserAgent: "FBL/1.0", SourceIP: netip.MustParseAddr("192.0.2.7"), OriginalMailFrom: "bounces@sender.example", Incidents: 2}, rep.Feedback)
	require.Equal(t, "autumn:news::volley1", rep.FeedbackID)
	require.True(t, rep.Feedback.Unwanted())
	require.Equal(t, "111:222:333", parseSample(t, "arf redacted").FeedbackID)
	require.False(t, parseSample(t, "not spam").Feedback.Unwanted())
	require.Equal(t, "<offer-14@sender.example>", parseSample(t, "ses sns complaint").MessageID)
}

func TestReportNames(t *testing.T) {
	for i := range reportClassNames {
		requireName(t, ReportClass(i), new(ReportClass))
	}
	for i := range fateNames {
		requireName(t, Fate(i), new(Fate))
	}
	_, err := ReportClass(200).MarshalText()
	require.Error(t, err)
	require.Error(t, new(Fate).UnmarshalText([]byte("unheard of")))
}

// requireName checks that a value survives JSON.
func requireName[T comparable](t *testing.T, v T, into *T) {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
	require.Equal(t, v, *into)
}
