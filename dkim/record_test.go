package dkim

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecords(t *testing.T) {
	s, err := New("shop.example", "s1", rsaKey(), nil)
	require.NoError(t, err)
	r := s.Records()[0]
	require.Equal(t, "s1._domainkey.shop.example", r.Name)
	require.Regexp(t, `^v=DKIM1; k=rsa; p=[A-Za-z0-9+/]{390,}=*$`, r.Value)
	require.NoError(t, CheckRecord([]string{r.Value}, rsaKey().Public()))

	parts := r.Strings()
	require.Len(t, parts, 2)
	require.Equal(t, r.Value, strings.Join(parts, ""))
	for _, p := range parts {
		require.LessOrEqual(t, len(p), 255)
	}
	zone := regexp.MustCompile(`^s1\._domainkey\.shop\.example\. IN TXT \( "([^"]+)" "([^"]+)" \)$`).FindStringSubmatch(r.Zone())
	require.NotNil(t, zone)
	require.Equal(t, parts, zone[1:])

	require.Equal(t, []string{""}, Record{}.Strings())
	require.Len(t, Record{Value: strings.Repeat("x", 255)}.Strings(), 1)
	require.Len(t, Record{Value: strings.Repeat("x", 510)}.Strings(), 2)
	require.Len(t, Record{Value: strings.Repeat("x", 511)}.Strings(), 3)
}

func TestCheckRecord(t *testing.T) {
	rsaPub, edPub := rsaKey().Public(), edKey.Public()
	spki := publicText(rsaPub)
	pkcs1 := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey))
	other := publicText(&makeRSA(1024).PublicKey)
	edText := publicText(edPub)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecSPKI, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	require.NoError(t, err)

	for _, test := range []struct {
		name string
		txts []string
		key  crypto.PublicKey
		want RecordProblem
	}{
		{"ours", []string{"v=DKIM1; k=rsa; p=" + spki}, rsaPub, 0},
		{"k= left out", []string{"v=DKIM1;p=" + spki + ";"}, rsaPub, 0},
		{"v= left out", []string{"p=" + spki}, rsaPub, 0},
		{"PKCS#1, erratum 3017", []string{"v=DKIM1; p=" + pkcs1}, rsaPub, 0},
		{"white space", []string{" v = DKIM1 ;\tk = rsa; p = " + spki[:50] + " \r\n\t" + spki[50:] + " ; "}, rsaPub, 0},
		{"all tags", []string{"v=DKIM1; h=sha1 : sha256; k=rsa; n=a=b \"note\"; s=other:email; t=s; new=tag; p=" + spki}, rsaPub, 0},
		{"s=*", []string{"v=DKIM1; s=*; p=" + spki}, rsaPub, 0},
		{"Ed25519", []string{"v=DKIM1; k=ed25519; p=" + edText}, edPub, 0},

		{"none", nil, rsaPub, RecordMissing},
		{"several", []string{"v=DKIM1; p=" + spki, "v=spf1 -all"}, rsaPub, RecordSeveral},
		{"empty", []string{""}, rsaPub, RecordMalformed},
		{"no p=", []string{"v=DKIM1; k=rsa"}, rsaPub, RecordMalformed},
		{"SPF", []string{"v=spf1 -all"}, rsaPub, RecordVersion},
		{"DKIM2", []string{"v=DKIM2; p=" + spki}, rsaPub, RecordVersion},
		{"v= not first", []string{"k=rsa; v=DKIM1; p=" + spki}, rsaPub, RecordVersion},
		{"tag without value", []string{"v=DKIM1; k; p=" + spki}, rsaPub, RecordMalformed},
		{"empty tag", []string{"v=DKIM1;; p=" + spki}, rsaPub, RecordMalformed},
		{"tag twice", []string{"v=DKIM1; p=" + spki + "; p=" + spki}, rsaPub, RecordMalformed},
		{"zone file quotes", []string{`"v=DKIM1; k=rsa; p=` + spki + `"`}, rsaPub, RecordMalformed},
		{"zone file strings", []string{`v=DKIM1; k=rsa; p=` + spki[:50] + `" "` + spki[50:]}, rsaPub, RecordMalformed},
		{"zone file escapes", []string{`v=DKIM1\; k=rsa\; p=` + spki}, rsaPub, RecordMalformed},
		{"bad base64", []string{"v=DKIM1; p=" + spki[:50] + "*"}, rsaPub, RecordMalformed},
		{"cut key", []string{"v=DKIM1; p=" + spki[:200]}, rsaPub, RecordMalformed},
		{"cut Ed25519", []string{"v=DKIM1; k=ed25519; p=" + edText[:40]}, edPub, RecordMalformed},
		{"EC key as RSA", []string{"v=DKIM1; p=" + base64.StdEncoding.EncodeToString(ecSPKI)}, rsaPub, RecordMalformed},
		{"revoked", []string{"v=DKIM1; k=rsa; p="}, rsaPub, RecordRevoked},
		{"other key", []string{"v=DKIM1; k=rsa; p=" + other}, rsaPub, RecordOtherKey},
		{"RSA for Ed25519", []string{"v=DKIM1; p=" + spki}, edPub, RecordKeyType},
		{"Ed25519 for RSA", []string{"v=DKIM1; k=ed25519; p=" + edText}, rsaPub, RecordKeyType},
		{"k= in capitals", []string{"v=DKIM1; k=RSA; p=" + spki}, rsaPub, RecordKeyType},
		{"unknown key", []string{"v=DKIM1; p=" + spki}, &ecdsa.PublicKey{}, RecordKeyType},
		{"only sha1", []string{"v=DKIM1; h=sha1; p=" + spki}, rsaPub, RecordNoSHA256},
		{"empty h=", []string{"v=DKIM1; h=; p=" + spki}, rsaPub, RecordNoSHA256},
		{"other service", []string{"v=DKIM1; s=tlsrpt; p=" + spki}, rsaPub, RecordNoEmail},
		{"test", []string{"v=DKIM1; t=s:y; p=" + spki}, rsaPub, RecordTesting},
		{"test and revoked", []string{"v=DKIM1; t=y; p="}, rsaPub, RecordRevoked},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := CheckRecord(test.txts, test.key)
			if test.want == 0 {
				require.NoError(t, err)
				return
			}
			var e *RecordError
			require.ErrorAs(t, err, &e)
			require.Equal(t, test.want, e.Problem, err)
			require.Equal(t, test.want == RecordTesting, e.Usable())
			require.Contains(t, err.Error(), test.want.String())
		})
	}
}

