package mx

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// serve starts a DNS server on loopback, UDP and TCP on one port.
func serve(t testing.TB, handler dns.HandlerFunc) string {
	t.Helper()
	tcp, udp := listen(t)
	for _, s := range []*dns.Server{{Listener: tcp, Handler: handler}, {PacketConn: udp, Handler: handler}} {
		started, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = s.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return tcp.Addr().String()
}

// listen takes a port for both; one that is free for TCP may not be for UDP.
func listen(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp
		}
		require.NoError(t, tcp.Close())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
}

// silent returns the address of a server that never replies.
func silent(t testing.TB) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

// closed returns an address where nobody listens: that of a socket that hears
// one peer only, so that no other gets it.
func closed(t testing.TB) string {
	conn, err := net.Dial("udp", silent(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

func network(w dns.ResponseWriter) string { return w.LocalAddr().Network() }

func lookupAt(t testing.TB, cfg Config, domain string) (*Route, error) {
	d, err := New(cfg)
	require.NoError(t, err)
	return d.Lookup(t.Context(), domain)
}

func TestOverTheNet(t *testing.T) {
	z := newZone(t, world)
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if opt := q.IsEdns0(); opt == nil || opt.UDPSize() != 1232 || !q.RecursionDesired {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
			return
		}
		_ = w.WriteMsg(z.reply(q))
	})
	r, err := lookupAt(t, Config{Servers: []string{server}}, "example.com")
	require.NoError(t, err)
	require.Equal(t, []string{"mx1.example.com", "mx2.example.com"}, hostNames(r))
	require.Equal(t, addrs("192.0.2.1", "192.0.2.2", "2001:db8::1"), r.Hosts[0].Addrs)
}

func TestTruncated(t *testing.T) {
	z := newZone(t, world)
	junk := func(w dns.ResponseWriter, q *dns.Msg) []byte { // a reply with half its records
		out, err := z.reply(q).Pack()
		require.NoError(t, err)
		return out[:len(out)-7]
	}
	for name, udp := range map[string]func(dns.ResponseWriter, *dns.Msg){
		"TC": func(w dns.ResponseWriter, q *dns.Msg) {
			r := new(dns.Msg).SetReply(q)
			r.Truncated = true
			_ = w.WriteMsg(r)
		},
		"TC without question": func(w dns.ResponseWriter, q *dns.Msg) {
			r := new(dns.Msg).SetReply(q)
			r.Truncated, r.Question = true, nil
			_ = w.WriteMsg(r)
		},
		"cut off": func(w dns.ResponseWriter, q *dns.Msg) { _, _ = w.Write(junk(w, q)) },
		"too long": func(w dns.ResponseWriter, q *dns.Msg) {
			r := z.reply(q)
			for range 20 {
				txt := &dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("x", 200)}}
				r.Extra = append(r.Extra, txt)
			}
			_ = w.WriteMsg(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var overTCP atomic.Int32
			server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if network(w) == "tcp" {
					overTCP.Add(1)
					_ = w.WriteMsg(z.reply(q))
					return
				}
				udp(w, q)
			})
			r, err := lookupAt(t, Config{Servers: []string{server}}, "example.com")
			require.NoError(t, err)
			require.Len(t, r.Hosts, 2)
			require.EqualValues(t, 5, overTCP.Load())
		})
	}
	t.Run("over TCP too", func(t *testing.T) {
		server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) { _, _ = w.Write(junk(w, q)) })
		_, err := lookupAt(t, Config{Servers: []string{server}}, "example.com")
		requireFailure(t, err, Temporary)
		require.ErrorContains(t, err, "cut off")
	})
}

// Datagrams that are not the reply are passed over: forged or late ones.
func TestForged(t *testing.T) {
	z := newZone(t, world)
	forged := func(q *dns.Msg) *dns.Msg {
		r := new(dns.Msg).SetReply(q)
		rr, err := dns.NewRR(q.Question[0].Name + " MX 10 evil.example.")
		require.NoError(t, err)
		r.Answer = []dns.RR{rr}
		return r
	}
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		for _, forge := range []func(*dns.Msg){
			func(m *dns.Msg) { m.Id++ },
			func(m *dns.Msg) { m.Question[0].Name = "other.example." },
			func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
			func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
			func(m *dns.Msg) { m.Question = nil },
			func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
			func(m *dns.Msg) { m.Response = false },
			func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
		} {
			r := forged(q)
			forge(r)
			_ = w.WriteMsg(r)
		}
		_, _ = w.Write([]byte("short"))
		_, _ = w.Write([]byte("long enough for a header"))
		_ = w.WriteMsg(z.reply(q))
	})
	r, err := lookupAt(t, Config{Servers: []string{server}}, "example.com")
	require.NoError(t, err)
	require.Equal(t, "(mx1|mx2).example.com", r.Site)
}

