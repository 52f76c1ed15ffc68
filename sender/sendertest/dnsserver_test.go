package sendertest_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/sender/sendertest"
)

func TestDNSServer(t *testing.T) {
	s := sendertest.Start(t, sendertest.Options{})
	h := s.AddHost("mx.example.com", sendertest.Behavior{})
	s.AddDomain("example.com", "mx.example.com")
	s.SetTXT("sel._domainkey.example.com", "v=DKIM1; p="+fmt.Sprintf("%0300d", 0))
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.DNSAddr())
	}}
	records, err := r.LookupMX(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, []*net.MX{{Host: "mx.example.com.", Pref: 10}}, records)
	addrs, err := r.LookupHost(t.Context(), "mx.example.com.")
	require.NoError(t, err)
	require.Equal(t, []string{h.Addr().String()}, addrs)
	texts, err := r.LookupTXT(t.Context(), "sel._domainkey.example.com.")
	require.NoError(t, err)
	require.Equal(t, []string{"v=DKIM1; p=" + fmt.Sprintf("%0300d", 0)}, texts)
	_, err = r.LookupMX(t.Context(), "unknown.example.")
	failure, ok := err.(*net.DNSError)
	require.True(t, ok)
	require.True(t, failure.IsNotFound)

	s.SetTXT("sel._domainkey.example.com")
	_, err = r.LookupTXT(t.Context(), "sel._domainkey.example.com.")
	require.Error(t, err)
}

func TestDNSServerTruncates(t *testing.T) {
	s := sendertest.Start(t, sendertest.Options{})
	var hosts []string
	for i := range 100 {
		host := fmt.Sprintf("a-rather-long-host-name-%d.example.com", i)
		hosts = append(hosts, host)
		s.AddHost(host, sendertest.Behavior{})
	}
	s.AddDomain("example.com", hosts...)
	query := new(dns.Msg).SetQuestion("example.com.", dns.TypeMX)
	reply, _, err := new(dns.Client).Exchange(query, s.DNSAddr())
	require.NoError(t, err)
	require.True(t, reply.Truncated)

	r, err := mx.New(mx.Config{Servers: []string{s.DNSAddr()}})
	require.NoError(t, err)
	route, err := r.Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, hosts[0], route.Hosts[0].Name)
}

func TestDNSServerIsSlow(t *testing.T) {
	s := sendertest.Start(t, sendertest.Options{})
	s.SetDomain("slow.example", sendertest.Domain{Delay: time.Hour})
	c := &dns.Client{Timeout: 20 * time.Millisecond}
	_, _, err := c.Exchange(new(dns.Msg).SetQuestion("slow.example.", dns.TypeMX), s.DNSAddr())
	timeout, ok := err.(net.Error)
	require.True(t, ok)
	require.True(t, timeout.Timeout())
	require.NoError(t, s.Close(), "does not wait for an hour")
}
