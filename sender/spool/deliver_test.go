package spool_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/dkim"
	"github.com/volleymail/volley/internal/bench/msg"
	"github.com/volleymail/volley/internal/bench/sink"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/spool"
	"github.com/volleymail/volley/throttle"
)

// sites puts every domain on one of n sites, all served by the sink.
type sites int

func (n sites) Lookup(_ context.Context, domain string) (*mx.Route, error) {
	sum := 0
	for _, c := range domain {
		sum = sum*31 + int(c)
	}
	name := fmt.Sprintf("mx%d.example", uint(sum)%uint(n))
	return &mx.Route{Domain: domain, Site: name, Expires: time.Now().Add(time.Hour),
		Hosts: []mx.Host{{Name: name, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}}, nil
}

// BenchmarkDelivered compares mail through the spool with Send from memory, in
// turns: the ratio of their medians counts. Submitting is not in the time: the
// mail is suspended until all is submitted.
func BenchmarkDelivered(b *testing.B) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(b, err)
	rsaSigner, err := dkim.New("sender.example", "s1", rsaKey, nil)
	require.NoError(b, err)
	edSigner, err := dkim.New("sender.example", "s2", edKey, nil)
	require.NoError(b, err)
	for _, bc := range []struct {
		name   string
		conns  int
		sites  sites
		signer sender.Signer
		n      int
	}{
		{"rsa2048/site=1/conns=10", 10, 1, rsaSigner, 10_000},
		{"ed25519/site=1/conns=10", 10, 1, edSigner, 30_000},
		{"unsigned/site=1/conns=10", 10, 1, nil, 50_000},
		{"unsigned/sites=20/conns=10", 10, 20, nil, 50_000},
	} {
		b.Run(bc.name, func(b *testing.B) {
			n := bc.n
			if testing.Short() {
				n /= 20
			}
			rcv, err := sink.Listen("127.0.0.1:0", sink.Options{})
			require.NoError(b, err)
			defer rcv.Close()
			cfg := sender.Config{Hostname: "sender.example", Resolver: bc.sites, Signer: bc.signer,
				Templates: map[string]sender.Template{"mail": mail{}},
				Policy:    throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return throttle.Limits{Conns: bc.conns, Messages: -1} }),
				Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, rcv.Addr)
				}}
			var memory, spooled []float64
			for range max(b.N, 3) {
				memory = append(memory, fromMemory(b, cfg, n))
				spooled = append(spooled, fromSpool(b, cfg, n))
			}
			slices.Sort(memory)
			slices.Sort(spooled)
			m, q := memory[len(memory)/2], spooled[len(spooled)/2]
			b.ReportMetric(m, "memory/s")
			b.ReportMetric(q, "spool/s")
			b.ReportMetric(q/m, "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func benchMessages(n int) []*sender.Message {
	out := make([]*sender.Message, n)
	for i := range out {
		out[i] = &sender.Message{ID: fmt.Sprint("m", i), From: msg.From, To: []string{msg.Rcpt(i)}, Template: "mail", Data: map[string]any{"i": int64(i)}}
	}
	return out
}

// mail writes the mail that Data names.
type mail struct{}

func (mail) Execute(w io.Writer, data any) error {
	_, err := msg.Message(data.(map[string]any)["i"].(int64)).WriteTo(w)
	return err
}

func fromMemory(b *testing.B, cfg sender.Config, n int) float64 {
	s, err := sender.New(cfg)
	require.NoError(b, err)
	msgs := benchMessages(n)
	begin := time.Now()
	for r := range s.Send(context.Background(), slices.Values(msgs)) {
		require.NoError(b, r.Err)
	}
	took := time.Since(begin)
	require.NoError(b, s.Shutdown(context.Background()))
	return float64(n) / took.Seconds()
}

func fromSpool(b *testing.B, cfg sender.Config, n int) float64 {
	q, err := spool.Open(filepath.Join(b.TempDir(), "spool.db"), nil)
	require.NoError(b, err)
	cfg.Queue = q
	s, err := sender.New(cfg)
	require.NoError(b, err)
	require.NoError(b, s.Suspend(context.Background(), sender.Selection{}, time.Time{}))
	for part := range slices.Chunk(benchMessages(n), 1000) {
		require.NoError(b, s.Submit(context.Background(), part...))
	}
	begin := time.Now()
	require.NoError(b, s.Resume(context.Background(), sender.Selection{}))
	left := n
	for r := range s.Results(context.Background()) {
		require.NoError(b, r.Err)
		s.Ack(r)
		if left--; left == 0 {
			break
		}
	}
	took := time.Since(begin)
	require.NoError(b, s.Shutdown(context.Background()))
	require.NoError(b, q.Close())
	return float64(n) / took.Seconds()
}
