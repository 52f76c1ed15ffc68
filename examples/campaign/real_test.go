package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/dkim"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// testKey is a DKIM key, as PEM, and the TXT record for it.
var testKey = sync.OnceValues(func() (file, record string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	s, err := dkim.New("shop.example", "s1", key, nil)
	if err != nil {
		panic(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return string(pem.EncodeToMemory(block)), s.Records()[0].Value
})

const listCSV = `email,first,token
ann@one.example,Ann,t1
bob@one.example,,t2
gone@two.example,Cleo,t3
dan@unknown.example,Dan,t4
`

// shop is a campaign's files and an internet that knows its domains.
type shop struct {
	file    func(string) string
	sandbox *sendertest.Sandbox
	record  string
	args    []string // without those that say which way the mail goes
}

func newShop(t *testing.T, o sendertest.Options) *shop {
	key, record := testKey()
	s := &shop{record: record, sandbox: sendertest.Start(t, o)}
	s.file = folder(t, map[string]string{"list.csv": listCSV, "key.pem": key,
		"mail.html": `<p>Hello {{or .first "friend"}}</p><a href="{{.unsubscribe}}">Unsubscribe</a>`,
		"mail.txt":  "Hello {{or .first \"friend\"}}\n\n{{.unsubscribe}}\n"})
	behavior := sendertest.Behavior{Recipient: func(addr string) *sendertest.Reply {
		if strings.HasPrefix(addr, "gone@") {
			return noUser
		}
		return nil
	}}
	for _, domain := range []string{"one.example", "two.example", "shop.example"} {
		s.sandbox.AddHost("mx."+domain, behavior)
		s.sandbox.AddDomain(domain, "mx."+domain)
	}
	s.args = []string{"-recipients", s.file("list.csv"), "-html", s.file("mail.html"), "-text", s.file("mail.txt"),
		"-subject", `News{{if .first}} for {{.first}}{{end}}`, "-from", "The Shop <news@shop.example>", "-return-path", "bounces@shop.example",
		"-list-unsubscribe", "https://shop.example/u/{{.token}}", "-dkim-key", s.file("key.pem"), "-dkim-selector", "s1",
		"-hostname", "mail.shop.example", "-out", s.file("results.csv")}
	return s
}

func (s *shop) call(ctx context.Context, more ...string) (code int, stdout, stderr string) {
	return call(ctx, &env{dial: s.sandbox.Dial}, append(s.args, more...)...)
}

// A campaign to the recipients' own servers.
func TestDirect(t *testing.T) {
	s := newShop(t, sendertest.Options{})
	code, stdout, stderr := s.call(t.Context(), "-dns", s.sandbox.DNSAddr(), "-rate", "50/s,1000/h", "-conns", "2")
	require.Equal(t, exitDone, code, stdout+stderr)
	require.Empty(t, stderr)
	require.Contains(t, stdout, "4 recipients in")

	rows := byEmail(t, readResults(t, s.file("results.csv")))
	require.Len(t, rows, 4)
	require.Equal(t, "sent", rows["ann@one.example"]["outcome"])
	require.Equal(t, "2", rows["ann@one.example"]["row"])
	require.Equal(t, "mx.one.example", rows["ann@one.example"]["site"])
	require.Equal(t, "sent", rows["bob@one.example"]["outcome"])
	gone := rows["gone@two.example"]
	require.Equal(t, []string{"rejected", "invalid-mailbox", "suppress", "550 5.1.1 No such user here"},
		[]string{gone["outcome"], gone["category"], gone["advice"], gone["reply"]})
	require.Equal(t, "invalid-domain", rows["dan@unknown.example"]["category"])
	require.Contains(t, rows["dan@unknown.example"]["error"], "unknown.example")

	messages := s.sandbox.Messages()
	require.Len(t, messages, 2)
	for _, m := range messages {
		data := string(m.Data)
		require.Equal(t, "bounces@shop.example", m.From)
		require.Contains(t, data, "DKIM-Signature: ")
		require.Contains(t, data, "d=shop.example")
		require.Contains(t, data, "List-Unsubscribe: <https://shop.example/u/t")
		if m.Rcpts[0] == "bob@one.example" {
			require.Contains(t, data, "Subject: News\r\n")
			require.Contains(t, data, "Hello friend")
		}
	}
}

// A campaign through a relay; -limit takes the first rows.
func TestRelay(t *testing.T) {
	s := newShop(t, sendertest.Options{})
	addr, err := s.sandbox.Host("mx.shop.example").Listen()
	require.NoError(t, err)
	code, stdout, stderr := call(t.Context(), &env{}, append(s.args, "-relay", addr, "-limit", "2")...)
	require.Equal(t, exitDone, code, stdout+stderr)
	require.Contains(t, stdout, "relay:"+addr)
	require.Len(t, s.sandbox.Host("mx.shop.example").Messages(), 2)
	require.Len(t, readResults(t, s.file("results.csv")), 2)
}

// What is left makes the exit code 1.
func TestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the first try is in time, however slow the machine
		s := newShop(t, sendertest.Options{Memory: true})
		relay := s.sandbox.AddHost("mx.shop.example", sendertest.Behavior{Sender: always("451 4.3.0 Try again later")})
		code, stdout, _ := s.call(t.Context(), "-relay", netip.AddrPortFrom(relay.Addr(), 25).String(), "-for", "500ms")
		require.Equal(t, exitLeft, code, stdout)
		row := byEmail(t, readResults(t, s.file("results.csv")))["gone@two.example"]
		require.Equal(t, "deferred", row["outcome"])
		require.Equal(t, "451 4.3.0 Try again later", row["reply"])
		_, err := time.Parse(time.RFC3339, row["retry_at"])
		require.NoError(t, err)
	})
}

