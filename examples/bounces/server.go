package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	maxRecipients = 100
	maxLine       = 1 << 20 // broken reports have long lines
	grace         = 5 * time.Second
)

// server takes mail by SMTP (RFC 5321) or LMTP (RFC 2033).
type server struct {
	source  string // "smtp" or "lmtp"
	domains []string
	in      *intake
	smtp    *smtp.Server
	socket  *listener
	work    context.Context // of mails being taken: ends after ctx of serve, and a grace
	stop    context.CancelFunc
}

// listen opens the servers that the flags name, all or none.
func (o *options) listen(e *env, in *intake) (servers []*server, err error) {
	for _, way := range []struct{ source, address string }{{"smtp", o.smtp}, {"lmtp", o.lmtp}} {
		if way.address == "" {
			continue
		}
		s, err := o.newServer(way.source, way.address, e, in)
		if err != nil {
			for _, s := range servers {
				err = errors.Join(err, s.socket.Close())
			}
			return nil, fmt.Errorf("-%s: %w", way.source, err)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func (o *options) newServer(source, address string, e *env, in *intake) (*server, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	s := &server{source: source, domains: o.domains, in: in, socket: newListener(l, o.maxConns)}
	s.work, s.stop = context.WithCancel(context.Background())
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.newSession))
	s.smtp.LMTP = source == "lmtp"
	s.smtp.Domain = o.hostname
	s.smtp.MaxRecipients = maxRecipients
	s.smtp.MaxMessageBytes = o.maxSize
	s.smtp.MaxLineLength = maxLine
	s.smtp.ReadTimeout = o.timeout
	s.smtp.WriteTimeout = o.timeout
	s.smtp.EnableSMTPUTF8 = true
	s.smtp.ErrorLog = log.New(e.stderr, source+": ", 0)
	fmt.Fprintf(e.stderr, "%s: listening on %s\n", source, l.Addr())
	if e.listening != nil {
		e.listening("-"+source, l.Addr())
	}
	return s, nil
}

// serve runs until ctx ends. Then connections without a mail are closed, and
// the others have a grace to end theirs.
func (s *server) serve(ctx context.Context) error {
	defer s.stop()
	served := make(chan error, 1)
	go func() { served <- s.smtp.Serve(s.socket) }()
	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("%s: %w", s.source, err), s.shutdown())
	case <-ctx.Done():
		return errors.Join(s.shutdown(), <-served)
	}
}

func (s *server) shutdown() error {
	done := make(chan error, 1)
	go func() { done <- s.smtp.Shutdown(context.Background()) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(grace)
	defer end.Stop()
	for {
		s.socket.closeIdle()
		select {
		case err := <-done:
			return err
		case <-tick.C:
		case <-end.C:
			s.stop()
			s.socket.closeAll()
			return <-done
		}
	}
}

// session is a connection's.
type session struct {
	s    *server
	conn *conn
	to   []string
}

func (s *server) newSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{s: s, conn: c.Conn().(*conn)}, nil
}

func (x *session) Mail(string, *smtp.MailOptions) error {
	x.conn.busy.Store(true)
	return nil
}

func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	domain := strings.ToLower(to[strings.LastIndexByte(to, '@')+1:])
	if len(x.s.domains) > 0 && !slices.Contains(x.s.domains, domain) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 2}, Message: "No mail for this domain is taken here"}
	}
	x.to = append(x.to, to)
	return nil
}

func (x *session) Data(r io.Reader) error {
	err := x.s.in.take(x.s.work, mail{source: x.s.source, to: slices.Clone(x.to), body: r})
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return reply // too large
	}
	x.s.smtp.ErrorLog.Printf("mail to %s not taken: %v", strings.Join(x.to, ", "), err)
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Not taken now, try again later"}
}

// Reset comes after the reply to a mail, too.
func (x *session) Reset() {
	x.to = nil
	x.conn.busy.Store(false)
}

func (x *session) Logout() error { return nil }
