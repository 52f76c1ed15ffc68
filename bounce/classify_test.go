package bounce

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPromises holds the rules to what matters most: who is suppressed and who
// never is.
func TestPromises(t *testing.T) {
	rcpt := func(s string) Reply { r := ParseReply(s); r.Stage = StageRcpt; return r }
	for _, text := range []string{
		"550 5.7.1 Too many invalid recipients",
		"550 too many unknown users",
		"421 4.7.0 Excessive number of invalid recipients",
		"550",
		"550 sorry",
		"550 5.7.1",
		"554 5.7.1 <a@example.com>: Recipient address rejected: Access denied",
		"550 access denied",
		"550 5.7.1 Access denied",
		"550 rejected",
		"550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
		"550 Mail frequency limited",
		"554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org; user unknown to us is not the reason",
		"550 5.1.0 <me@example.org>: Sender address rejected: User unknown in local recipient table",
		"550 Sender verify failed: no such user",
		"450 4.1.1 <a@example.com>: Recipient address rejected: User unknown in local recipient table",
		"450 4.2.1 mailbox is disabled",
		"552 5.2.2 mailbox full",
		"550 5.7.1 you are not a member of this list",
		"503 no valid recipients",
		"550 spf: user unknown domain policy",
		"550-Verification failed for <me@example.org>\r\n550-No Such User Here\r\n550 Sender verify failed",
		"550 5.7.1 Your account is disabled, message from 192.0.2.1 refused",
		"550 5.2.1 The mailbox is temporarily disabled",
	} {
		for _, r := range []Reply{ParseReply(text), rcpt(text)} {
			c := Classify(r)
			require.NotEqual(t, ActionSuppress, c.Action, "%s: %+v", text, c)
			require.NotEqual(t, Hard, c.Outcome(), "%s: %+v", text, c)
		}
	}
	for _, text := range []string{
		"550 5.1.1 <a@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
		"550 5.1.1 The email account that you tried to reach does not exist.",
		"550 No such user here",
		"550 5.1.1",
		"511 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
		"550 5.2.1 The email account that you tried to reach is disabled",
		"550 Empfänger unbekannt",
		"556 5.1.10 Recipient domain has null MX",
		"550 a@example.com... User not known",
		"550 5.1.1 unknown or illegal alias: a@example.com",
		"550 'a@example.com' is not a registered mailbox user",
	} {
		for _, r := range []Reply{ParseReply(text), rcpt(text)} {
			c := Classify(r)
			require.Equal(t, ActionSuppress, c.Action, "%s: %+v", text, c)
			require.Equal(t, Hard, c.Outcome(), "%s: %+v", text, c)
			require.True(t, c.Permanent)
		}
	}
}

// TestPermanence: the first digit is not always the truth.
func TestPermanence(t *testing.T) {
	for _, tt := range []struct {
		text      string
		permanent bool
		action    Action
	}{
		{"550 Ip frequency limited", false, ActionPause},
		{"552 Too many recipients", false, ActionRetry},
		{"550 5.7.1 You are sending too fast, slow down", false, ActionPause},
		{"421 4.7.1 [TSS09] messages permanently deferred", true, ActionFix},
		{"421-4.7.26 This mail has been rate limited because it is unauthenticated.\r\n421 4.7.26 see https://support.google.com/mail - gsmtp", true, ActionFix},
		{"451 4.7.1 Client host blocked using zen.spamhaus.org", false, ActionPause},
		{"554 5.7.1 Client host blocked using zen.spamhaus.org", true, ActionFix},
		{"452 4.2.2 mailbox full", false, ActionRetry},
		{"552 5.2.2 mailbox full", true, ActionFail},
		{"451 no idea", false, ActionRetry},
		{"550 no idea", true, ActionFail},
	} {
		c := Classify(ParseReply(tt.text))
		require.Equal(t, tt.permanent, c.Permanent, "%s: %+v", tt.text, c)
		require.Equal(t, tt.action, c.Action, "%s: %+v", tt.text, c)
	}
}

// TestBlocksNeverBlameRecipients: no rule may do so, whatever it is asked.
func TestBlocksNeverBlameRecipients(t *testing.T) {
	for ru := range DefaultRules().All() {
		if ru.Scope.aboutUs() || ru.Scope == ScopeMessage {
			require.NotEqual(t, ActionSuppress, ru.Action, ru.ID)
			require.NotEqual(t, Hard, ru.Category.Outcome(), ru.ID)
		}
		if ru.Category == ReputationBlock || ru.Category == AuthFailure {
			require.NotEqual(t, ScopeRecipient, ru.Scope, ru.ID)
		}
	}
}

// TestBeforeRcpt: a reply that came before a recipient was named is about none.
func TestBeforeRcpt(t *testing.T) {
	for _, stage := range []Stage{StageConnect, StageGreeting, StageHello, StageTLS, StageAuth, StageMail} {
		r := ParseReply("550 5.1.1 User unknown")
		r.Stage = stage
		require.NotEqual(t, Hard, Classify(r).Outcome(), stage)
	}
}

