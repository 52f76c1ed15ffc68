package dkim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func pemOf(typ string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return der
}

func TestParseKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecDER, err := x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	spki, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	require.NoError(t, err)

	pkcs1 := pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey()))
	rsa8 := pemOf("PRIVATE KEY", pkcs8(t, rsaKey()))
	ed8 := pemOf("PRIVATE KEY", pkcs8(t, edKey))
	public := pemOf("PUBLIC KEY", spki)
	params := pemOf("EC PARAMETERS", []byte{6, 1, 1})

	for _, test := range []struct {
		name, pem string
		want      any
		wrong     KeyProblem
	}{
		{name: "PKCS#1", pem: pkcs1, want: rsaKey()},
		{name: "PKCS#8 RSA", pem: rsa8, want: rsaKey()},
		{name: "PKCS#8 Ed25519", pem: ed8, want: edKey},
		{name: "CRLF and text", pem: "my key:\r\n" + strings.ReplaceAll(ed8, "\n", "\r\n") + "bye", want: edKey},
		{name: "after a public key", pem: public + rsa8, want: rsaKey()},
		{name: "the first of two", pem: ed8 + rsa8, want: edKey},
		{name: "PKCS#8 under PKCS#1's name", pem: pemOf("RSA PRIVATE KEY", pkcs8(t, rsaKey())), wrong: KeyBroken},
		{name: "empty", pem: " \n", wrong: KeyNotPEM},
		{name: "DER", pem: string(pkcs8(t, edKey)), wrong: KeyNotPEM},
		{name: "cut off", pem: rsa8[:200], wrong: KeyNotPEM},
		{name: "written line breaks", pem: strings.ReplaceAll(ed8, "\n", `\n`), wrong: KeyNotPEM},
		{name: "public", pem: public, wrong: KeyPublic},
		{name: "certificate", pem: pemOf("CERTIFICATE", spki), wrong: KeyPublic},
		{name: "encrypted PKCS#8", pem: pemOf("ENCRYPTED PRIVATE KEY", spki), wrong: KeyEncrypted},
		{name: "encrypted PKCS#1", pem: "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n", wrong: KeyEncrypted},
		{name: "PKCS#8 EC", pem: pemOf("PRIVATE KEY", pkcs8(t, ec)), wrong: KeyType},
		{name: "EC with parameters", pem: params + pemOf("EC PRIVATE KEY", ecDER), wrong: KeyType},
		{name: "DSA", pem: pemOf("DSA PRIVATE KEY", []byte{1}), wrong: KeyType},
		{name: "OpenSSH", pem: pemOf("OPENSSH PRIVATE KEY", []byte{1}), wrong: KeyType},
		{name: "damaged PKCS#1", pem: pemOf("RSA PRIVATE KEY", []byte{0x30, 0}), wrong: KeyBroken},
		{name: "damaged PKCS#8", pem: pemOf("PRIVATE KEY", []byte{1, 2, 3}), wrong: KeyBroken},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := ParseKey([]byte(test.pem))
			if test.wrong != 0 {
				var e *KeyError
				require.ErrorAs(t, err, &e)
				require.Equal(t, test.wrong, e.Problem)
				require.NotEmpty(t, e.Detail+errText(e.Err), "says more than what is wrong")
				return
			}
			require.NoError(t, err)
			require.True(t, key.(interface {
				Equal(x crypto.PrivateKey) bool
			}).Equal(test.want))
			_, err = New("example.com", "s", key, nil)
			require.NoError(t, err)
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
