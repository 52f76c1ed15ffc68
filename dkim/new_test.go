package dkim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNewNames(t *testing.T) {
	long := strings.Repeat("x", 63)
	for _, test := range []struct{ domain, selector, identity, wantDomain, wantSelector, wantIdentity, wrong string }{
		{domain: "Example.COM.", selector: "S1", wantDomain: "example.com", wantSelector: "s1"},
		{domain: "bücher.example", selector: "märz", wantDomain: "xn--bcher-kva.example", wantSelector: "xn--mrz-qla"},
		{domain: "xn--bcher-kva.example", selector: "2026.nov", wantDomain: "xn--bcher-kva.example", wantSelector: "2026.nov"},
		{domain: "a--b.example", selector: "r1", wantDomain: "a--b.example", wantSelector: "r1"},
		{domain: "example.com", selector: "s", identity: "@Example.com", wantDomain: "example.com", wantSelector: "s", wantIdentity: "@example.com"},
		{domain: "bücher.example", selector: "s", identity: "News+1@a.Bücher.example", wantDomain: "xn--bcher-kva.example", wantSelector: "s", wantIdentity: "News+1@a.xn--bcher-kva.example"},
		{domain: "", selector: "s", wrong: "domain"},
		{domain: "localhost", selector: "s", wrong: "domain"},
		{domain: ".", selector: "s", wrong: "domain"},
		{domain: "a..b", selector: "s", wrong: "domain"},
		{domain: "-a.example", selector: "s", wrong: "domain"},
		{domain: "a-.example", selector: "s", wrong: "domain"},
		{domain: "a_b.example", selector: "s", wrong: "domain"},
		{domain: "a.example;x=y", selector: "s", wrong: "domain"},
		{domain: "a.example\r\nBcc: x", selector: "s", wrong: "domain"},
		{domain: "me@a.example", selector: "s", wrong: "domain"},
		{domain: long + "x.example", selector: "s", wrong: "domain"},
		{domain: strings.Repeat("x.", 130) + "example", selector: "s", wrong: "domain"},
		{domain: "\u2028.example", selector: "s", wrong: "domain"},
		{domain: "example.com", selector: "", wrong: "selector"},
		{domain: "example.com", selector: "s_1", wrong: "selector"},
		{domain: "example.com", selector: "s._domainkey", wrong: "selector"},
		{domain: long + "." + long + "." + long + ".example", selector: long, wrong: "selector"},
		{domain: "example.com", selector: "s", identity: "example.com", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: "@other.example", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: "@xexample.com", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: "a b@example.com", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: "a=b@example.com", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: "a;b@example.com", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: "a..b@example.com", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: long + "xx@example.com", wrong: "Options.Identity"},
		{domain: "example.com", selector: "s", identity: "a@", wrong: "Options.Identity"},
	} {
		t.Run(test.domain+" "+test.selector+" "+test.identity, func(t *testing.T) {
			s, err := New(test.domain, test.selector, edKey, &Options{Identity: test.identity})
			if test.wrong != "" {
				var e *OptionError
				require.ErrorAs(t, err, &e)
				require.Equal(t, test.wrong, e.Name)
				require.NotContains(t, err.Error(), "\r")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.wantSelector+"._domainkey."+test.wantDomain, s.Records()[0].Name)
			sig := mustSign(t, s, bulk)
			require.Equal(t, test.wantDomain, tag(t, sig, "d"))
			require.Equal(t, test.wantIdentity, tag(t, sig, "i"))
			requireVerified(t, s, sig+bulk)
		})
	}
}

func TestNewReportsAll(t *testing.T) {
	_, err := New("", "", nil, &Options{Identity: "x", Expiry: time.Millisecond, Headers: []string{"a b"}})
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	require.Len(t, joined.Unwrap(), 6)
	require.ErrorAs(t, err, new(*KeyError))
}

func TestNewHeaderNames(t *testing.T) {
	for _, name := range append([]string{"", "a b", "a:", "a;b", "b=", "Ü", "x\r\n"}, neverSigned...) {
		name = strings.ToTitle(name)
		for _, opts := range []Options{{Headers: []string{"To", name}}, {Oversign: []string{name}}} {
			_, err := New("example.com", "s", edKey, &opts)
			var e *OptionError
			require.ErrorAs(t, err, &e, name)
			require.Equal(t, name, e.Value)
		}
	}
}

func TestNewKeys(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0") // to make a bad key
	short, weak := makeRSA(512), makeRSA(1024)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	long := remote{Signer: rsaKey(), public: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 4096), E: 65537}}
	damaged := *rsaKey()
	damaged.D = new(big.Int).Add(damaged.D, big.NewInt(2))
	damaged.Precomputed = rsa.PrecomputedValues{}

	for _, test := range []struct {
		name  string
		key   crypto.Signer
		weak  bool
		wrong KeyProblem
	}{
		{"RSA", rsaKey(), false, 0},
		{"Ed25519", edKey, false, 0},
		{"remote RSA", remote{Signer: rsaKey()}, false, 0},
		{"512 bits", short, true, KeyWeak},
		{"1024 bits", weak, false, KeyWeak},
		{"1024 bits allowed", weak, true, 0},
		{"remote 1024 bits", remote{Signer: weak}, false, KeyWeak},
		{"4097 bits", long, false, KeyTooLong},
		{"none", nil, false, KeyMissing},
		{"nil RSA", (*rsa.PrivateKey)(nil), false, KeyMissing},
		{"empty RSA", &rsa.PrivateKey{}, false, KeyBroken},
		{"damaged RSA", &damaged, false, KeyBroken},
		{"cut Ed25519", edKey[:10:10], false, KeyBroken},
		{"ECDSA", ec, false, KeyType},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := New("example.com", "s", test.key, &Options{AllowWeakKey: test.weak})
			if test.wrong != 0 {
				var e *KeyError
				require.ErrorAs(t, err, &e)
				require.Equal(t, test.wrong, e.Problem)
				require.Contains(t, e.Error(), test.wrong.String())
				return
			}
			require.NoError(t, err)
			requireVerified(t, s, mustSign(t, s, bulk)+bulk)
		})
	}
}

// A key whose values weren't precomputed must not make each signature slow.
func TestNewPrecomputes(t *testing.T) {
	k := rsaKey()
	bare := &rsa.PrivateKey{PublicKey: k.PublicKey, D: k.D, Primes: k.Primes}
	s, err := New("example.com", "s", bare, nil)
	require.NoError(t, err)
	own := s.sigs[0].key.(*rsa.PrivateKey)
	require.NotNil(t, own.Precomputed.Dp)
	require.Nil(t, bare.Precomputed.Dp, "the caller's key is left alone")
}

func TestNewCopiesKey(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	s, err := New("example.com", "s", key, nil)
	require.NoError(t, err)
	clear(key)
	requireVerified(t, s, mustSign(t, s, bulk)+bulk)
}
