package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/internal/smtp"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/throttle"
)

// Config of a Sender. Only Hostname is required; each zero field means the
// default it names.
type Config struct {
	// Hostname is the EHLO name: the public DNS name of this machine, whose
	// address should lead back to it (RFC 5321 §4.1.1.1). Required.
	Hostname string

	// Sources are the ways out. Mail is spread over them: each has limits of its
	// own at every destination. nil = one, with the system's address.
	Sources []Source

	// Streams are the kinds of mail, by Message.Stream. A Message with Stream ""
	// needs no entry; any other name must be here.
	Streams map[string]Stream

	// Routes say where mail goes instead of to the recipient domain's own
	// servers, or what is asked of these. The first that matches counts.
	Routes []Route

	// Choose names the sources that may send to a recipient, where neither the
	// stream nor a route is enough to tell. It is called more than once for a
	// recipient, from several goroutines, and must be quick and give the same
	// each time. nil result = those of the route, else of the stream. nil = not used.
	Choose func(m *Message, recipient string) []string

	// Resolver finds mail servers. nil = package mx's, on the name servers of
	// the system, without loopback and private addresses, which anybody can
	// publish for a domain.
	Resolver mx.Resolver

	// Policy sets the limits of each destination. nil = throttle.Profiles(), the
	// built-in profiles of mailbox providers, which also learn from replies. A
	// destination whose limits are mistaken (throttle.Limits.Validate) is
	// suspended: the Logger is warned and Snapshot says why.
	Policy throttle.Policy

	// Classify understands servers' replies; failures without one are judged by
	// bounce.Classify. nil = bounce.Classify. Rules that are updated while mail
	// goes out are in package livepack's RuleSet.
	Classify func(bounce.Reply) bounce.Class

	// Signer signs each mail of streams that have no Signer of their own.
	// nil = not signed, which large receivers refuse.
	Signer Signer

	// Templates write the mails of Messages that name one, at each attempt.
	Templates map[string]Template

	// Queue keeps what Submit takes until its end is known and told: package
	// sender/spool has one in a file. nil = there is only Send.
	Queue Queue

	// QueueWindow bounds the recipients of each stream that are in memory out of
	// the Queue. 0 = 20,000.
	QueueWindow int

	// Suppression is asked right before each attempt. nil = nobody is suppressed.
	Suppression Suppression

	// Retry says when and how long a failed recipient is tried again.
	Retry Retry

	// Breaker stops streams where too much comes back.
	Breaker Breaker

	// MaxConns bounds the connections open at once, over all destinations.
	// 0 = 1000. Mind the limit of open files.
	MaxConns int

	// Window bounds the recipients that one Send has taken and not yet yielded.
	// Each waiting one costs under 300 bytes beside its Message. A destination
	// that is slow or down keeps its recipients in the window, so it should be
	// as large as memory allows. 0 = 1,000,000.
	Window int

	// MaxMessageSize bounds a rendered mail, in bytes. 0 = 64 MiB.
	MaxMessageSize int

	// Port of the recipients' servers. 0 = 25. Others are for tests.
	Port uint16

	// Dial opens a connection to address ("192.0.2.1:25", or "host:port" of a
	// relay). nil = net.Dialer, bound to the Source's Addr.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS is the base of the TLS configuration of each connection; name and
	// verification are set as the route demands. nil = defaults, TLS 1.2 and up.
	TLS *tls.Config

	// Timeouts bound each step of a conversation.
	Timeouts Timeouts

	// Observe is told what happens, from many goroutines at once. It must be
	// quick, as the Logger must: the destination waits for it, or, when a lookup
	// failed, all do. It must not call methods of the Sender that wait, such as
	// Snapshot. nil = nobody.
	Observe func(Event)

	// Logger gets warnings about destinations and the Sender's own trouble.
	// nil = silent.
	Logger *slog.Logger
}

// Signer makes header fields that authenticate a mail, such as DKIM-Signature.
// Package dkim's Signer is one. It is called once for each attempt, from many
// goroutines.
type Signer interface {
	// Sign returns complete header fields, each ended by CRLF, to be put before
	// msg, which is the whole mail as it goes out. from and to are its envelope.
	Sign(now time.Time, from string, to []string, msg []byte) ([]byte, error)
}

// Template writes a mail, header and body, from a recipient's data. The Templates
// of text/template and html/template are such; package sender/letter makes one
// that composes the whole mail. It is used by many goroutines at once, and must
// write the same each time.
type Template interface {
	Execute(w io.Writer, data any) error
}

