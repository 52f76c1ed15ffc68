package bounce

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseReply(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Reply
	}{
		{"", Reply{}},
		{"550", Reply{Code: 550}},
		{"5.1.1", Reply{Status: Status{5, 1, 1}}},
		{"250 2.0.0 OK", Reply{Code: 250, Status: Status{2, 0, 0}, Text: "OK"}},
		{"550 5.1.1 No such user", Reply{Code: 550, Status: Status{5, 1, 1}, Text: "No such user"}},
		{"550-5.1.1 No such user\r\n550-5.1.1  here\r\n550 5.1.1 Goodbye\r\n", Reply{Code: 550, Status: Status{5, 1, 1}, Text: "No such user\nhere\nGoodbye"}},
		{"550-first\r550-second\r550 third", Reply{Code: 550, Text: "first\nsecond\nthird"}},
		{"550-5.2.1 The user you are trying to contact 550-5.2.1 is receiving mail 550 5.2.1 too fast", Reply{Code: 550, Status: Status{5, 2, 1}, Text: "The user you are trying to contact\nis receiving mail\ntoo fast"}},
		{"550-one 550-two 550 three", Reply{Code: 550, Text: "one\ntwo\nthree"}},
		{"smtp; 550 5.1.1 unknown", Reply{Code: 550, Status: Status{5, 1, 1}, Text: "unknown"}},
		{"SMTP;550 unknown", Reply{Code: 550, Text: "unknown"}},
		{"X-Outbound-Mail-Relay; Host not found", Reply{Text: "Host not found"}},
		{"smtp; 5.1.2 no domain", Reply{Status: Status{5, 1, 2}, Text: "no domain"}},
		{"550 #5.1.0 Address rejected.", Reply{Code: 550, Status: Status{5, 1, 0}, Text: "Address rejected."}},
		{"550 sorry, no mailbox here by that name (#5.1.1 - chkuser)", Reply{Code: 550, Status: Status{5, 1, 1}, Text: "sorry, no mailbox here by that name (#5.1.1 - chkuser)"}},
		{"550 5.7.1 550 User Unknown", Reply{Code: 550, Status: Status{5, 7, 1}, Text: "550 User Unknown"}},
		{"550 : User unknown", Reply{Code: 550, Text: ": User unknown"}},
		{"550: User unknown", Reply{Code: 550, Text: "User unknown"}},
		{"220-laposte 421 4.2.1 Service refuse", Reply{Code: 421, Status: Status{4, 2, 1}, Text: "Service refuse"}},
		{"host mx.example.com[192.0.2.1] said: 550 5.1.1 no (in reply to RCPT TO command)", Reply{Stage: StageRcpt, Code: 550, Status: Status{5, 1, 1}, Text: "no", Host: "mx.example.com"}},
		{"host mx.example.com[192.0.2.1] said: 452 full (in reply to end of DATA command)", Reply{Stage: StageBody, Code: 452, Text: "full", Host: "mx.example.com"}},
		{"SMTP error from remote mail server after MAIL FROM:<a@b.c>: host mx.example.com [192.0.2.1]: 550 go away", Reply{Stage: StageMail, Code: 550, Text: "go away", Host: "mx.example.com"}},
		{"Remote Server returned '550 5.1.1 RESOLVER.ADR.RecipNotFound; not found'", Reply{Code: 550, Status: Status{5, 1, 1}, Text: "RESOLVER.ADR.RecipNotFound; not found'"}},
		{"Remote host said: 553 not here", Reply{Code: 553, Text: "not here"}},
		{"try again in 450 seconds", Reply{Text: "try again in 450 seconds"}},
		{"message from 5.1.1.1 refused", Reply{Text: "message from 5.1.1.1 refused"}},
		{"554 5.7.1.2 refused", Reply{Code: 554, Text: "5.7.1.2 refused"}},
		{"550 5.1.1234 x", Reply{Code: 550, Text: "5.1.1234 x"}},
		{"650 x", Reply{Text: "650 x"}},
		{"connect: timed out", Reply{Text: "connect: timed out"}},
	} {
		require.Equal(t, tt.want, ParseReply(tt.text), "%q", tt.text)
	}
}

func TestParseReplyIsBounded(t *testing.T) {
	r := ParseReply("550 " + strings.Repeat("é", maxReplyText))
	require.LessOrEqual(t, len(r.Text), maxReplyText)
	require.True(t, strings.HasSuffix(r.Text, "é"))
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]Status{"5.1.1": {5, 1, 1}, "4.7.650": {4, 7, 650}, "2.0.0": {2, 0, 0}} {
		st, ok := ParseStatus(text)
		require.True(t, ok, text)
		require.Equal(t, want, st)
		require.Equal(t, text, st.String())
	}
	for _, text := range []string{"", "5", "5.1", "5.1.", "3.1.1", "5.1.1 ", " 5.1.1", "5.1.1.1", "5.1.1x", "5.1.1000", "5..1"} {
		_, ok := ParseStatus(text)
		require.False(t, ok, text)
	}
}

func TestReplyString(t *testing.T) {
	require.Equal(t, "550 5.1.1 a b", Reply{Code: 550, Status: Status{5, 1, 1}, Text: "a\nb"}.String())
	require.Equal(t, "4.4.2 EOF", Local(StageBody, StatusLost, "EOF").String())
	require.Equal(t, "", Reply{}.String())
}

func TestTemporary(t *testing.T) {
	require.True(t, Reply{Code: 450, Status: Status{5, 1, 1}}.Temporary())
	require.False(t, Reply{Code: 550, Status: Status{4, 1, 1}}.Temporary())
	require.True(t, Reply{Status: Status{4, 1, 1}}.Temporary())
	require.False(t, Reply{Status: Status{5, 1, 1}}.Temporary())
}

func FuzzParseReply(f *testing.F) {
	for ru := range DefaultRules().All() {
		f.Add(ru.Samples[0])
	}
	f.Add("550-5.1.1 a\r\n550 5.1.1 b")
	f.Add("host mx.example.com[192.0.2.1] said: 550 5.1.1 no (in reply to RCPT TO command)")
	f.Add("smtp;550-one 550-two 550 three")
	f.Fuzz(func(t *testing.T, text string) {
		r := ParseReply(text)
		require.True(t, r.Code == 0 || 200 <= r.Code && r.Code < 600)
		require.LessOrEqual(t, len(r.Text), maxReplyText)
		require.NotContains(t, r.Text, "\r")
		if r.Status != (Status{}) {
			st, ok := ParseStatus(r.Status.String())
			require.True(t, ok)
			require.Equal(t, r.Status, st)
		}
	})
}
