package smtp

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce"
)

// resumable are the TLS sessions of servers whose caller has no cache of his
// own, so that the next connection needs no full handshake. All callers can
// share it: a session that was not verified under the same roots is not resumed
// by a connection that is to be verified (crypto/tls sees to that).
var resumable = tls.NewLRUClientSessionCache(1024)

// tlsConfig is the configuration for one connection, made from the caller's.
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
		c.ClientSessionCache = resumable
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
