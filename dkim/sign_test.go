package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSignShapes(t *testing.T) {
	const from = "From: a@example.com\r\n"
	for _, test := range []struct{ name, msg, complete string }{
		{name: "RFC 8463", msg: dinner},
		{name: "bulk", msg: bulk},
		{name: "empty body", msg: from + "\r\n"},
		{name: "blank lines", msg: from + "\r\n\r\n\r\n \r\n"},
		{name: "no CRLF at the end", msg: from + "\r\nHello"},
		{name: "folded", msg: "Subject:\r\n\ta \r\n  b\t\tc\r\n \r\n d\r\n" + from + "\r\nx\r\n"},
		{name: "WSP before the colon", msg: "From \t: a@example.com\r\nSubject : x\r\n\r\nx\r\n"},
		{name: "no blank line", msg: from + "Subject: x\r\n", complete: from + "Subject: x\r\n\r\n"},
		{name: "no line end at all", msg: "From: a@example.com", complete: from + "\r\n"},
		{name: "duplicates", msg: "To: a\r\n" + from + "To: b\r\nFrom: c\r\nTO: c\r\n\r\nx\r\n"},
		{name: "8 bit", msg: "Subject: Gr\xc3\xbc\xdfe \xa0\r\n" + from + "\r\n\xff\xfe\r\n"},
		{name: "long", msg: "Subject: " + strings.Repeat("long ", 50_000) + "\r\n" + from + "\r\nx\r\n"},
		{name: "many", msg: strings.Repeat("Received: x\r\nTo: y\r\n", 2_000) + from + "\r\nx\r\n"},
		{name: "empty values", msg: "Subject:\r\nTo: \r\n" + from + "\r\nx\r\n"},
		{name: "big body", msg: from + "\r\n" + strings.Repeat("  <td>\tx </td> \r\n", 10_000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := mustSigner(t, nil)
			sig := mustSign(t, s, test.msg)
			if test.complete == "" {
				test.complete = test.msg
			}
			requireVerified(t, s, sig+test.complete)
		})
	}
}

func TestSignErrors(t *testing.T) {
	for _, test := range []struct {
		name, msg string
		want      MessageError
	}{
		{"empty", "", MessageError{NoFrom, 0, ""}},
		{"no From", "To: a\r\n\r\nFrom: x\r\n", MessageError{NoFrom, 0, ""}},
		{"no header", "\r\nFrom: a\r\n", MessageError{NoFrom, 0, ""}},
		{"no colon", "From: a\r\nHello\r\n\r\n", MessageError{BadHeader, 2, "Hello"}},
		{"colon in the next line", "From: a\r\nTo\r\n : x\r\n\r\n", MessageError{BadHeader, 2, "To"}},
		{"no name", "From: a\r\n\tb\r\n: x\r\n\r\n", MessageError{BadHeader, 3, ": x"}},
		{"mbox", "From a@example.com Sat: 1\r\nFrom: a\r\n\r\n", MessageError{BadHeader, 1, "From a@example.com Sat: 1"}},
		{"8-bit name", "From: a\r\nÜ: x\r\n\r\n", MessageError{BadHeader, 2, "Ü: x"}},
		{"continues nothing", " x: y\r\nFrom: a\r\n\r\n", MessageError{BadHeader, 1, " x: y"}},
		{"bare LF", "From: a\r\n\r\none\r\ntwo\nthree", MessageError{BareLineEnd, 4, "two\n"}},
		{"bare CR", "From: a\r\n\r\none\r\nt\rwo\r\nthree", MessageError{BareLineEnd, 4, "t\rwo"}},
		{"bare CR at the end", "From: a\r\n\r\none\r", MessageError{BareLineEnd, 3, "one\r"}},
		{"CR CR LF", "From: a\r\n\r\none\r\r\n", MessageError{BareLineEnd, 3, "one\r"}},
		{"bare LF at the beginning", "\nFrom: a\r\n\r\n", MessageError{BareLineEnd, 1, "\n"}},
		{"a long line is cut", "From: a\r\n" + strings.Repeat("x", 500) + "\r\n\r\n", MessageError{BadHeader, 2, strings.Repeat("x", 60)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sig, err := mustSigner(t, nil).Sign(now, "", nil, []byte(test.msg))
			require.Nil(t, sig)
			require.Equal(t, &test.want, err)
			require.Contains(t, err.Error(), test.want.Problem.String())
		})
	}
}

func TestSignBeforeTime(t *testing.T) {
	_, err := mustSigner(t, nil).Sign(time.Time{}, "", nil, []byte(dinner))
	require.ErrorAs(t, err, new(*SignError))
}

