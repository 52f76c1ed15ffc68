package smtp

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Sessions of servers that were dialled with no cache of the caller's, so that
// the next connection needs no full handshake. Verified and unverified ones are
// kept apart.
var (
	verifiedSessions   = tls.NewLRUClientSessionCache(1024)
	unverifiedSessions = tls.NewLRUClientSessionCache(1024)
)

// tlsConfig is the configuration for one connection, made from the caller's.
// A verified session is cached only for the caller who gave no configuration:
// another one may trust other roots, and resuming skips them.
func tlsConfig(o *Options) *tls.Config {
	base := o.TLSConfig
	if base == nil {
		base = &tls.Config{}
	}
	c := base.Clone()
	if c.MinVersion < tls.VersionTLS12 { // RFC 8996
		c.MinVersion = tls.VersionTLS12
	}
	if c.ServerName == "" {
		c.ServerName = strings.TrimSuffix(o.Host, ".")
	}
	c.InsecureSkipVerify = o.TLS != TLSVerify && o.TLS != TLSImplicit
	// Small records let a browser begin early; a mail server needs the whole message.
	c.DynamicRecordSizingDisabled = true
	if c.ClientSessionCache == nil {
		switch {
		case c.InsecureSkipVerify:
			c.ClientSessionCache = unverifiedSessions
		case o.TLSConfig == nil:
			c.ClientSessionCache = verifiedSessions
		}
	}
	return c
}

// startTLS asks for TLS and takes it (RFC 3207).
func (s *Session) startTLS(ctx context.Context, o *Options) *Error {
	if _, err := s.wire.send([]byte("STARTTLS\r\n"), s.timeouts.Block); err != nil {
		return s.lost(bounce.StageTLS, err)
	}
	r, err := s.wire.reply(s.timeouts.Hello)
	if err != nil {
		return s.lost(bounce.StageTLS, err)
	}
	if r.code != 220 {
		return s.refusal(r.bounce(bounce.StageTLS, s.host), nil)
	}
	// What came in clear behind the 220 could be anyone's: it must not be taken
	// for the server's word under TLS (RFC 3207 §6, command injection).
	if s.wire.in.buffered() > 0 {
		return s.lost(bounce.StageTLS, ErrUnsolicited)
	}
	return s.handshake(ctx, o)
}

// handshake puts TLS over the connection.
func (s *Session) handshake(ctx context.Context, o *Options) *Error {
	conn := tls.Client(s.wire.raw, tlsConfig(o))
	until := time.Now().Add(s.timeouts.TLS)
	s.wire.setRead(until)
	s.wire.setWrite(until)
	if err := conn.HandshakeContext(ctx); err != nil {
		e := s.lost(bounce.StageTLS, err)
		if s.wire.cause() == nil {
			e.Reply.Status = statusCrypto
		}
		return e
	}
	state := conn.ConnectionState()
	s.wire.conn, s.tls = conn, &state
	return nil
}
