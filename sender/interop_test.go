//go:build unix

package sender_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/dkim"
	"github.com/volleymail/volley/internal/interop"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/throttle"
)

// interopRoutes is a Resolver that knows one server.
type interopRoutes struct{}

func (interopRoutes) Lookup(_ context.Context, domain string) (*mx.Route, error) {
	return &mx.Route{
		Domain:  domain,
		Site:    interop.ServerName,
		Hosts:   []mx.Host{{Name: interop.ServerName, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
		Expires: time.Now().Add(time.Hour),
	}, nil
}

// interopSigner signs twice, and gives the records that verifiers need.
func interopSigner(t *testing.T) (*dkim.Signer, map[string]string) {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	first, err := dkim.New("news.example", "rsa", rsaKey, nil)
	require.NoError(t, err)
	second, err := dkim.New("news.example", "ed", edKey, nil)
	require.NoError(t, err)
	both := dkim.Join(first, second)
	records := map[string]string{}
	for _, r := range both.Records() {
		records[r.Name] = r.Value
	}
	return both, records
}

// interopContents are mails that a careless way would change. Each has all that
// a Sender would add.
func interopContents(n int) []string {
	bodies := []string{
		"Hello.\r\n",
		".\r\n..\r\n.a dot first\r\n\r\n.\r\n",
		"blanks at the end \t \r\nFrom here\r\n>From there\r\n\r\n\r\n\r\n",
		strings.Repeat(strings.Repeat("x", 998)+"\r\n", 60),
		"8 bit: \xc3\xb6\xe2\x82\xac\r\n",
		strings.Repeat("a line of a newsletter, and its end\r\n", 4000),
		"", // a header alone
	}
	mails := make([]string, n)
	for i := range mails {
		mails[i] = fmt.Sprintf("Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nfrom: News  <news@news.example>\r\n"+
			"To: undisclosed-recipients:;\r\nSubject: number %d\r\n\tand  a fold\r\nMessage-ID: <%d@news.example>\r\n"+
			"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s",
			i, i, bodies[i%len(bodies)])
	}
	return mails
}

// TestInteropSend sends through Sender to mail servers that nobody here wrote:
// each mail arrives once at each recipient, byte for byte, with signatures
// that somebody else's verifier believes.
func TestInteropSend(t *testing.T) {
	servers := []struct {
		name  string
		start func(testing.TB, interop.Options) *interop.Server
	}{{"Postfix", interop.Postfix}, {"Exim", interop.Exim}}
	variants := []struct {
		name string
		opts interop.Options
	}{
		{"all extensions", interop.Options{}},
		{"TLS", interop.Options{TLS: true}},
		{"no CHUNKING", interop.Options{Without: []string{"CHUNKING"}}},
		{"TLS, no CHUNKING", interop.Options{TLS: true, Without: []string{"CHUNKING"}}},
		{"no CHUNKING, no PIPELINING", interop.Options{Without: []string{"CHUNKING", "PIPELINING"}}},
	}
	for _, server := range servers {
		for _, v := range variants {
			t.Run(server.name+"/"+v.name, func(t *testing.T) {
				interopSend(t, server.start(t, v.opts))
			})
		}
	}
}

func interopSend(t *testing.T, server *interop.Server) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	signer, records := interopSigner(t)
	cfg := sender.Config{
		Hostname: "client.test",
		Resolver: interopRoutes{},
		Signer:   signer,
		Policy: throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Conns: 3}
		}),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server.Addr)
		},
		Routes: []sender.Route{{Domain: "*", TLS: sender.TLSNone}},
	}
	if server.Roots != nil {
		cfg.Routes[0].TLS = sender.TLSVerify
		cfg.TLS = &tls.Config{RootCAs: server.Roots}
	}
	s, err := sender.New(cfg)
	require.NoError(t, err)

	mails := interopContents(42)
	var msgs []*sender.Message
	want := map[string]string{} // content by recipient
	for i, content := range mails {
		m := &sender.Message{From: fmt.Sprintf("bounce+%d@news.example", i), Content: interopContent(content)}
		for _, domain := range []string{"a.test", "b.test", "c.test"}[:1+i%3] {
			to := fmt.Sprintf("user%d@%s", i, domain)
			m.To = append(m.To, to)
			want[to] = content
		}
		msgs = append(msgs, m)
	}
	for _, r := range s.SendAll(ctx, msgs...) {
		require.NoError(t, r.Err, r.Recipient)
	}
	require.NoError(t, s.Shutdown(ctx))

	got, err := server.Messages(ctx, len(want))
	require.NoError(t, err)
	require.Len(t, got, len(want))
	slices.SortFunc(got, func(a, b interop.Message) int { return strings.Compare(a.To, b.To) })
	for i, m := range got {
		content, ok := want[m.To]
		require.True(t, ok, "%s: nobody, or twice", m.To)
		delete(want, m.To)
		var number int
		_, err := fmt.Sscanf(m.To, "user%d@", &number)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("bounce+%d@news.example", number), m.From)

		signatures, ok := strings.CutSuffix(string(m.Data), content)
		require.True(t, ok, "%s got something else than was sent", m.To)
		require.Equal(t, 2, strings.Count(signatures, "DKIM-Signature: "))
		if i%12 == 0 {
			require.Equal(t, []interop.Signature{
				{Domain: "news.example", Selector: "rsa", Valid: true},
				{Domain: "news.example", Selector: "ed", Valid: true},
			}, interop.VerifyDKIM(t, m.Data, records))
		}
	}
}

// interopContent is a mail that is written as it is, as often as is asked.
type interopContent string

func (c interopContent) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(c))
	return int64(n), err
}