func TestField(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	sig, err := mustSigner(t, nil).Sign(at, "", nil, []byte(bulk))
	require.NoError(t, err)
	field := string(sig)
	require.Equal(t, "1", tag(t, field, "v"))
	require.Equal(t, "ed25519-sha256", tag(t, field, "a"))
	require.Equal(t, "relaxed/relaxed", tag(t, field, "c"))
	require.Equal(t, "football.example.com", tag(t, field, "d"))
	require.Equal(t, "brisbane", tag(t, field, "s"))
	require.Equal(t, "1800000000", tag(t, field, "t"))
	require.Equal(t, "1800259200", tag(t, field, "x"), "three days later")
	require.NotRegexp(t, `\b[il]=`, field, "i= not asked for, l= never")
	require.Equal(t, "From:From:Sender:Reply-To:To:To:Cc:Subject:Subject:Date:Date:Message-ID:Message-ID:"+
		"MIME-Version:MIME-Version:Content-Type:Content-Type:Content-Transfer-Encoding:"+
		"List-Unsubscribe:List-Unsubscribe:List-Unsubscribe-Post:List-Unsubscribe-Post", tag(t, field, "h"))
}

func TestFolding(t *testing.T) {
	long := strings.Repeat("l", 60)
	for _, test := range []struct {
		domain, selector string
		longest          int
	}{
		{"shop.example", "s1", 78},
		{long + "." + long + ".example", "s1", 78 + 60}, // can't be folded
	} {
		s, err := New(test.domain, test.selector, rsaKey(), &Options{Identity: "news@" + test.domain})
		require.NoError(t, err)
		field := mustSign(t, s, bulk)
		for line := range strings.SplitSeq(strings.TrimSuffix(field, "\r\n"), "\r\n") {
			require.LessOrEqual(t, len(line), test.longest)
			require.NotEqual(t, "", strings.TrimSpace(line))
			require.NotContains(t, line, "\n")
		}
		requireVerified(t, s, field+bulk)
	}
}

func TestExpiry(t *testing.T) {
	at := time.Unix(1_800_000_000, 999)
	for _, test := range []struct {
		expiry time.Duration
		want   string
	}{
		{0, "1800259200"},
		{-1, ""},
		{time.Second, "1800000001"},
		{90*time.Minute + time.Millisecond, "1800005400"},
	} {
		sig, err := mustSigner(t, &Options{Expiry: test.expiry}).Sign(at, "", nil, []byte(dinner))
		require.NoError(t, err)
		require.Equal(t, test.want, tag(t, string(sig), "x"))
	}

	s := mustSigner(t, &Options{Expiry: time.Hour})
	sig, err := s.Sign(now.Add(-2*time.Hour), "", nil, []byte(dinner))
	require.NoError(t, err)
	require.ErrorContains(t, verify(t, s, string(sig)+dinner)[0].Err, "expired")
}

// TestAdded adds a second instance of each signed field after signing.
func TestAdded(t *testing.T) {
	s := mustSigner(t, nil)
	signed := mustSign(t, s, bulk) + bulk
	requireVerified(t, s, signed)
	for _, name := range DefaultOversign() {
		require.Error(t, verify(t, s, name+": x\r\n"+signed)[0].Err, name)
		require.Error(t, verify(t, s, strings.Replace(signed, "\r\n\r\n", "\r\n"+name+": x\r\n\r\n", 1))[0].Err, name)
	}
	for _, name := range []string{"Received", "X-New", "List-Id", "Return-Path"} {
		requireVerified(t, s, name+": x\r\n"+signed)
	}
	for _, old := range []string{"Shop <", "a@example.net", "One-Click", "/u/1", "<p>there", "q?Gr"} {
		require.Contains(t, signed, old)
		require.Error(t, verify(t, s, strings.Replace(signed, old, "evil", 1))[0].Err, old)
	}
}

func TestHeaderOptions(t *testing.T) {
	for _, test := range []struct {
		name string
		opts Options
		want string
	}{
		{"chosen", Options{Headers: []string{"X-Campaign", "to", "X-Absent"}},
			"X-Campaign:to:to:From:From:List-Unsubscribe:List-Unsubscribe:List-Unsubscribe-Post:List-Unsubscribe-Post"},
		{"none chosen", Options{Headers: []string{}, Oversign: []string{}},
			"From:List-Unsubscribe:List-Unsubscribe-Post"},
		{"oversigned means signed", Options{Headers: []string{"Subject"}, Oversign: []string{"x-campaign", "X-Absent"}},
			"Subject:From:List-Unsubscribe:List-Unsubscribe-Post:x-campaign:x-campaign:X-Absent"},
		{"twice", Options{Headers: []string{"From", "FROM", "from"}, Oversign: []string{"from"}},
			"From:From:List-Unsubscribe:List-Unsubscribe-Post"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := mustSigner(t, &test.opts)
			sig := mustSign(t, s, bulk)
			require.Equal(t, test.want, tag(t, sig, "h"))
			requireVerified(t, s, sig+bulk)
		})
	}
}