func TestCheck(t *testing.T) {
	a, err := New("a.example", "s1", rsaKey(), &Options{Identity: "@news.a.example"})
	require.NoError(t, err)
	b, err := New("b.example", "s1", edKey, &Options{Identity: "x@b.example"})
	require.NoError(t, err)
	both := Join(a, b)
	good := map[string]string{}
	for _, r := range both.Records() {
		good[r.Name] = r.Value
	}
	nameA, nameB := a.Records()[0].Name, b.Records()[0].Name
	down := errors.New("no answer")

	type answers map[string]string
	for _, test := range []struct {
		name    string
		answers answers
		err     error
		want    map[string]RecordProblem
	}{
		{"good", good, nil, nil},
		{"strict", answers{nameA: good[nameA] + "; t=s", nameB: good[nameB] + "; t=s"}, nil, map[string]RecordProblem{nameA: RecordStrict}},
		{"strict test", answers{nameA: good[nameA] + "; t=s:y", nameB: good[nameB] + "; t=y"}, nil, map[string]RecordProblem{nameA: RecordStrict, nameB: RecordTesting}},
		{"exchanged", answers{nameA: good[nameB], nameB: good[nameA]}, nil, map[string]RecordProblem{nameA: RecordKeyType, nameB: RecordKeyType}},
		{"one missing", answers{nameA: good[nameA]}, &net.DNSError{IsNotFound: true}, map[string]RecordProblem{nameB: RecordMissing}},
		{"no answer", answers{nameA: good[nameA]}, down, map[string]RecordProblem{nameB: RecordLookup}},
		{"nothing", answers{nameB: good[nameB]}, nil, map[string]RecordProblem{nameA: RecordMissing}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := both.Check(t.Context(), func(ctx context.Context, name string) ([]string, error) {
				require.Equal(t, t.Context(), ctx)
				if txt, ok := test.answers[name]; ok {
					return []string{txt}, nil
				}
				return nil, test.err
			})
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			got := map[string]RecordProblem{}
			for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
				e := err.(*RecordError)
				got[e.Name] = e.Problem
				require.Contains(t, e.Error(), e.Name)
			}
			require.Equal(t, test.want, got)
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
			}
		})
	}
}

func TestProblemTexts(t *testing.T) {
	for p := NoFrom; p <= BareLineEnd; p++ {
		require.NotContains(t, p.String(), "Problem(")
	}
	for p := KeyMissing; p <= KeyBroken; p++ {
		require.NotContains(t, p.String(), "Problem(")
	}
	for p := RecordLookup; p <= RecordTesting; p++ {
		require.NotContains(t, p.String(), "Problem(")
	}
	require.Equal(t, "MessageProblem(0)", MessageProblem(0).String())
	require.Equal(t, "KeyProblem(0)", KeyProblem(0).String())
	require.Equal(t, "RecordProblem(0)", RecordProblem(0).String())
	require.Equal(t, "RecordProblem(99)", RecordProblem(99).String())
}
