package bounce

import (
	"encoding"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCategoryNames(t *testing.T) {
	all := Categories()
	require.Len(t, all, 23)
	seen := map[string]bool{}
	for _, c := range all {
		require.False(t, seen[c.String()], c)
		seen[c.String()] = true
		roundTrip(t, c, new(Category))
	}
	require.Equal(t, "invalid-mailbox", InvalidMailbox.String())
	require.Equal(t, "category(200)", Category(200).String())
	require.Equal(t, Soft, Category(200).Outcome())
	require.Error(t, new(Category).UnmarshalText([]byte("Invalid-Mailbox")))
	_, err := Category(200).MarshalText()
	require.Error(t, err)
}

// roundTrip marshals v and unmarshals it into p, a pointer to its type.
func roundTrip[T comparable, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, v T, p P) {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, p))
	require.Equal(t, v, *p)
}

func TestOutcomes(t *testing.T) {
	want := map[Outcome][]Category{
		Hard:  {InvalidMailbox, InvalidDomain, MailboxDisabled, Suppressed},
		Soft:  {Unknown, MailboxFull, MessageTooLarge, RateLimited, Greylisted, DNSFailure, ConnectionFailure, RemoteSystemError, Expired},
		Block: {SpamContent, ContentRejected, Virus, ReputationBlock, PolicyBlock, SenderRejected, AuthFailure, RelayDenied, TLSFailure, ProtocolError},
	}
	n := 0
	for o, list := range want {
		for _, c := range list {
			require.Equal(t, o, c.Outcome(), c)
			require.Equal(t, o, Class{Category: c, Permanent: true}.Outcome(), c)
			n++
		}
	}
	require.Equal(t, len(Categories()), n)
	require.Equal(t, Soft, Class{Category: InvalidMailbox}.Outcome())
	require.Equal(t, Block, Class{Category: AuthFailure}.Outcome())
}

func TestOtherNames(t *testing.T) {
	for s := ScopeUnknown; s <= ScopeSite; s++ {
		roundTrip(t, s, new(Scope))
	}
	for a := ActionNone; a <= ActionFix; a++ {
		roundTrip(t, a, new(Action))
	}
	for o := Soft; o <= Block; o++ {
		roundTrip(t, o, new(Outcome))
	}
	for s := StageNone; s <= StageReset; s++ {
		roundTrip(t, s, new(Stage))
	}
	require.Equal(t, "sender-domain", ScopeSenderDomain.String())
	require.Equal(t, "stage(99)", Stage(99).String())
	require.Equal(t, "shadowed", Shadowed.String())
}

func TestTranslate(t *testing.T) {
	for _, tt := range []struct {
		system System
		name   string
		want   Category
	}{
		{SES, "Permanent/NoEmail", InvalidMailbox},
		{SES, "Permanent/General", Unknown},
		{SES, "Transient/MailboxFull", MailboxFull},
		{SparkPost, "10", InvalidMailbox},
		{SparkPost, "Spam Block", ReputationBlock},
		{PowerMTA, "quota-issues", MailboxFull},
		{KumoMTA, "InvalidRecipient", InvalidMailbox},
		{Sisimai, "userunknown", InvalidMailbox},
		{Sisimai, "FailedSTARTTLS", TLSFailure},
	} {
		got, ok := Translate(tt.system, tt.name)
		require.True(t, ok, tt)
		require.Equal(t, tt.want, got, tt)
	}
	for _, s := range []System{SES, SparkPost, "other"} {
		_, ok := Translate(s, "vacation")
		require.False(t, ok)
	}
	for s, names := range systems {
		for name := range names {
			require.Equal(t, foldName(name), name, s)
		}
	}
}