func TestForgedOverTCP(t *testing.T) {
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		r.Truncated = network(w) == "udp"
		if !r.Truncated {
			r.Question[0].Name = "other.example."
		}
		_ = w.WriteMsg(r)
	})
	_, err := lookupAt(t, Config{Servers: []string{server}}, "example.com")
	requireFailure(t, err, Temporary)
	require.ErrorContains(t, err, "not to this question")
}

func TestNextServer(t *testing.T) {
	z := newZone(t, world)
	good := serve(t, func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(z.reply(q)) })
	answering := func(f func(r *dns.Msg)) string {
		return serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
			r := new(dns.Msg).SetReply(q)
			f(r)
			_ = w.WriteMsg(r)
		})
	}
	referral, err := dns.NewRR("com. NS ns.com.")
	require.NoError(t, err)
	for name, bad := range map[string]string{
		"silent":   silent(t),
		"closed":   closed(t),
		"SERVFAIL": answering(func(r *dns.Msg) { r.Rcode = dns.RcodeServerFailure }),
		"REFUSED":  answering(func(r *dns.Msg) { r.Rcode = dns.RcodeRefused; r.Question = nil }),
		"NOTIMP":   answering(func(r *dns.Msg) { r.Rcode = dns.RcodeNotImplemented }),
		"referral": answering(func(r *dns.Msg) { r.Ns = []dns.RR{referral} }),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Servers: []string{bad, good}, Timeout: 100 * time.Millisecond, Attempts: maxAttempts} // the good one may be slow
			r, err := lookupAt(t, cfg, "example.com")
			require.NoError(t, err)
			require.Len(t, r.Hosts, 2)
		})
	}
}

// A server that does not reply is asked last from then on.
func TestDeadServerIsDemoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, world)
		dead := 0
		d := z.resolver(t, &Config{
			Servers: []string{"192.0.2.66", "192.0.2.53"},
			Timeout: 3 * time.Second,
			Exchange: func(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
				if server == "192.0.2.66:53" {
					dead++
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return z.exchange(ctx, network, server, q)
			},
		})
		start := time.Now()
		for _, domain := range []string{"example.com", "bare.example", "partly.example"} {
			_, err := d.Lookup(t.Context(), domain)
			require.NoError(t, err)
		}
		require.Equal(t, 1, dead)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestWithoutEDNS(t *testing.T) {
	z := newZone(t, world)
	for _, rcode := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented} {
		server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				r := new(dns.Msg).SetRcode(q, rcode)
				r.Question = nil
				_ = w.WriteMsg(r)
				return
			}
			_ = w.WriteMsg(z.reply(q))
		})
		r, err := lookupAt(t, Config{Servers: []string{server}}, "example.com")
		require.NoError(t, err)
		require.Len(t, r.Hosts, 2)
	}
}

func TestExtendedError(t *testing.T) {
	server := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		r.SetEdns0(1232, false)
		r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "whatever"}}
		_ = w.WriteMsg(r)
	})
	_, err := lookupAt(t, Config{Servers: []string{server}}, "example.com")
	requireFailure(t, err, Temporary)
	require.ErrorContains(t, err, "SERVFAIL (DNSSEC Bogus)")
}

func TestNoServerReplies(t *testing.T) {
	start := time.Now()
	_, err := lookupAt(t, Config{Servers: []string{silent(t)}, Timeout: 20 * time.Millisecond, Attempts: 3}, "example.com")
	e := requireFailure(t, err, Temporary)
	require.ErrorContains(t, err, "no reply over udp within")
	require.NotErrorIs(t, e, context.DeadlineExceeded, "that is for the caller's ctx")
	require.GreaterOrEqual(t, time.Since(start), 60*time.Millisecond)
}

// The net's exchange obeys the end of ctx at once, not only its deadline.
func TestExchangeIsCut(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	for network, server := range map[string]string{"udp": silent(t), "tcp": tcp.Addr().String()} {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := exchange(ctx, network, server, new(dns.Msg).SetQuestion("example.com.", dns.TypeMX))
			result <- err
		}()
		cancel()
		select {
		case err := <-result:
			require.Error(t, err)
		case <-time.After(5 * time.Second):
			t.Fatal("exchange goes on")
		}
	}
}

func TestExchangeHook(t *testing.T) {
	broken := errors.New("broken")
	for name, hook := range map[string]Exchange{
		"error":      func(context.Context, string, string, *dns.Msg) (*dns.Msg, error) { return nil, broken },
		"no message": func(context.Context, string, string, *dns.Msg) (*dns.Msg, error) { return nil, nil },
		"the query":  func(_ context.Context, _, _ string, q *dns.Msg) (*dns.Msg, error) { return q, nil },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := lookupAt(t, Config{Servers: []string{"192.0.2.53"}, Exchange: hook}, "example.com")
			requireFailure(t, err, Temporary)
			if name == "error" {
				require.ErrorIs(t, err, broken)
			}
		})
	}
}