func TestLocal(t *testing.T) {
	for _, tt := range []struct {
		reply    Reply
		category Category
		outcome  Outcome
		action   Action
	}{
		{Local(StageConnect, StatusNoAnswer, "dial tcp 192.0.2.1:25: connect: connection refused"), ConnectionFailure, Soft, ActionRetry},
		{Local(StageConnect, Status{}, "i/o timeout"), ConnectionFailure, Soft, ActionRetry},
		{Local(StageBody, StatusLost, "EOF"), ConnectionFailure, Soft, ActionRetry},
		{Local(StageRcpt, Status{}, "EOF"), ConnectionFailure, Soft, ActionRetry},
		{Local(StageMail, Status{}, "EOF"), ConnectionFailure, Soft, ActionRetry},
		{Local(StageDNS, StatusNoDomain, "no such domain"), InvalidDomain, Hard, ActionSuppress},
		{Local(StageDNS, StatusNullMX, "null MX"), InvalidDomain, Hard, ActionSuppress},
		{Local(StageDNS, StatusDNS, "SERVFAIL"), DNSFailure, Soft, ActionRetry},
		{Local(StageTLS, StatusTLS, "certificate has expired"), TLSFailure, Block, ActionPause},
		{Local(StageTLS, Status{}, "EOF"), TLSFailure, Block, ActionPause},
		{Local(StageLocal, StatusExpired, "lifetime over"), Expired, Soft, ActionFail},
		{Local(StageRcpt, StatusExpired, "lifetime over"), Expired, Soft, ActionFail},
		{Local(StageLocal, Status{5, 4, 7}, "lifetime over"), Expired, Soft, ActionFail},
		{Local(StageLocal, StatusTooLarge, "too large"), MessageTooLarge, Soft, ActionFail},
		{Local(StageLocal, StatusMalformed, "no From field"), ContentRejected, Block, ActionFix},
		{Local(StageLocal, StatusNeedsUTF8, "no SMTPUTF8"), ProtocolError, Block, ActionFail},
		{Local(StageLocal, StatusSuppressed, "complained in May"), Suppressed, Hard, ActionSuppress},
		{Local(StageLocal, StatusBadAddress, "no @"), InvalidMailbox, Hard, ActionSuppress},
	} {
		c := Classify(tt.reply)
		require.Equal(t, tt.category, c.Category, "%v %+v", tt.reply, c)
		require.Equal(t, tt.outcome, c.Outcome(), "%v %+v", tt.reply, c)
		require.Equal(t, tt.action, c.Action, "%v %+v", tt.reply, c)
		require.True(t, strings.HasPrefix(c.Rule, "local/"), "%v %+v", tt.reply, c)
		require.EqualValues(t, 1, c.Confidence, c.Rule)
	}
}

// TestConfidence: the more of the reply a rule looked at, the surer it is.
func TestConfidence(t *testing.T) {
	google := Classify(Reply{Code: 550, Status: Status{5, 1, 1}, Host: "gmail-smtp-in.l.google.com", Text: "The account does not exist"})
	text := Classify(Reply{Code: 550, Text: "user unknown"})
	status := Classify(Reply{Code: 550, Status: Status{5, 1, 1}, Text: "xyz"})
	code := Classify(Reply{Code: 552, Text: "xyz"})
	none := Classify(Reply{Code: 550, Text: "xyz"})
	require.Greater(t, google.Confidence, text.Confidence)
	require.Greater(t, text.Confidence, status.Confidence)
	require.Greater(t, status.Confidence, code.Confidence)
	require.Greater(t, code.Confidence, none.Confidence)
	require.Zero(t, none.Confidence)
	require.Empty(t, none.Rule)
}

func TestClassifyPositive(t *testing.T) {
	for _, code := range []int{200, 220, 250, 354} {
		require.Equal(t, Class{}, Classify(Reply{Code: code, Text: "user unknown"}))
	}
}

// TestProviderByHostAndText: Gmail's 5.7.27 is not the registry's.
func TestProviderByHostAndText(t *testing.T) {
	r := Reply{Code: 550, Status: Status{5, 7, 27}, Text: "no"}
	require.Equal(t, SenderRejected, Classify(r).Category)
	for _, host := range []string{"aspmx.l.google.com", "ASPMX.L.Google.COM.", "google.com"} {
		r.Host = host
		require.Equal(t, AuthFailure, Classify(r).Category, host)
	}
	r.Host = "notgoogle.com"
	require.Equal(t, SenderRejected, Classify(r).Category)
	r.Host, r.Text = "", "no 4-20020a - gsmtp"
	require.Equal(t, AuthFailure, Classify(r).Category)
}

// TestAddressesAreNoReasons: what stands in an address does not count.
func TestAddressesAreNoReasons(t *testing.T) {
	c := Classify(ParseReply("550 5.1.1 <no.spam.virus@blocked.example>: User unknown"))
	require.Equal(t, InvalidMailbox, c.Category, c.Rule)
	c = Classify(ParseReply("550 hello user-unknown@example.com"))
	require.Equal(t, Unknown, c.Category, c.Rule)
}

func TestClassifyLooksAtFourKilobytes(t *testing.T) {
	require.Equal(t, InvalidMailbox, Classify(Reply{Code: 550, Text: strings.Repeat("x ", 2000) + "user unknown"}).Category)
	require.Equal(t, Unknown, Classify(Reply{Code: 550, Text: strings.Repeat("x ", 3000) + "user unknown"}).Category)
	start := time.Now()
	Classify(Reply{Code: 550, Text: strings.Repeat("user recipient address mailbox <", 1<<15)})
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestClassifyConcurrently(t *testing.T) {
	want := Classify(benchReplies[0])
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if got := Classify(benchReplies[0]); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		})
	}
	wg.Wait()
}