// Suppression says who must not be mailed.
type Suppression interface {
	// Suppressed reports whether recipient must not get mail of the stream now,
	// and why. After an error the recipient is tried again later.
	Suppressed(ctx context.Context, recipient, stream string) (reason string, suppressed bool, err error)
}

// Timeouts bound each step of a conversation. Zero = the default, which is the
// minimum that RFC 5321 §4.5.3.2 asks for where it names one.
type Timeouts struct {
	Connect  time.Duration // TCP connection; default 30s
	Greeting time.Duration // default 5m
	Hello    time.Duration // EHLO; default 5m
	TLS      time.Duration // handshake; default 2m
	Auth     time.Duration // default 5m
	Mail     time.Duration // default 5m
	Rcpt     time.Duration // default 5m
	Data     time.Duration // DATA to its 354; default 2m
	Block    time.Duration // each piece of the message; default 3m
	Dot      time.Duration // end of the message to its reply; shorter makes duplicates; default 10m
	Quit     time.Duration // default 5s
}

func (t Timeouts) smtp() smtp.Timeouts {
	return smtp.Timeouts{Greeting: t.Greeting, Hello: t.Hello, TLS: t.TLS, Auth: t.Auth, Mail: t.Mail,
		Rcpt: t.Rcpt, Data: t.Data, Block: t.Block, Dot: t.Dot, Quit: t.Quit}
}

// config is a Config checked and with every default filled in.
type config struct {
	Config
	sources []*source
	routes  []*route
	log     *slog.Logger
}

const defaultWindow = 1_000_000

func (c Config) check() (*config, error) {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("sender: Config."+format, a...)) }
	if err := checkHostname(c.Hostname); err != nil {
		bad("Hostname %q: %w: set it to this machine's public DNS name, such as mail.example.com (RFC 5321 §4.1.1.1)", c.Hostname, err)
	}
	c.Hostname, _ = normalDomain(c.Hostname) // A-labels, no final dot
	sources := checkSources(&c, bad)
	for _, name := range slices.Sorted(maps.Keys(c.Streams)) {
		c.Streams[name].check(name, sources, bad)
		c.Streams[name].Notices.check(name, &c, bad)
	}
	routes := checkRoutes(c.Routes, sources, bad)
	c.Retry.check(bad)
	c.Breaker.check(bad)
	checkNumbers(&c, bad)
	if c.Policy == nil {
		c.Policy = throttle.Profiles()
	}
	if c.Timeouts.Connect == 0 {
		c.Timeouts.Connect = 30 * time.Second
	}
	if c.Classify == nil {
		c.Classify = bounce.DefaultRules().Classify
	}
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if len(errs) == 0 && c.Resolver == nil {
		r, err := mx.New(mx.Config{Self: c.hostnames(), Allow: public})
		if err != nil {
			bad("Resolver: %w", err)
		}
		c.Resolver = r
	}
	return &config{Config: c, sources: sources, routes: routes, log: log}, errors.Join(errs...)
}

// checkNumbers fills in the defaults of plain numbers and refuses negative ones.
func checkNumbers(c *Config, bad func(string, ...any)) {
	for _, n := range []struct {
		name  string
		field *int
		def   int
	}{
		{"MaxConns", &c.MaxConns, 1000},
		{"Window", &c.Window, defaultWindow},
		{"QueueWindow", &c.QueueWindow, 20_000},
		{"MaxMessageSize", &c.MaxMessageSize, 64 << 20},
	} {
		switch {
		case *n.field < 0:
			bad("%s is %d: it must be positive, or 0 for %d", n.name, *n.field, n.def)
		case *n.field == 0:
			*n.field = n.def
		}
	}
	if c.Port == 0 {
		c.Port = 25
	}
	t := &c.Timeouts
	for _, d := range []struct {
		name string
		time.Duration
	}{{"Connect", t.Connect}, {"Greeting", t.Greeting}, {"Hello", t.Hello}, {"TLS", t.TLS}, {"Auth", t.Auth}, {"Mail", t.Mail},
		{"Rcpt", t.Rcpt}, {"Data", t.Data}, {"Block", t.Block}, {"Dot", t.Dot}, {"Quit", t.Quit}} {
		if d.Duration < 0 {
			bad("Timeouts.%s is %v: it must be positive, or 0 for the default", d.name, d.Duration)
		}
	}
}

// hostnames of ourselves, for the resolver to notice loops.
func (c *Config) hostnames() []string {
	names := []string{c.Hostname}
	for _, s := range c.Sources {
		if s.Hostname != "" {
			names = append(names, s.Hostname)
		}
		for _, a := range s.Addrs {
			names = append(names, a.String())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func public(a netip.Addr) bool { return !a.IsLoopback() && !a.IsPrivate() }
