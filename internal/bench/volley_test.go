//go:build unix

package bench

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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

// newSender makes a Sender that delivers all mail to addr, as fast as conns
// connections carry it.
func newSender(b testing.TB, addr string, conns int, signer sender.Signer) *sender.Sender {
	b.Helper()
	limits := throttle.Limits{Conns: conns, Messages: -1}
	return newLimitedSender(b, addr, limits, signer)
}

func newLimitedSender(b testing.TB, addr string, limits throttle.Limits, signer sender.Signer) *sender.Sender {
	b.Helper()
	s, err := sender.New(sender.Config{
		Hostname: "sender.example",
		Resolver: toSink{},
		Policy:   throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return limits }),
		Signer:   signer,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Shutdown(context.Background())) })
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
func sendAll(b testing.TB, s *sender.Sender, msgs iter.Seq[*sender.Message]) {
	b.Helper()
	for r := range s.Send(context.Background(), msgs) {
		if r.Err != nil {
			b.Fatalf("%s: %v", r.Recipient, r.Err)
		}
	}
}