func TestDryRun(t *testing.T) {
	s := newShop(t, sendertest.Options{})
	args := []string{"-dns", s.sandbox.DNSAddr(), "-dry-run"}
	code, stdout, stderr := s.call(t.Context(), args...)
	require.Equal(t, exitLeft, code, stderr)
	require.Contains(t, stdout, "s1._domainkey.shop.example", "the key is not published")
	require.Contains(t, stdout, "v=DKIM1")

	s.sandbox.SetTXT("s1._domainkey.shop.example", s.record)
	code, stdout, _ = s.call(t.Context(), append(args, "-limit", "3")...)
	require.Equal(t, exitDone, code, stdout)
	for _, want := range []string{"DKIM-Signature: ", "Subject: News for Ann\n", "mx.one.example", "mx.two.example",
		"The published DKIM key is the right one", "Nothing was sent"} {
		require.Contains(t, stdout, want)
	}
	require.Empty(t, s.sandbox.Messages())
	require.NoFileExists(t, s.file("results.csv"))
}

// What is wrong with the list or the way is said before anything is sent.
func TestNothingSent(t *testing.T) {
	s := newShop(t, sendertest.Options{})
	deaf, err := net.Dial("udp", s.sandbox.DNSAddr()) // nobody else is heard there, or gets the port
	require.NoError(t, err)
	defer deaf.Close()
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"no such field", []string{"-subject", "Hello {{.frist}}"}, []string{"-subject", "{{.frist}}", "email, first, token"}},
		{"empty field", []string{"-subject", "Hello {{.first}}"}, []string{"row 3 (bob@one.example)", "first is empty", "-subject"}},
		{"template fails in a row", []string{"-subject", "{{index .token 1}}{{slice .token 5}}"}, []string{"row 2 (ann@one.example)", "Subject"}},
		{"bad link", []string{"-list-unsubscribe", "http://shop.example/"}, []string{"row 2 (ann@one.example)", "Unsubscribe", "https:"}},
		{"no DNS server", []string{"-dns", deaf.LocalAddr().String()}, []string{"-dns " + deaf.LocalAddr().String(), "leave -dns out"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, stderr := s.call(t.Context(), append([]string{"-dns", s.sandbox.DNSAddr()}, tc.args...)...)
			require.Equal(t, exitUsage, code, stderr)
			for _, want := range tc.want {
				require.Contains(t, stderr, want)
			}
			require.Empty(t, s.sandbox.Messages())
		})
	}
}

func TestNotes(t *testing.T) {
	s := newShop(t, sendertest.Options{})
	file := folder(t, map[string]string{"list.csv": "email\nann@one.example\n", "mail.html": "<p>Hello"})
	code, _, stderr := call(t.Context(), &env{dial: s.sandbox.Dial}, "-recipients", file("list.csv"), "-html", file("mail.html"), "-subject", "Hello",
		"-from", "news@nowhere.example", "-hostname", "mail.shop.example", "-dns", s.sandbox.DNSAddr(), "-out", file("results.csv"))
	require.Equal(t, exitDone, code)
	for _, want := range []string{"-dkim-key", "-list-unsubscribe", "-text", "nowhere.example"} {
		require.Contains(t, stderr, want)
	}
}

// The relay's password comes from the environment; port 465 means TLS from the
// first byte.
func TestRelayPassword(t *testing.T) {
	o, err := parseOptions([]string{"-recipients", "list.csv", "-subject", "x", "-text", "x", "-from", "a@shop.example", "-hostname", "mail.shop.example",
		"-relay", "relay.example:465", "-relay-user", "shop"}, &env{getenv: func(name string) string { return "secret of " + name }})
	require.NoError(t, err)
	r := o.route()
	require.Equal(t, "secret of "+passwordVar, r.Password)
	require.Equal(t, "*", r.Domain)
	require.Equal(t, "relay.example:465", r.Relay)
	require.Equal(t, sender.TLSImplicit, r.TLS)
}
