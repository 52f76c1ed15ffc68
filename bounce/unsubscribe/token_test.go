package unsubscribe

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func keyring(t testing.TB, secrets ...[]byte) *Keyring {
	t.Helper()
	k, err := NewKeyring(secrets...)
	require.NoError(t, err)
	return k
}

func TestToken(t *testing.T) {
	k := keyring(t, secret(1))
	for _, token := range []Token{
		{Address: "ann@example.com"},
		{Address: "ann@example.com", Stream: "news"},
		{Address: "jörg@bücher.example", Stream: "Übersicht", Expires: noon},
		{Address: strings.Repeat("a", 308) + "@example.com", Stream: strings.Repeat("s", 100), Expires: noon},
	} {
		text, err := k.Seal(token)
		require.NoError(t, err)
		require.Regexp(t, `^[A-Za-z0-9_-]+$`, text)
		require.LessOrEqual(t, len(text), 60+(len(token.Address)+len(token.Stream))*4/3)
		require.Less(t, len(text), maxToken)
		got, err := k.Open(text, noon.Add(-time.Second))
		require.NoError(t, err)
		require.Equal(t, token, got)
		again, err := k.Seal(token)
		require.NoError(t, err)
		require.NotEqual(t, text, again)
	}
	for _, token := range []Token{{}, {Address: strings.Repeat("a", 321)}, {Address: "a@b", Stream: strings.Repeat("s", 101)}} {
		_, err := k.Seal(token)
		require.Error(t, err)
	}
}

// Nothing of the token can be seen in its text.
func TestTokenIsOpaque(t *testing.T) {
	text, err := keyring(t, secret(1)).Seal(Token{Address: "ann@example.com", Stream: "newsletter"})
	require.NoError(t, err)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	for _, part := range []string{"ann", "example", "newsletter"} {
		require.NotContains(t, string(raw), part)
	}
}

func TestTokenExpires(t *testing.T) {
	k := keyring(t, secret(1))
	token := Token{Address: "ann@example.com", Expires: noon}
	text, err := k.Seal(token)
	require.NoError(t, err)
	_, err = k.Open(text, noon.Add(-1))
	require.NoError(t, err)
	got, err := k.Open(text, noon)
	require.ErrorIs(t, err, ErrExpired)
	require.Equal(t, token, got)
	// One of before 1970 has expired too.
	text, err = k.Seal(Token{Address: "ann@example.com", Expires: time.Unix(-5, 0)})
	require.NoError(t, err)
	_, err = k.Open(text, noon)
	require.ErrorIs(t, err, ErrExpired)
}

// Each change of each bit is noticed.
func TestTokenForged(t *testing.T) {
	k := keyring(t, secret(1))
	text, err := k.Seal(Token{Address: "ann@example.com", Stream: "news"})
	require.NoError(t, err)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	for i := range len(raw) * 8 {
		forged := bytes.Clone(raw)
		forged[i/8] ^= 1 << (i % 8)
		_, err := k.Open(base64.RawURLEncoding.EncodeToString(forged), noon)
		require.ErrorIs(t, err, ErrToken, "bit %d", i)
	}
	for i := range len(text) {
		_, err := k.Open(text[:i], noon)
		require.ErrorIs(t, err, ErrToken, "cut at %d", i)
	}
	for _, bad := range []string{text + "A", text + "=", " " + text, text + "\n", strings.ToUpper(text), strings.Repeat("A", 801), "", "."} {
		_, err := k.Open(bad, noon)
		require.ErrorIs(t, err, ErrToken, bad)
	}
	_, err = keyring(t, secret(2)).Open(text, noon)
	require.ErrorIs(t, err, ErrToken)
}

func TestSecretsRotate(t *testing.T) {
	token := Token{Address: "ann@example.com"}
	old, both := keyring(t, secret(1)), keyring(t, secret(2), secret(1))
	before, err := old.Seal(token)
	require.NoError(t, err)
	after, err := both.Seal(token)
	require.NoError(t, err)
	for _, text := range []string{before, after} {
		got, err := both.Open(text, noon)
		require.NoError(t, err)
		require.Equal(t, token, got)
	}
	_, err = old.Open(after, noon)
	require.ErrorIs(t, err, ErrToken)

	s := secret(3)
	k := keyring(t, s)
	text, err := k.Seal(token)
	require.NoError(t, err)
	clear(s) // the caller's
	_, err = k.Open(text, noon)
	require.NoError(t, err)

	_, err = NewKeyring()
	require.Error(t, err)
	_, err = NewKeyring(secret(1), make([]byte, 31))
	require.ErrorContains(t, err, "secret 2 has 31 bytes")
}

// golden was sealed with secret(1). Old links must work after an update.
const golden = "ARMtfYyxYV1gJC9OoEHmqnNilzHCvkYCo6a1y4usfkLHxfMuNxgM4p4_yVEVVMqyblyuJY_9"

func TestGolden(t *testing.T) {
	got, err := keyring(t, secret(1)).Open(golden, noon)
	require.NoError(t, err)
	require.Equal(t, Token{Address: "ann@example.com", Stream: "news"}, got)
}

func FuzzOpen(f *testing.F) {
	k := keyring(f, secret(2), secret(1))
	f.Add(golden)
	f.Add(golden[:40])
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := k.Open(text, noon)
		if text != golden {
			require.ErrorIs(t, err, ErrToken)
			require.Zero(t, got)
		}
	})
}

// Sealed by a key that we have, anything may be inside.
func FuzzDecode(f *testing.F) {
	for _, token := range []Token{{Address: "ann@example.com"}, {Address: "a@b", Stream: "s", Expires: noon}} {
		b, err := token.encode()
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		token, err := decode(b)
		if err != nil {
			require.ErrorIs(t, err, ErrToken)
			return
		}
		plain, err := token.encode()
		if err != nil {
			return // too long to be ours
		}
		again, err := decode(plain)
		require.NoError(t, err)
		require.Equal(t, token.Address, again.Address)
		require.Equal(t, token.Stream, again.Stream)
	})
}

func BenchmarkSeal(b *testing.B) {
	k := keyring(b, secret(1))
	for b.Loop() {
		if _, err := k.Seal(Token{Address: "ann@example.com", Stream: "news"}); err != nil {
			b.Fatal(err)
		}
	}
}
