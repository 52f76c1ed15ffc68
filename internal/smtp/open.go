package smtp

import (
	"context"
	"errors"
	"net"
	"net/textproto"
	"strings"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/volleymail/volley/bounce"
)

// Open greets the server at the other end of conn: greeting, EHLO or HELO,
// STARTTLS, AUTH. It owns conn from the start and closes it on error. The
// error is an *Error; with StageTLS the caller may try again in clear, with
// Memory.NoTLS set, unless it wraps ErrNoSTARTTLS.
func Open(ctx context.Context, conn net.Conn, o *Options) (*Session, error) {
	s := &Session{
		wire:     newWire(conn),
		host:     o.Host,
		timeouts: o.Timeouts.withDefaults(),
		mem:      o.Memory,
		form:     o.Memory.Form,
	}
	unwatch := s.wire.watch(ctx)
	defer unwatch()
	if e := s.open(ctx, o); e != nil {
		s.part(e)
		return nil, e
	}
	return s, nil
}

func (s *Session) open(ctx context.Context, o *Options) *Error {
	if o.TLS == TLSImplicit {
		if e := s.handshake(ctx, o); e != nil {
			return e
		}
	}
	g := &guard{Conn: s.wire.raw, wire: s.wire, timeout: s.timeouts.Greeting, write: s.timeouts.Block}
	client, err := gosmtp.NewClient(g, o.Host)
	if err != nil {
		return s.refused(g, bounce.StageGreeting, err)
	}
	if e := s.hello(client, g, o); e != nil {
		return e
	}
	switch {
	case s.tls != nil || o.TLS == TLSNone || o.TLS == TLSOpportunistic && o.Memory.NoTLS:
	case s.ext.startTLS:
		if e := s.startTLS(ctx, o); e != nil {
			return e
		}
		// What was said in clear is forgotten (RFC 3207 §4.2): client and guard are new.
		g = &guard{Conn: s.wire.raw, wire: s.wire, write: s.timeouts.Block, greeting: "220 TLS\r\n"}
		if client, err = gosmtp.NewClient(g, o.Host); err != nil {
			return s.refused(g, bounce.StageHello, err)
		}
		if e := s.hello(client, g, o); e != nil {
			return e
		}
	case o.TLS != TLSOpportunistic:
		return s.failure(bounce.StageTLS, statusNoTLS, ErrNoSTARTTLS)
	}
	if o.Auth == nil {
		return nil
	}
	return s.auth(client, g, o)
}

// hello says EHLO, or HELO to a server that knows no EHLO.
func (s *Session) hello(client *gosmtp.Client, g *guard, o *Options) *Error {
	g.timeout = s.timeouts.Hello
	if err := client.Hello(o.Hello); err != nil {
		return s.refused(g, bounce.StageHello, err)
	}
	s.ext = extensions{}
	if g.verb == "EHLO" {
		s.ext = parseExtensions(g.text)
	}
	return nil
}

// auth logs in (RFC 4954).
func (s *Session) auth(client *gosmtp.Client, g *guard, o *Options) *Error {
	if s.ext.authList == "" {
		return s.failure(bounce.StageAuth, statusNoAuth, ErrNoAuth)
	}
	g.timeout = s.timeouts.Auth
	mechanism, err := o.Auth(s.ext.authList)
	if err != nil {
		return s.failure(bounce.StageAuth, statusNoAuth, err)
	}
	a := &auth{Auth: mechanism, info: gosmtp.ServerInfo{
		Name: o.Host,
		// Only TLS that was demanded counts: under opportunistic TLS whoever sits
		// in between could have the password.
		TLS:  s.tls != nil && o.TLS != TLSOpportunistic,
		Auth: strings.Fields(s.ext.authList),
	}}
	err = client.Auth(a)
	switch {
	case a.err != nil:
		return s.failure(bounce.StageAuth, statusNoAuth, a.err)
	case err != nil || g.code != 235:
		return s.refused(g, bounce.StageAuth, err)
	}
	return nil
}

// auth tells a mechanism what go-mail's client can't know, that there is TLS
// below, and remembers its own error.
type auth struct {
	gosmtp.Auth
	info gosmtp.ServerInfo
	err  error
}

func (a *auth) Start(*gosmtp.ServerInfo) (proto string, toServer []byte, err error) {
	proto, toServer, a.err = a.Auth.Start(&a.info)
	return proto, toServer, a.err
}

func (a *auth) Next(fromServer []byte, more bool) (toServer []byte, err error) {
	toServer, a.err = a.Auth.Next(fromServer, more)
	return toServer, a.err
}

// refused is the Error after go-mail's client returned err, or nil though the
// last reply is not the one that was hoped for.
func (s *Session) refused(g *guard, stage bounce.Stage, err error) *Error {
	if g.err != nil {
		return s.lost(stage, g.err)
	}
	// go-mail's client reports a reply as a textproto.Error; a command that the
	// guard withheld came after one.
	if _, ok := errors.AsType[*textproto.Error](err); ok || err == nil || errors.Is(err, errWithheld) {
		r := (&reply{code: g.code, text: g.text}).bounce(stage, s.host)
		if r.Code < 400 { // a reply that has no meaning here
			return s.refusal(r, ErrProtocol)
		}
		return s.refusal(r, nil)
	}
	return s.failure(stage, statusProtocol, err)
}