func TestDefaultLists(t *testing.T) {
	for _, name := range DefaultOversign() {
		require.Contains(t, DefaultHeaders(), name)
	}
	require.Subset(t, DefaultHeaders(), alwaysSigned)
	for _, name := range DefaultHeaders() {
		require.NotContains(t, neverSigned, strings.ToLower(name))
	}
}

func TestJoin(t *testing.T) {
	own, err := New("shop.example", "s1", rsaKey(), &Options{Identity: "@news.shop.example"})
	require.NoError(t, err)
	esp, err := New("esp.example", "e1", edKey, &Options{Headers: []string{"Subject"}})
	require.NoError(t, err)
	both := Join(own, nil, esp)

	sigs := mustSign(t, both, bulk)
	require.Equal(t, mustSign(t, own, bulk)+mustSign(t, esp, bulk), sigs, "the same as one after the other")
	requireVerified(t, both, sigs+bulk)
	require.Len(t, both.Records(), 2)

	require.Empty(t, mustSign(t, Join(), "anything"))
	require.Empty(t, Join().Records())
	requireVerified(t, Join(both, own), mustSign(t, Join(both, own), bulk)+bulk)
}

// remote is a key in a KMS: nothing known of it but the interface.
type remote struct {
	crypto.Signer
	public crypto.PublicKey
	sign   func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (r remote) Public() crypto.PublicKey {
	if r.public != nil {
		return r.public
	}
	return r.Signer.Public()
}

func (r remote) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if r.sign != nil {
		return r.sign(digest, opts)
	}
	return r.Signer.Sign(rand, digest, opts)
}

func TestRemoteKey(t *testing.T) {
	for _, key := range []crypto.Signer{rsaKey(), edKey} {
		s, err := New("shop.example", "s1", remote{Signer: key}, nil)
		require.NoError(t, err)
		requireVerified(t, s, mustSign(t, s, bulk)+bulk)
	}

	down := errors.New("KMS is down")
	s, err := New("shop.example", "s1", remote{Signer: edKey, sign: func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, down }}, nil)
	require.NoError(t, err)
	_, err = s.Sign(now, "", nil, []byte(bulk))
	require.ErrorIs(t, err, down)
	require.Equal(t, &SignError{Domain: "shop.example", Selector: "s1", Err: down}, err)
	require.EqualError(t, err, "dkim: signing as s1._domainkey.shop.example: KMS is down")

	// It signs, but not so that the signature verifies.
	for _, wrong := range []remote{
		{Signer: rsaKey(), sign: func(digest []byte, _ crypto.SignerOpts) ([]byte, error) {
			return rsaKey().Sign(rand.Reader, digest, &rsa.PSSOptions{Hash: crypto.SHA256})
		}},
		{Signer: edKey, sign: func(digest []byte, _ crypto.SignerOpts) ([]byte, error) { return digest, nil }},
		{Signer: edKey, public: make(ed25519.PublicKey, 32)},
	} {
		s, err := New("shop.example", "s1", wrong, nil)
		require.NoError(t, err)
		_, err = s.Sign(now, "", nil, []byte(bulk))
		require.ErrorAs(t, err, new(*SignError))
	}
}

func TestSignConcurrently(t *testing.T) {
	own, err := New("shop.example", "s1", rsaKey(), nil)
	require.NoError(t, err)
	s := Join(own, mustSigner(t, nil))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			msg := strings.Replace(bulk, "X-Campaign: 7", "Subject: "+strconv.Itoa(i), 1) + strings.Repeat("x ", i*500)
			for range 5 {
				sig, err := s.Sign(now, "", nil, []byte(msg))
				if err != nil {
					t.Error(err)
					return
				}
				for _, v := range verify(t, s, string(sig)+msg) {
					if v.Err != nil {
						t.Error(v.Err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestSignLeavesMessage(t *testing.T) {
	msg := []byte(bulk)
	before := slices.Clone(msg)
	first, err := mustSigner(t, nil).Sign(now, "", nil, msg)
	require.NoError(t, err)
	kept := slices.Clone(first)
	_, err = mustSigner(t, nil).Sign(now, "", nil, []byte(dinner))
	require.NoError(t, err)
	require.Equal(t, before, msg)
	require.Equal(t, kept, first, "the result is the caller's")

	m, err := mail.ReadMessage(strings.NewReader(string(first) + bulk))
	require.NoError(t, err)
	require.Len(t, m.Header["Dkim-Signature"], 1)
}
