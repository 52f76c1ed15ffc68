package dkim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// newsletter is a mail of about 30 KB: indented HTML, quoted-printable lines.
var newsletter = func() []byte {
	var b bytes.Buffer
	header, _, _ := strings.Cut(bulk, "\r\n\r\n")
	b.WriteString(header + "\r\n\r\n<html>\r\n<body>\r\n")
	for i := 0; b.Len() < 30<<10; i++ {
		fmt.Fprintf(&b, "    <td class=3D\"offer\" style=3D\"padding: 0 8px; color: #333333\">\r\n"+
			"      <a href=3D\"https://shop.example/offer/%d?r=3D8f14e45f\">Offer %d of t=\r\n"+
			"he day, only for our best customers, as long as there is some of it in st=\r\nock</a>\r\n    </td>\r\n", i, i)
	}
	b.WriteString("</body>\r\n</html>\r\n")
	return b.Bytes()
}()

// free is a key that costs nothing: what remains is our own work.
type free struct{ crypto.Signer }

var freeSig = make([]byte, 256)

func (free) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return freeSig, nil }

func freeSigner(b *testing.B) *Signer {
	s := mustSigner(b, nil)
	k := &s.sigs[0].signKey
	k.key, k.outside = free{k.key}, false
	return s
}

func rsaSigner(b *testing.B) *Signer {
	s, err := New("shop.example", "s1", rsaKey(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkSign signs a newsletter on all cores. "RSA alone" is crypto/rsa
// without any DKIM, the bound for what can be reached.
func BenchmarkSign(b *testing.B) {
	ours := func(s *Signer) func() error {
		return func() error { _, err := s.Sign(now, "", nil, newsletter); return err }
	}
	theirs := func(s *Signer) func() error {
		o := msgauthOptions(s)
		return func() error { return msgauth.Sign(io.Discard, bytes.NewReader(newsletter), o) }
	}
	digest := sha256.Sum256(newsletter)
	for _, bench := range []struct {
		name string
		run  func() error
	}{
		{"RSA-2048", ours(rsaSigner(b))},
		{"RSA-2048/go-msgauth", theirs(rsaSigner(b))},
		{"RSA-2048/alone", func() error { _, err := rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA256, digest[:]); return err }},
		{"Ed25519", ours(mustSigner(b, nil))},
		{"Ed25519/go-msgauth", theirs(mustSigner(b, nil))},
		{"Both", ours(Join(rsaSigner(b), mustSigner(b, nil)))},
		{"Overhead", ours(freeSigner(b))},
		{"Overhead/go-msgauth", theirs(freeSigner(b))},
		{"Overhead/SHA-256", func() error { sha256.Sum256(newsletter); return nil }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(newsletter)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := bench.run(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkRatio compares RSA-2048 signing with crypto/rsa alone on all cores,
// turn by turn, so that other load on the machine slows down both: "of-RSA" is
// the share of crypto/rsa's rate that Sign reaches.
func BenchmarkRatio(b *testing.B) {
	s := rsaSigner(b)
	digest := sha256.Sum256(newsletter)
	var ours, alone atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			start := time.Now()
			if _, err := s.Sign(start, "", nil, newsletter); err != nil {
				b.Error(err)
				return
			}
			middle := time.Now()
			if _, err := rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA256, digest[:]); err != nil {
				b.Error(err)
				return
			}
			ours.Add(int64(middle.Sub(start)))
			alone.Add(int64(time.Since(middle)))
		}
	})
	b.ReportMetric(float64(alone.Load())/float64(ours.Load()), "of-RSA")
}
