package sender_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// middleman accepts connections, learns from head where they are to go, and
// joins them with the sandbox.
func middleman(t *testing.T, sb *sendertest.Sandbox, head func(*bufio.Reader, net.Conn) (addr string)) (host string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				r := bufio.NewReader(client)
				if _, err := r.Peek(1); err != nil {
					return // given up: the Sender was shut down meanwhile
				}
				server, err := sb.Dial(context.Background(), "tcp", head(r, client))
				if err != nil {
					t.Error(err)
					return
				}
				defer server.Close()
				all.Go(func() { io.Copy(server, r); server.Close() })
				io.Copy(client, server)
			})
		}
	})
	return l.Addr().String()
}

// take reads n octets. The Sender may give up a connection that it needs no more
// before it has said anything: then the goroutine ends.
func take(r io.Reader, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		runtime.Goexit()
	}
	return b
}

func TestSOCKS5(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{})
	h := sb.AddHost("mx.a.example", sendertest.Behavior{})
	sb.AddDomain("a.example", "mx.a.example")
	// RFC 1928 and 1929, with a name and a password.
	proxy := middleman(t, sb, func(r *bufio.Reader, c net.Conn) string {
		read := func(n int) []byte { return take(r, n) }
		read(int(read(2)[1]))
		c.Write([]byte{5, 2})
		user := string(read(int(read(2)[1])))
		pass := string(read(int(read(1)[0])))
		if user != "me" || pass != "secret" {
			t.Errorf("user %q password %q", user, pass)
		}
		c.Write([]byte{1, 0})
		read(4) // version, CONNECT, reserved, IPv4
		addr, _ := netip.AddrFromSlice(read(4))
		port := binary.BigEndian.Uint16(read(2))
		c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		return netip.AddrPortFrom(addr, port).String()
	})
	cfg := config(sb)
	cfg.Dial = nil
	cfg.Sources = []sender.Source{{Name: "far", Proxy: "socks5://me:secret@" + proxy}}
	s := start(t, cfg)
	results := s.SendAll(context.Background(), letters(20, "a.example")...)
	require.NoError(t, results[0].Err)
	require.Equal(t, 20, h.Stats().Accepted)
	require.Equal(t, "far", results[0].Source)
	shutdown(t, s)
}

func TestHAProxy(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{})
	h := sb.AddHost("mx.a.example", sendertest.Behavior{})
	sb.AddDomain("a.example", "mx.a.example")
	proxy := middleman(t, sb, func(r *bufio.Reader, _ net.Conn) string {
		b := take(r, 28)
		if string(b[:12]) != "\r\n\r\n\x00\r\nQUIT\n" || b[12] != 0x21 || b[13] != 0x11 || binary.BigEndian.Uint16(b[14:]) != 12 {
			t.Errorf("header %x", b)
		}
		from, _ := netip.AddrFromSlice(b[16:20])
		if from != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("from %s", from)
		}
		to, _ := netip.AddrFromSlice(b[20:24])
		return netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[26:])).String()
	})
	cfg := config(sb)
	cfg.Dial = nil
	cfg.Sources = []sender.Source{{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, Proxy: "haproxy://" + proxy}}
	s := start(t, cfg)
	results := s.SendAll(context.Background(), letters(20, "a.example")...)
	require.NoError(t, results[0].Err)
	require.Equal(t, 20, h.Stats().Accepted)
	require.Equal(t, "192.0.2.7", results[0].Source)
	shutdown(t, s)
}

// A source can be a relay; a function, a route and a stream can name sources.
func TestSourcesAreChosen(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{})
	direct := sb.AddHost("mx.a.example", sendertest.Behavior{})
	relay := sb.AddHost("relay.sender.example", sendertest.Behavior{Without: sendertest.StartTLS})
	sb.AddDomain("a.example", "mx.a.example")
	sb.AddDomain("b.example", "mx.a.example")
	cfg := config(sb)
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return sb.Dial(ctx, network, strings.Replace(addr, "relay.sender.example", relay.Addr().String(), 1))
	}
	cfg.Sources = []sender.Source{{Name: "direct"}, {Name: "relay", Relay: "relay.sender.example:2525"}}
	cfg.Streams = map[string]sender.Stream{"": {Sources: []string{"direct"}}, "news": {Sources: []string{"relay"}}}
	cfg.Routes = []sender.Route{{Domain: "b.example", Sources: []string{"relay"}}}
	cfg.Choose = func(m *sender.Message, recipient string) []string {
		if strings.HasPrefix(recipient, "user7@") {
			return []string{"relay"}
		}
		return nil
	}
	s := start(t, cfg)
	msgs := append(letters(10, "a.example"), letters(10, "b.example")...)
	msgs = append(msgs, of("news", letters(10, "a.example"))...)
	results := s.SendAll(context.Background(), msgs...)
	requireOnce(t, msgs, results)
	for _, r := range results {
		require.NoError(t, r.Err)
		viaRelay := r.Message.Stream == "news" || strings.HasSuffix(r.Recipient, "@b.example") || strings.HasPrefix(r.Recipient, "user7@")
		require.Equal(t, viaRelay, r.Source == "relay", r.Recipient)
	}
	require.Equal(t, 9, direct.Stats().Accepted)
	require.Equal(t, 21, relay.Stats().Accepted)
	shutdown(t, s)
}

func TestSourceMistakes(t *testing.T) {
	a4, b4 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	_, err := sender.New(sender.Config{Hostname: "mail.sender.example",
		Sources: []sender.Source{{Name: "0", Addrs: []netip.Addr{a4, b4}}, {Name: "1", Proxy: "http://proxy:80"}, {Name: "2", Proxy: "socks5://proxy"},
			{Name: "3", Proxy: "haproxy://proxy:80"}, {Name: "4", Proxy: "socks5://proxy:1", Addrs: []netip.Addr{a4}}, {Name: "5", Relay: "a b"}, {Name: "6", Weight: -1}},
		Streams: map[string]sender.Stream{"x": {Sources: []string{"nobody"}, Share: -1}},
		Routes:  []sender.Route{{Domain: "*", Sources: []string{"nobody"}}}})
	for _, want := range []string{"Sources[0].Addrs", "Sources[1].Proxy", "Sources[2].Proxy", "Sources[3].Addrs", "Sources[4].Addrs", "Sources[5].Relay",
		"Sources[6].Weight", `Streams["x"].Sources`, `Streams["x"].Share`, "Routes[0].Sources"} {
		require.ErrorContains(t, err, want)
	}
}
