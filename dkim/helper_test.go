package dkim

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"
)

// edKey is the key of RFC 8463 Appendix A.2.
var edKey = func() ed25519.PrivateKey {
	seed, err := base64.StdEncoding.DecodeString("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	if err != nil {
		panic(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}()

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return makeRSA(2048) })

func makeRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// now is the time of all signatures that tests verify: go-msgauth has its own clock.
var now = time.Now()

// dinner is the message of RFC 8463 Appendix A.3 (RFC 6376 Appendix A.1).
const dinner = "From: Joe SixPack <joe@football.example.com>\r\n" +
	"To: Suzie Q <suzie@shopping.example.net>\r\n" +
	"Subject: Is dinner ready?\r\n" +
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n" +
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n" +
	"\r\n" +
	"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"

const bulk = "From: Shop <news@shop.example>\r\n" +
	"To: a@example.net\r\n" +
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
	"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n" +
	"Message-ID: <1@shop.example>\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: text/html; charset=utf-8\r\n" +
	"Content-Transfer-Encoding: quoted-printable\r\n" +
	"List-Unsubscribe: <https://shop.example/u/1>,\r\n" +
	"\t<mailto:u-1@shop.example>\r\n" +
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" +
	"X-Campaign: 7\r\n" +
	"\r\n" +
	"<p>Hello</p>  \r\n  <p>there</p>\r\n\r\n"

func mustSigner(t testing.TB, opts *Options) *Signer {
	t.Helper()
	s, err := New("football.example.com", "brisbane", edKey, opts)
	require.NoError(t, err)
	return s
}

func mustSign(t testing.TB, s *Signer, msg string) string {
	t.Helper()
	sig, err := s.Sign(now, "", nil, []byte(msg))
	require.NoError(t, err)
	return string(sig)
}

// verify has go-msgauth verify a message against the records of s.
func verify(t testing.TB, s *Signer, msg string) []*msgauth.Verification {
	t.Helper()
	v, err := msgauth.VerifyWithOptions(strings.NewReader(msg), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			for _, r := range s.Records() {
				if r.Name == name {
					return []string{r.Value}, nil
				}
			}
			return nil, nil
		},
	})
	require.NoError(t, err)
	return v
}

func requireVerified(t testing.TB, s *Signer, msg string) {
	t.Helper()
	verifications := verify(t, s, msg)
	require.Len(t, verifications, len(s.sigs))
	for _, v := range verifications {
		require.NoError(t, v.Err, "%q", msg)
	}
}

// tag returns the value of a tag of a signature field, without white space.
func tag(t testing.TB, field, name string) string {
	t.Helper()
	_, value, _ := strings.Cut(field, ":")
	tags, err := parseTags(value)
	require.Nil(t, err)
	return withoutSpace(tags[name])
}

// recorder is a hash.Hash that keeps what it is given.
type recorder struct{ bytes.Buffer }

func (r *recorder) Sum(b []byte) []byte { return append(b, r.Bytes()...) }
func (r *recorder) Size() int           { return 0 }
func (r *recorder) BlockSize() int      { return 64 }
