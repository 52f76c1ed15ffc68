package suppress

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

func TestObserveReport(t *testing.T) {
	gone := bounce.Recipient{Address: "ann@example.com", Fate: bounce.FateFailed, Diagnostic: "550 5.1.1 no such user", Class: sure(bounce.InvalidMailbox)}
	forwarded := gone
	forwarded.Address, forwarded.Original = "ann@elsewhere.example", "Bob@example.com"
	blocked := gone
	blocked.Class = bounce.Class{Category: bounce.ReputationBlock, Scope: bounce.ScopeSource, Permanent: true, Action: bounce.ActionFix, Confidence: 1}
	redacted := gone
	redacted.Address = ""
	abuse := &bounce.Feedback{Type: "abuse"}
	for _, tt := range []struct {
		name  string
		event Event
		rep   bounce.Report
		want  []string
		cause Cause
	}{
		{"bounce", Event{}, bounce.Report{Class: bounce.Bounce, Recipients: []bounce.Recipient{gone, forwarded, blocked, redacted}},
			[]string{"ann@example.com", "Bob@example.com"}, HardBounce},
		{"known by its return path", Event{Recipient: "cid@example.com"}, bounce.Report{Class: bounce.Bounce, Recipients: []bounce.Recipient{gone}},
			[]string{"cid@example.com"}, HardBounce},
		{"redacted, known", Event{Recipient: "cid@example.com"}, bounce.Report{Class: bounce.Complaint, Feedback: abuse}, []string{"cid@example.com"}, Complained},
		{"redacted", Event{}, bounce.Report{Class: bounce.Complaint, Feedback: abuse}, nil, 0},
		{"complaint", Event{}, bounce.Report{Class: bounce.Complaint, Feedback: abuse, Recipients: []bounce.Recipient{{Address: "ann@example.com"}}},
			[]string{"ann@example.com"}, Complained},
		{"look-alike of a complaint", Event{}, bounce.Report{Class: bounce.Complaint, Recipients: []bounce.Recipient{{Address: "ann@example.com"}}},
			[]string{"ann@example.com"}, Complained},
		{"not spam", Event{}, bounce.Report{Class: bounce.Complaint, Feedback: &bounce.Feedback{Type: "not-spam"},
			Recipients: []bounce.Recipient{{Address: "ann@example.com"}}}, nil, 0},
		{"unsubscribe", Event{}, bounce.Report{Class: bounce.Unsubscribe, Recipients: []bounce.Recipient{{Address: "ann@example.com"}}},
			[]string{"ann@example.com"}, Unsubscribed},
		{"delay", Event{}, bounce.Report{Class: bounce.Delayed, Recipients: []bounce.Recipient{gone}}, nil, 0},
		{"vacation", Event{}, bounce.Report{Class: bounce.Vacation, Recipients: []bounce.Recipient{gone}}, nil, 0},
		{"ordinary", Event{Recipient: "ann@example.com"}, bounce.Report{}, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newList(t, nil)
			got, err := l.ObserveReport(t.Context(), tt.event, &tt.rep)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			for _, address := range tt.want {
				e, found, err := l.Find(t.Context(), address, "")
				require.NoError(t, err)
				require.True(t, found)
				require.Equal(t, tt.cause, e.Cause)
				if tt.rep.Class != bounce.Complaint || tt.rep.Feedback != nil {
					require.NotEmpty(t, e.Source)
				}
			}
		})
	}
	none, err := newList(t, nil).ObserveReport(t.Context(), Event{}, nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// Delivered recipients of a report are those that Delivered is told of.
func TestReportOfDelivery(t *testing.T) {
	ann := []bounce.Recipient{{Address: "ann@example.com", Fate: bounce.FateDelivered}}
	for _, rep := range []bounce.Report{
		{Class: bounce.Delivered, Recipients: ann},
		{Class: bounce.Bounce, Others: ann},
	} {
		l := newList(t, nil)
		for i := range 4 {
			require.False(t, observe(t, l, noon.Add(time.Duration(i)*day), temporary(bounce.MailboxFull)))
		}
		_, err := l.ObserveReport(t.Context(), Event{Time: noon.Add(3*day + 1)}, &rep)
		require.NoError(t, err)
		require.False(t, observe(t, l, noon.Add(4*day), temporary(bounce.MailboxFull)))
	}
	l, err := New(broken{NewMemory()}, nil)
	require.NoError(t, err)
	_, err = l.ObserveReport(t.Context(), Event{}, &bounce.Report{Class: bounce.Delivered, Recipients: ann, Others: ann})
	require.ErrorIs(t, err, errBroken)
}
