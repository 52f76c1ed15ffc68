package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"
)

// shown are the rows that a dry run shows unless -limit says otherwise.
const shown = 10

// dryRun shows what would be sent, and where to.
func dryRun(ctx context.Context, o *options, c *campaign, e *env) int {
	t := newTable([]int{1, 3}, "row", "email", "bytes", "goes to")
	wrong := 0
	rows := len(c.mail.list.rows)
	if o.first == 0 {
		rows = min(rows, shown)
	}
	for i := range rows {
		mail, err := c.mail.signed(o, i)
		if err != nil {
			return e.fail(fmt.Errorf("row %d: %w", c.mail.list.number(i), err), exitUsage)
		}
		if i == 0 {
			fmt.Fprintf(e.stdout, "%s\n", bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n")))
		}
		where, ok := o.where(ctx, c, domainOf(c.mail.list.address(i)))
		if !ok {
			wrong++
		}
		t.add(number(c.mail.list.number(i)), c.mail.list.address(i), number(len(mail)), where)
	}
	e.table(t)
	if o.signer != nil && !o.checkRecord(ctx, e) {
		wrong++
	}
	fmt.Fprintf(e.stdout, "\nNothing was sent. Mails that can be rendered: %s, which is all.\n", number(len(c.mail.list.rows)))
	if wrong > 0 {
		return exitLeft
	}
	return exitDone
}

// checkRecord compares the published DKIM key with ours.
func (o *options) checkRecord(ctx context.Context, e *env) bool {
	err := o.signer.Check(ctx, o.lookupTXT)
	if err == nil {
		fmt.Fprint(e.stdout, "\nThe published DKIM key is the right one.\n")
		return true
	}
	fmt.Fprintf(e.stdout, "\n%v\nPublish this record:\n", err)
	for _, r := range o.signer.Records() {
		fmt.Fprintln(e.stdout, r.Zone())
	}
	return false
}

// signed renders a mail as it goes out, but for what the Sender adds: Date and
// Message-ID.
func (c *composer) signed(o *options, i int) ([]byte, error) {
	mail, err := c.rendered(i)
	if err != nil || o.signer == nil {
		return mail, err
	}
	fields, err := o.signer.Sign(time.Now(), c.returnPath, []string{c.list.address(i)}, mail)
	return append(fields, mail...), err
}

// where names the servers that a domain's mail goes to; false means nowhere.
func (o *options) where(ctx context.Context, c *campaign, domain string) (string, bool) {
	if o.relay != "" {
		return o.relay, true
	}
	route, err := c.cfg.Resolver.Lookup(ctx, domain)
	if err != nil {
		return err.Error(), false
	}
	return route.Site, true
}

// lookupTXT asks -dns, or else the system.
func (o *options) lookupTXT(ctx context.Context, name string) ([]string, error) {
	r := net.DefaultResolver
	if o.dns != "" {
		r = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			server := o.dns
			if net.ParseIP(server) != nil {
				server = net.JoinHostPort(server, "53")
			}
			return new(net.Dialer).DialContext(ctx, network, server)
		}}
	}
	return r.LookupTXT(ctx, name)
}
