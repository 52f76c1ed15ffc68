//go:build unix

package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"
)

// awkward is a message that a careless way would change.
const awkward = "Received: from an.earlier.hop by another; Sat, 21 Nov 2026 12:00:00 +0000\r\n" +
	"from: a@s.test\r\nTO:b@d.test\r\nSubject:  two  blanks\r\n\tand a fold\r\n" +
	"Bcc: hidden@d.test\r\nReturn-Path: <odd@s.test>\r\n\r\n" +
	".\r\n..\r\n.dot\r\nblanks at the end \t \r\n\r\nFrom here\r\n>From there\r\nö in 8 bit\r\n\r\n\r\n"

// servers are those that every test here runs against.
var servers = []struct {
	name  string
	start func(testing.TB, Options) *Server
}{{"Postfix", Postfix}, {"Exim", Exim}}

// dial says EHLO to a server, and STARTTLS if it has a certificate.
func dial(t *testing.T, s *Server) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(s.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Hello("client.test"))
	if s.Roots != nil {
		require.NoError(t, c.StartTLS(&tls.Config{ServerName: ServerName, RootCAs: s.Roots}))
	}
	return c
}

func TestInteropDelivery(t *testing.T) {
	for _, server := range servers {
		for _, o := range []Options{{}, {TLS: true}} {
			t.Run(fmt.Sprintf("%s,TLS=%v", server.name, o.TLS), func(t *testing.T) {
				s := server.start(t, o)
				c := dial(t, s)
				require.NoError(t, c.Mail("a@s.test"))
				require.NoError(t, c.Rcpt("b@d.test"))
				require.NoError(t, c.Rcpt("c@e.test"))
				w, err := c.Data()
				require.NoError(t, err)
				_, err = w.Write([]byte(awkward))
				require.NoError(t, err)
				require.NoError(t, w.Close())
				require.NoError(t, c.Quit())

				got := await(t, s, 2)
				require.ElementsMatch(t, []string{"b@d.test", "c@e.test"}, []string{got[0].To, got[1].To})
				for _, m := range got {
					require.Equal(t, "a@s.test", m.From)
					require.Equal(t, awkward, string(m.Data))
				}
			})
		}
	}
}

// await is Messages with a bound.
func await(t *testing.T, s *Server, n int) []Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := s.Messages(ctx, n)
	require.NoError(t, err)
	require.Len(t, got, n)
	return got
}

func TestInteropChunking(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			s := server.start(t, Options{})
			conn, err := textproto.Dial("tcp", s.Addr)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			say := func(code int, format string, args ...any) {
				t.Helper()
				require.NoError(t, conn.PrintfLine(format, args...))
				_, _, err := conn.ReadResponse(code)
				require.NoError(t, err)
			}
			_, _, err = conn.ReadResponse(220)
			require.NoError(t, err)
			say(250, "EHLO client.test")
			say(250, "MAIL FROM:<> BODY=8BITMIME")
			say(250, "RCPT TO:<b@d.test>")
			require.NoError(t, conn.PrintfLine("BDAT %d LAST", len(awkward)))
			_, err = conn.W.WriteString(awkward)
			require.NoError(t, err)
			require.NoError(t, conn.W.Flush())
			_, _, err = conn.ReadResponse(250)
			require.NoError(t, err)
			say(221, "QUIT")

			got := await(t, s, 1)
			require.Empty(t, got[0].From)
			require.Equal(t, awkward, string(got[0].Data))
		})
	}
}

func TestInteropWithout(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			all := []string{"CHUNKING", "PIPELINING", "SMTPUTF8", "8BITMIME"}
			c := dial(t, server.start(t, Options{}))
			for _, ext := range all {
				ok, _ := c.Extension(ext)
				require.True(t, ok, ext)
			}
			c = dial(t, server.start(t, Options{Without: all}))
			for _, ext := range append(all, "STARTTLS") {
				ok, _ := c.Extension(ext)
				require.False(t, ok, ext)
			}
		})
	}
}

func TestInteropDKIM(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	rsaDER, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	require.NoError(t, err)
	public, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	records := map[string]string{
		"r._domainkey.s.test": "v=DKIM1; p=" + base64.StdEncoding.EncodeToString(rsaDER),
		"e._domainkey.s.test": "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
	}
	mail := "From: a@s.test\r\nTo: b@d.test\r\nSubject: signed\r\n\r\nHello.\r\n"
	var once, twice bytes.Buffer
	require.NoError(t, dkim.Sign(&once, strings.NewReader(mail), &dkim.SignOptions{Domain: "s.test", Selector: "r", Signer: rsaKey}))
	require.NoError(t, dkim.Sign(&twice, &once, &dkim.SignOptions{Domain: "s.test", Selector: "e", Signer: edKey}))

	both := []Signature{
		{Domain: "s.test", Selector: "e", Valid: true},
		{Domain: "s.test", Selector: "r", Valid: true},
	}
	require.Equal(t, both, VerifyDKIM(t, twice.Bytes(), records))

	changed := bytes.Replace(twice.Bytes(), []byte("Hello."), []byte("Hallo."), 1)
	for _, s := range VerifyDKIM(t, changed, records) {
		require.False(t, s.Valid)
	}
	for _, s := range VerifyDKIM(t, twice.Bytes(), nil) {
		require.False(t, s.Valid)
	}
	require.Empty(t, VerifyDKIM(t, []byte(mail), records))
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Message
		fails    bool
	}{
		{
			name: "Postfix",
			in:   "Return-Path: <a@s.test>\nX-Original-To: b@d.test\nDelivered-To: b@d.test\nReceived: by us;\n\tnow\nSubject: x\n\nbody\n",
			want: Message{From: "a@s.test", To: "b@d.test", Data: []byte("Subject: x\r\n\r\nbody\r\n")},
		},
		{
			name: "Exim",
			in:   "Return-path: <>\nEnvelope-to: b@d.test\nReceived: by us;\n now\nReceived: by another\n\n",
			want: Message{To: "b@d.test", Data: []byte("Received: by another\r\n\r\n")},
		},
		{name: "no Received", in: "Return-Path: <>\nSubject: x\n\n", fails: true},
		{name: "no header", in: "\nbody\n", fails: true},
		{name: "empty", in: "", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse([]byte(tt.in))
			if tt.fails {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}
