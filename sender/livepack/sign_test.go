package livepack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSignAndVerify(t *testing.T) {
	body := pack("1")
	for name, test := range map[string]struct {
		signed []byte
		keys   []ed25519.PublicKey
		reason Reason
	}{
		"good":                 {Sign(body, key(1)), []ed25519.PublicKey{public(1)}, 0},
		"one of several keys":  {Sign(body, key(2)), []ed25519.PublicKey{public(1), public(2)}, 0},
		"signed again":         {Sign(Sign(body, key(2)), key(1)), []ed25519.PublicKey{public(1)}, 0},
		"another key":          {Sign(body, key(2)), []ed25519.PublicKey{public(1)}, BadSignature},
		"no key":               {Sign(body, key(1)), nil, BadSignature},
		"short key":            {Sign(body, key(1)), []ed25519.PublicKey{public(1)[:31]}, BadSignature},
		"cut":                  {bytes.TrimSuffix(Sign(body, key(1)), []byte("\n")), []ed25519.PublicKey{public(1)}, BadSignature},
		"longer":               {append(Sign(body, key(1)), '\n'), []ed25519.PublicKey{public(1)}, BadSignature},
		"changed":              {bytes.Replace(Sign(body, key(1)), []byte(`"1"`), []byte(`"2"`), 1), []ed25519.PublicKey{public(1)}, BadSignature},
		"unsigned":             {body, []ed25519.PublicKey{public(1)}, Unsigned},
		"empty":                {nil, []ed25519.PublicKey{public(1)}, Unsigned},
		"cut in the signature": {Sign(body, key(1))[:60], []ed25519.PublicKey{public(1)}, Unsigned},
		"no base64":            {[]byte(header + "?\n"), []ed25519.PublicKey{public(1)}, Unsigned},
		"not the first line":   {append([]byte("\n"), Sign(body, key(1))...), []ed25519.PublicKey{public(1)}, Unsigned},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(test.signed, test.keys...)
			if test.reason == 0 {
				require.NoError(t, err)
				require.Equal(t, body, got)
				return
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, test.reason, e.Reason)
		})
	}
}

// The files of testdata were made by openssl with the commands that Sign tells.
func TestPacksSignedByOpenSSL(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		return data
	}
	publicKey, err := ParsePublicKey(read("public.pem"))
	require.NoError(t, err)
	body, err := Verify(read("openssl.signed.toml"), publicKey)
	require.NoError(t, err)
	require.Contains(t, string(body), "conns = 2")

	short, err := ParsePublicKey([]byte(base64.StdEncoding.EncodeToString(publicKey) + "\n"))
	require.NoError(t, err)
	require.Equal(t, publicKey, short)
}

func TestPrivateKeys(t *testing.T) {
	der, err := x509.MarshalPKCS8PrivateKey(key(1))
	require.NoError(t, err)
	got, err := ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	require.Equal(t, key(1), got)
}

func TestBadKeys(t *testing.T) {
	const rsa = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaU=\n-----END PUBLIC KEY-----\n" // X25519
	for _, text := range []string{"", "aGVsbG8=", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", rsa} {
		_, err := ParsePublicKey([]byte(text))
		require.Error(t, err, text)
		_, err = ParsePrivateKey([]byte(text))
		require.Error(t, err, text)
	}
}

func TestVersions(t *testing.T) {
	order := []string{"0", "1", "1.0.1", "2", "10", "2026-11-21", "2026-11-21.1", "2026-11-21.2", "2026-11-21.10", "2026-12-01", "18446744073709551615"}
	for i, a := range order {
		for j, b := range order {
			v, err := parseVersion(a)
			require.NoError(t, err)
			w, err := parseVersion(b)
			require.NoError(t, err)
			require.Equal(t, i < j, v.compare(w) < 0, "%s %s", a, b)
			require.Equal(t, i == j, v.compare(w) == 0, "%s %s", a, b)
		}
	}
	for _, bad := range []string{"", "v1", "1.x", "-", "1 ", "18446744073709551616", "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26"} {
		_, err := parseVersion(bad)
		require.Error(t, err, bad)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(signed("1"))
	f.Add([]byte(header + "\n"))
	f.Add(pack("1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if body, err := Verify(data, public(1)); err == nil {
			require.True(t, bytes.HasSuffix(data, body))
			require.True(t, bytes.HasPrefix(Sign(body, key(1)), []byte(header)))
			return
		}
		again, err := Verify(Sign(data, key(1)), public(1))
		require.NoError(t, err)
		require.True(t, bytes.HasSuffix(data, again))
	})
}

func FuzzParseCache(f *testing.F) {
	f.Add([]byte(cacheHeader + "2 " + string(bytes.Repeat([]byte("0"), 64)) + "\n" + string(signed("2"))))
	f.Add([]byte(cacheHeader + "2 \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		newest, _, rest, err := parseCache(data)
		if err == nil {
			require.True(t, bytes.HasSuffix(data, rest))
			again, err := parseVersion(newest.text)
			require.NoError(t, err)
			require.Equal(t, newest, again)
		}
	})
}
