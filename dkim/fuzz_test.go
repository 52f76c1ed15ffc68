package dkim

import (
	"bytes"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"
)

// crlfClean turns each CR, LF and CRLF into CRLF.
func crlfClean(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.ReplaceAll(s, "\r", "\n")
	return strings.ReplaceAll(s, "\n", "\r\n")
}

// FuzzSign: go-msgauth verifies whatever we sign, and hashes the same body.
func FuzzSign(f *testing.F) {
	for _, s := range []string{
		dinner, bulk, "", "\n", "\n\n", "\n \t\n", "\n a\t\tb  \n\n \n", "To : x\n\ty\n \n z\n\n\tx", "Hello\n\nx",
		"Subject: \xff\n\n\xfe\x00 \x0b \n", "from: b\nFROM:\n\nx", "\n12345678 \n1234567  1234567\t\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(strings.ToLower(s), "-signature") {
			t.Skip("has signatures of its own")
		}
		msg := "From: a@example.com\r\n" + crlfClean(s)
		signer := mustSigner(t, nil)
		sig, err := signer.Sign(now, "", nil, []byte(msg))
		if err != nil {
			var e *MessageError
			require.ErrorAs(t, err, &e)
			require.Equal(t, BadHeader, e.Problem)
			return
		}
		if !strings.Contains(msg, "\r\n\r\n") { // go-msgauth wants a blank line
			msg = strings.TrimSuffix(msg, "\r\n") + "\r\n\r\n"
		}
		requireVerified(t, signer, string(sig)+msg)
		require.Equal(t, tag(t, msgauthSign(t, msg), "bh"), tag(t, string(sig), "bh"))
	})
}

func msgauthSign(t testing.TB, msg string) string {
	t.Helper()
	s, err := msgauth.NewSigner(msgauthOptions(mustSigner(t, nil)))
	require.NoError(t, err)
	_, err = s.Write([]byte(msg))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return s.Signature()
}

// msgauthOptions make go-msgauth sign as the first signature of s does.
func msgauthOptions(s *Signer) *msgauth.SignOptions {
	sig := s.sigs[0]
	o := &msgauth.SignOptions{
		Domain: sig.domain, Selector: sig.selector, Signer: sig.key,
		HeaderCanonicalization: msgauth.CanonicalizationRelaxed,
		BodyCanonicalization:   msgauth.CanonicalizationRelaxed,
		HeaderKeys:             append(DefaultHeaders(), DefaultOversign()...),
	}
	return o
}

// FuzzSignRaw: whatever the message is, Sign returns a field or an error that says why.
func FuzzSignRaw(f *testing.F) {
	for _, s := range []string{dinner, bulk, "From: a\n\n", "From: a\r\n\r\n\r", "From: a\r\n b\r\n\r\n \r"} {
		f.Add([]byte(s))
	}
	signer := mustSigner(f, nil)
	f.Fuzz(func(t *testing.T, msg []byte) {
		sig, err := signer.Sign(now, "", nil, msg)
		if err != nil {
			require.ErrorAs(t, err, new(*MessageError))
			return
		}
		require.True(t, bytes.HasSuffix(sig, crlf))
		require.Equal(t, bytes.Count(sig, crlf), bytes.Count(sig, []byte("\n")))
	})
}

// FuzzCheckRecord: a record that we find good lets go-msgauth verify our signature.
func FuzzCheckRecord(f *testing.F) {
	signer := mustSigner(f, nil)
	good := signer.Records()[0].Value
	for _, s := range []string{good, good + ";", "v=DKIM1; h=sha256:sha1; s=*:email; t=y:s; n=x; " + good[9:], "p=", "v=spf1 -all", `"` + good + `"`} {
		f.Add(s)
	}
	signed := mustSign(f, signer, dinner) + dinner
	f.Fuzz(func(t *testing.T, txt string) {
		if err := CheckRecord([]string{txt}, edKey.Public()); err != nil {
			var e *RecordError
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Problem.String())
			return
		}
		if strings.ContainsAny(txt, "\t\r\n") {
			t.Skip("go-msgauth knows no other white space than the space in p=")
		}
		v, err := msgauth.VerifyWithOptions(strings.NewReader(signed), &msgauth.VerifyOptions{
			LookupTXT: func(string) ([]string, error) { return []string{txt}, nil },
		})
		require.NoError(t, err)
		require.NoError(t, v[0].Err)
	})
}

// FuzzParseKey: a key or a *KeyError.
func FuzzParseKey(f *testing.F) {
	f.Add([]byte(pemOf("PRIVATE KEY", pkcs8(f, edKey))))
	f.Add([]byte(pemOf("ENCRYPTED PRIVATE KEY", []byte{1})))
	f.Add([]byte(pemOf("RSA PRIVATE KEY", []byte{0x30, 3, 2, 1, 0})))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := ParseKey(data)
		if err != nil {
			require.Nil(t, key)
			require.ErrorAs(t, err, new(*KeyError))
			return
		}
		require.NotEmpty(t, algorithm(key.Public()))
	})
}
