// Command bounces takes the mail that comes back (bounces, complaints, wishes
// to unsubscribe, automatic replies), tells what each says as a line of JSON,
// and keeps the list of addresses that must not be mailed any more.
//
// Without flags it is a demonstration: some such mails are sent to a server of
// its own, on loopback.
//
//	go run ./examples/bounces
//
// In earnest it stands behind a mail server that takes the mail of the return
// path's domain, by LMTP or SMTP. In Postfix that is, in main.cf,
//
//	relay_domains = bounces.shop.example
//	transport_maps = inline:{bounces.shop.example=lmtp:inet:127.0.0.1:2424}
//
// and here
//
//	bounces -lmtp 127.0.0.1:2424 -domain bounces.shop.example \
//		-suppress suppressed.csv -post https://shop.example/hooks/bounces
//
// It also reads a Maildir, which it watches, and mbox files, once each. Several
// ways can be given together.
//
// A mail is accepted, or moved to cur/ in the Maildir, when its event is
// delivered and the list is saved; else the mail server or the next look at the
// Maildir tries again. So an event can come twice; then its id is the same.
//
// With -keys, the keys of the bounce.Codec that made the return paths, only
// reports that carry a token signed by it count for the list. Without, every
// report is believed, and anybody can write one. Likewise -unsubscribe-keys
// knows the tokens of package unsubscribe in the subjects of mails to the
// address in List-Unsubscribe.
//
// Ctrl-C ends it in order: mail that is being taken is finished. A second
// Ctrl-C ends the process at once. The exit code is 0 if all went well, 1 if
// some mail could not be taken, 2 if a flag or a file is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// env is what the program has of the world.
type env struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	transport      http.RoundTripper              // for -post; nil = the net
	listening      func(flag string, at net.Addr) // told when a server is ready; may be nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from now on a signal has its usual effect
	os.Exit(run(ctx, os.Args[1:], &env{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}))
}

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is main without the process around it.
func run(ctx context.Context, args []string, e *env) int {
	o, err := parseOptions(args, e)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return e.fail(err, exitUsage)
	case o.demo():
		return demo(ctx, e)
	}
	in, err := newIntake(ctx, o, e)
	if err != nil {
		return e.fail(err, exitUsage)
	}
	err = o.work(ctx, e, in)
	if err := errors.Join(err, in.close()); err != nil {
		return e.fail(err, exitFailed)
	}
	return exitDone
}

func (e *env) fail(err error, code int) int {
	fmt.Fprintln(e.stderr, err)
	return code
}

// work takes mail in by all ways that the flags name, until each is done or
// ctx ends.
func (o *options) work(ctx context.Context, e *env, in *intake) error {
	servers, err := o.listen(e, in)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range servers {
		g.Go(func() error { return s.serve(ctx) })
	}
	if o.maildir != "" {
		g.Go(func() error { return (&maildir{dir: o.maildir, poll: o.poll, once: o.once, in: in, env: e}).watch(ctx) })
	}
	for _, file := range o.mboxes {
		g.Go(func() error { return readMbox(ctx, file, in) })
	}
	return g.Wait()
}
