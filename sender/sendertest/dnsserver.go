package sendertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// dnsServer answers from a sandbox's zone over UDP and TCP on one loopback port.
type dnsServer struct {
	udp, tcp *dns.Server
	addr     string
	ended    chan error // one for each of udp and tcp
}

// startDNS listens and serves.
func startDNS(s *Sandbox) (*dnsServer, error) {
	packets, listener, err := listenBoth()
	if err != nil {
		return nil, err
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply, delay := s.zone.reply(query)
		if !s.sleep(delay) {
			return
		}
		if w.RemoteAddr().Network() == "udp" {
			size := dns.MinMsgSize
			if opt := query.IsEdns0(); opt != nil {
				size = max(size, int(opt.UDPSize())) // RFC 6891 §6.2.3
			}
			reply.Truncate(size)
		}
		_ = w.WriteMsg(reply)
	})
	d := &dnsServer{
		udp:   &dns.Server{PacketConn: packets, Handler: handler},
		tcp:   &dns.Server{Listener: listener, Handler: handler},
		addr:  listener.Addr().String(),
		ended: make(chan error, 2),
	}
	for _, server := range []*dns.Server{d.udp, d.tcp} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { d.ended <- server.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-d.ended:
			return nil, errors.Join(err, packets.Close(), listener.Close())
		}
	}
	return d, nil
}

// listenBoth finds a port that is free for TCP and UDP.
func listenBoth() (net.PacketConn, net.Listener, error) {
	var errs error
	for range 10 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return packets, listener, nil
		}
		listener.Close()
		errs = errors.Join(errs, err)
	}
	return nil, nil, fmt.Errorf("no port for the DNS server: %w", errs)
}

// close ends both servers and waits for their handlers.
func (d *dnsServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(d.udp.ShutdownContext(ctx), d.tcp.ShutdownContext(ctx), <-d.ended, <-d.ended)
}

// DNSAddr returns the loopback address of the sandbox's DNS server, such as
// "127.0.0.1:40053", over UDP and TCP. It is empty in Memory mode.
func (s *Sandbox) DNSAddr() string {
	if s.dns == nil {
		return ""
	}
	return s.dns.addr
}
