package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/letter"
	"github.com/volleymail/volley/throttle"
)

// mailing sends a real campaign.
func mailing(ctx context.Context, o *options, e *env) int {
	c, err := newMailing(ctx, o, e)
	if err != nil {
		return e.fail(err, exitUsage)
	}
	if o.dryRun {
		return dryRun(ctx, o, c, e)
	}
	if err := c.keep(ctx, o.spool); err != nil {
		return e.fail(err, exitUsage)
	}
	fmt.Fprintf(e.stdout, "%s recipients from %s\n%s\n", number(len(c.mail.list.rows)), o.recipients, c.kept.greeting())
	sum, err := c.run(ctx, e)
	if sum != nil {
		sum.report(e)
	}
	if err != nil {
		return e.fail(err, exitLeft)
	}
	return sum.code()
}

// newMailing reads and checks all that the campaign is made of.
func newMailing(ctx context.Context, o *options, e *env) (*campaign, error) {
	l, err := readList(o.recipients, o.first)
	if err != nil {
		return nil, err
	}
	mail, err := o.readMail(l)
	if err != nil {
		return nil, err
	}
	if err := mail.tryAll(ctx); err != nil {
		return nil, err
	}
	c := &campaign{mail: mail, out: o.out, limit: o.limit, cfg: sender.Config{
		Hostname: o.hostname,
		Dial:     e.dial,
		Policy:   throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return o.limits }),
	}}
	if o.signer != nil {
		c.cfg.Signer = o.signer
	}
	o.warn(e)
	if o.relay != "" {
		c.cfg.Routes = []sender.Route{o.route()}
		return c, nil
	}
	c.cfg.Resolver, err = o.resolver(ctx, e)
	return c, err
}

// warn tells what receivers will not like.
func (o *options) warn(e *env) {
	note := func(text string) { fmt.Fprintln(e.stderr, "note: "+text) }
	if o.signer == nil {
		note("no -dkim-key: the mail is not signed, and large receivers refuse it")
	}
	if o.unsubscribe == "" {
		note("no -list-unsubscribe: large receivers ask for it in bulk mail")
	}
	if o.text == "" {
		note("no -text: mail without a text part looks like spam to many filters")
	}
}

// readMail reads the templates.
func (o *options) readMail(l *list) (*composer, error) {
	uses := map[string]fieldUse{}
	var p problems
	load := func(flag, source string) {
		_, use, err := newText(flag, source)
		if err != nil {
			p.add("%v", err)
		}
		uses[flag] = use
	}
	read := func(flag, file string) string {
		if file == "" {
			return ""
		}
		source, err := os.ReadFile(file)
		if err != nil {
			p.add("%s %s: %v", flag, file, plain(err))
			return ""
		}
		load(flag+" "+file, string(source))
		return string(source)
	}
	cfg := letter.Config{From: *o.from, Subject: o.subject, Unsubscribe: o.unsubscribe}
	load("-subject", o.subject)
	cfg.HTML, cfg.Text = read("-html", o.html), read("-text", o.text)
	if o.unsubscribe != "" {
		for source := range uses { // they have the link
			delete(uses[source], unsubscribeField)
		}
		load("-list-unsubscribe", o.unsubscribe)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	if err := l.checkFields(uses); err != nil {
		return nil, err
	}
	return newComposer(l, o.returnPath, cfg)
}

// tryAll renders each mail once, so that one that can't be is known before
// anything is sent.
func (c *composer) tryAll(ctx context.Context) error {
	rows := len(c.list.rows)
	wrong := make([]problems, runtime.GOMAXPROCS(0))
	g, ctx := errgroup.WithContext(ctx)
	for w := range wrong {
		g.Go(func() error {
			for i := w * rows / len(wrong); i < (w+1)*rows/len(wrong); i++ {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := c.compose(io.Discard, i); err != nil {
					wrong[w].add("%s: row %d (%s): %v", c.list.name, c.list.number(i), c.list.address(i), err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("stopped while checking the mails, nothing was sent: %w", err)
	}
	var all problems
	for _, p := range wrong {
		for _, text := range p.list {
			all.add("%s", text)
		}
		all.more += p.more
	}
	return all.err()
}

// route sends everything through the relay.
func (o *options) route() sender.Route {
	r := sender.Route{Domain: "*", Relay: o.relay, Username: o.relayUser, Password: o.relayPassword}
	if _, port, err := net.SplitHostPort(o.relay); err == nil && port == "465" {
		r.TLS = sender.TLSImplicit // RFC 8314 §3.3
	}
	return r
}

// resolver makes the DNS client and tries it.
func (o *options) resolver(ctx context.Context, e *env) (mx.Resolver, error) {
	cfg := mx.Config{Self: []string{o.hostname}}
	if o.dns != "" {
		cfg.Servers = []string{o.dns}
		cfg.Timeout = 2 * time.Second
	}
	r, err := mx.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("-dns: %w", err)
	}
	domain := domainOf(o.returnPath)
	_, err = r.Lookup(ctx, domain)
	failure, ok := errors.AsType[*mx.Error](err)
	switch {
	case err == nil:
	case ok && !failure.Temporary():
		fmt.Fprintf(e.stderr, "note: bounces can't come back to %s, and many receivers refuse such mail: %v\n", o.returnPath, err)
	case o.dns != "":
		return nil, fmt.Errorf("-dns %s does not answer for %s: %w: check the address, or leave -dns out for the system's servers", o.dns, domain, err)
	default:
		return nil, fmt.Errorf("the system's DNS servers do not answer for %s: %w: mend /etc/resolv.conf, or name a server with -dns", domain, err)
	}
	return r, nil
}
