//go:build unix

package bench

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/dkim"
	"github.com/volleymail/volley/internal/bench/msg"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/throttle"
)

// toSink is a Resolver by which every domain is served by the same host, as
// with a large provider, at an address that Dial replaces.
type toSink struct{}

func (toSink) Lookup(_ context.Context, domain string) (*mx.Route, error) {
	return &mx.Route{
		Domain:  domain,
		Site:    "mx.example",
		Hosts:   []mx.Host{{Name: "mx.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		Expires: time.Now().Add(time.Hour),
	}, nil
}

// fast are limits that leave the pace to conns connections.
func fast(conns int) throttle.Limits { return throttle.Limits{Conns: conns, Messages: -1} }

// config is for a Sender that delivers all mail to addr.
func config(addr string, limits throttle.Limits, signer sender.Signer) sender.Config {
	return sender.Config{
		Hostname: "sender.example",
		Resolver: toSink{},
		Policy:   throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return limits }),
		Signer:   signer,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
}

func newSender(b testing.TB, addr string, limits throttle.Limits, signer sender.Signer) *sender.Sender {
	b.Helper()
	s, err := sender.New(config(addr, limits, signer))
	require.NoError(b, err)
	return s
}

func shutdown(b testing.TB, s *sender.Sender) {
	b.Helper()
	require.NoError(b, s.Shutdown(context.Background()))
}

// newSigner signs with a new key of RSA-2048.
func newSigner(b testing.TB) *dkim.Signer {
	b.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	s, err := dkim.New("sender.example", "s1", key, nil)
	require.NoError(b, err)
	return s
}

// campaign is n messages, made beforehand.
func campaign(n int) []*sender.Message {
	envelopes := make([]sender.Message, n)
	rcpts := make([]string, n)
	msgs := make([]*sender.Message, n)
	for i := range msgs {
		rcpts[i] = msg.Rcpt(i)
		envelopes[i] = sender.Message{From: msg.From, To: rcpts[i : i+1 : i+1], Content: msg.Message(i)}
		msgs[i] = &envelopes[i]
	}
	return msgs
}

// sendAll sends the messages and requires each to be sent.
func sendAll(b testing.TB, s *sender.Sender, msgs []*sender.Message) {
	b.Helper()
	for r := range s.Send(context.Background(), slices.Values(msgs)) {
		if r.Err != nil {
			b.Fatalf("%s: %v", r.Recipient, r.Err)
		}
	}
}
