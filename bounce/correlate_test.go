package bounce

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	tokenKey = []byte("0123456789abcdef0123456789abcdef")
	today    = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func newCodec(t *testing.T, cfg CodecConfig) *Codec {
	if cfg.Keys == nil {
		cfg.Keys = [][]byte{tokenKey}
	}
	if cfg.Domain == "" {
		cfg.Domain = "mail.example.com"
	}
	c, err := NewCodec(cfg)
	require.NoError(t, err)
	return c
}

func TestReturnPath(t *testing.T) {
	c := newCodec(t, CodecConfig{Streams: []string{"receipts", "news"}})
	for _, ref := range []Ref{
		{},
		{Campaign: "4711", Recipient: "18446744073709551615", Stream: "news"},
		{Campaign: "0", Recipient: "007", Stream: "receipts"},
		{Campaign: "3f2504e0-4f89-11d3-9a0c-0305e82c3301", Recipient: "83886"},
		{Campaign: "12", Recipient: "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
		{Campaign: "autumn-24", Recipient: c.Key("Jo@Example.org"), Stream: "news"},
		{Campaign: "Ünicode", Recipient: "A+b"},
		{Campaign: strings.Repeat("x", 15), Recipient: "sixsix"},
	} {
		path, err := c.ReturnPath(ref, today)
		require.NoError(t, err, "%+v", ref)
		local, _, _ := strings.Cut(path, "@")
		require.LessOrEqual(t, len(local), 64)
		require.Equal(t, strings.ToLower(path), path)
		for _, form := range []string{path, "<" + strings.ToUpper(path) + ">", local} {
			got, err := c.Open(form, today.AddDate(0, 0, 59))
			require.NoError(t, err, form)
			require.Equal(t, ref, got)
		}
	}
}

func TestTokenTooLong(t *testing.T) {
	c := newCodec(t, CodecConfig{})
	for _, ref := range []Ref{
		{Campaign: "a campaign with a very long name"},
		{Campaign: strings.Repeat("X", 16)},
		{Campaign: "0123456789ab", Recipient: "0123456789"},
		{Campaign: "3f2504e0-4f89-11d3-9a0c-0305e82c3301", Recipient: "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
	} {
		_, err := c.ReturnPath(ref, today)
		require.ErrorIs(t, err, ErrTooLong, "%+v", ref)
	}
	_, err := c.Token(Ref{Stream: "unheard of"}, today)
	require.ErrorContains(t, err, "unheard of")
}

// TestTokenForged changes every bit of a token, and every character of its text.
func TestTokenForged(t *testing.T) {
	c := newCodec(t, CodecConfig{})
	token, err := c.Token(Ref{Campaign: "77", Recipient: "12345"}, today)
	require.NoError(t, err)
	data, err := tokenEncoding.DecodeString(token)
	require.NoError(t, err)
	for i := range 8 * len(data) {
		forged := append([]byte(nil), data...)
		forged[i/8] ^= 1 << (i % 8)
		_, err := c.Open(tokenEncoding.EncodeToString(forged), today)
		require.ErrorIs(t, err, ErrForged)
	}
	for i := range token {
		_, err := c.Open(token[:i], today)
		require.Error(t, err)
		_, err = c.Open(token[:i]+"!"+token[i+1:], today)
		require.ErrorIs(t, err, ErrNoToken)
	}
	_, err = c.Open("postmaster@mail.example.com", today)
	require.ErrorIs(t, err, ErrNoToken)
	_, err = newCodec(t, CodecConfig{Keys: [][]byte{[]byte("another key of 32 octets .......")}}).Open(token, today)
	require.ErrorIs(t, err, ErrForged)
}

func TestTokenExpires(t *testing.T) {
	c := newCodec(t, CodecConfig{Lifetime: 36 * time.Hour})
	token, err := c.Token(Ref{Campaign: "77"}, today)
	require.NoError(t, err)
	_, err = c.Open(token, today.AddDate(0, 0, 2))
	require.NoError(t, err, "rounded up to whole days")
	ref, err := c.Open(token, today.AddDate(0, 0, 3))
	require.ErrorIs(t, err, ErrExpired)
	require.Equal(t, "77", ref.Campaign)
}

func TestTokenKeyRotation(t *testing.T) {
	next := []byte("the key of the coming month 1234")
	before := newCodec(t, CodecConfig{Keys: [][]byte{tokenKey, next}})
	after := newCodec(t, CodecConfig{Keys: [][]byte{next, tokenKey}})
	gone := newCodec(t, CodecConfig{Keys: [][]byte{next}})
	old, err := before.Token(Ref{Campaign: "1"}, today)
	require.NoError(t, err)
	fresh, err := after.Token(Ref{Campaign: "1"}, today)
	require.NoError(t, err)
	require.NotEqual(t, old, fresh)
	for _, token := range []string{old, fresh} {
		for _, c := range []*Codec{before, after} {
			_, err := c.Open(token, today)
			require.NoError(t, err)
		}
	}
	_, err = gone.Open(old, today)
	require.ErrorIs(t, err, ErrForged)
}

func TestNewCodecNamesEachMistake(t *testing.T) {
	c, err := NewCodec(CodecConfig{Keys: [][]byte{[]byte("short")}, Prefix: "a@b", Streams: make([]string, 256), Lifetime: -time.Hour})
	require.Nil(t, c)
	for _, field := range []string{"Keys[0]", "Prefix", "Domain", "Streams", "Lifetime"} {
		require.ErrorContains(t, err, field)
	}
	_, err = NewCodec(CodecConfig{Domain: "example.com"})
	require.ErrorContains(t, err, "Keys is empty")
}

func TestFind(t *testing.T) {
	c := newCodec(t, CodecConfig{Streams: []string{"news"}})
	ref := Ref{Campaign: "31", Recipient: "99", Stream: "news"}
	path, err := c.ReturnPath(ref, today)
	require.NoError(t, err)
	id, err := c.MessageID(ref, today)
	require.NoError(t, err)
	token, err := c.Token(ref, today)
	require.NoError(t, err)
	for name, rep := range map[string]*Report{
		"return path":        {SentTo: []string{"x@example.net", strings.ToUpper(path)}},
		"envelope id":        {EnvelopeID: token},
		"feedback id":        {FeedbackID: token},
		"in feedback id":     {FeedbackID: "a:" + token + "::sender"},
		"message id":         {MessageID: id},
		"original":           {Original: Header{{"Return-Path", "<" + path + ">"}}},
		"feedback mail from": {Feedback: &Feedback{OriginalMailFrom: path}},
	} {
		got, ok := c.Find(rep, today)
		require.True(t, ok, name)
		require.Equal(t, ref, got, name)
		_, ok = c.Find(rep, today.AddDate(1, 0, 0))
		require.False(t, ok, "%s: expired", name)
	}
	_, ok := c.Find(&Report{SentTo: []string{"bounces+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@mail.example.com"}}, today)
	require.False(t, ok)
}

func TestVERP(t *testing.T) {
	path, ok := EncodeVERP("bounces@example.com", "jo+tag@example.org")
	require.True(t, ok)
	require.Equal(t, "bounces+jo+tag=example.org@example.com", path)
	to, ok := DecodeVERP("bounces@EXAMPLE.com", path)
	require.True(t, ok)
	require.Equal(t, "jo+tag@example.org", to)
	for _, bad := range []string{"bounces@example.com", "other+jo=example.org@example.com", "bounces+jo=example.org@example.net", "bounces+jo@example.com", "bounces+=example.org@example.com", "", "@"} {
		_, ok := DecodeVERP("bounces@example.com", bad)
		require.False(t, ok, bad)
	}
	for _, bad := range []string{"", "jo", "@example.org", "jo@", strings.Repeat("x", 60) + "@example.org", "\"a b\"@example.org"} {
		_, ok := EncodeVERP("bounces@example.com", bad)
		require.False(t, ok, bad)
	}
}

func TestFeedbackID(t *testing.T) {
	f := FeedbackID{Names: [3]string{"autumn", "news"}, Sender: "volley1"}
	require.NoError(t, f.Check())
	require.Equal(t, "autumn:news::volley1", f.String())
	for value, want := range map[string]FeedbackID{
		"autumn:news::volley1": f,
		" a:b:c:sender ":       {Names: [3]string{"a", "b", "c"}, Sender: "sender"},
		"22:1693":              {Names: [3]string{"22"}, Sender: "1693"},
		"alone":                {Sender: "alone"},
	} {
		got, ok := ParseFeedbackID(value)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", "a:b:", "a:b:c:d:e"} {
		_, ok := ParseFeedbackID(bad)
		require.False(t, ok, bad)
	}
	for _, bad := range []FeedbackID{{}, {Sender: "four"}, {Sender: "sender", Names: [3]string{"a:b"}}, {Sender: "sen der"}, {Sender: "sender\r\n"}} {
		require.Error(t, bad.Check())
	}
}

func FuzzOpenToken(f *testing.F) {
	c, err := NewCodec(CodecConfig{Keys: [][]byte{tokenKey}, Domain: "example.com"})
	require.NoError(f, err)
	token, err := c.Token(Ref{Campaign: "1", Recipient: "x"}, today)
	require.NoError(f, err)
	f.Add(token)
	f.Add("bounces+" + token + "@example.com")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := c.Open(s, today); err == nil {
			lower := strings.ToLower(s)
			require.Contains(t, lower, token, "nobody else can sign")
		}
	})
}
