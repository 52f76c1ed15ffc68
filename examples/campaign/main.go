// Command campaign sends a mailing: a list of recipients, a template, one
// personalised and signed mail for each.
//
// Without flags it is a demonstration that sends no real mail: 10,000
// recipients at some twenty providers of a small internet of its own, in this
// process, with the troubles of the real one.
//
//	go run ./examples/campaign
//
// With -recipients it sends for real. Look first, with -dry-run:
//
//	go run ./examples/campaign -dry-run -recipients list.csv \
//		-from 'Shop <news@shop.example>' -subject 'Hello {{.first}}' \
//		-html mail.html -text mail.txt \
//		-list-unsubscribe 'https://shop.example/u/{{.token}}' \
//		-dkim-key key.pem -dkim-domain shop.example -dkim-selector s1 \
//		-hostname mail.shop.example
//
// The first row of list.csv names the columns; one is "email", all can be used
// in the templates, as above. An empty cell stops the campaign before anything
// is sent, unless the template provides for it: {{or .first "friend"}}.
//
// Ctrl-C ends the campaign in order: what is on the wire is finished, and each
// recipient stands in the results. A second Ctrl-C ends the process at once.
//
// With -spool file the campaign is kept in that file, and its results in file.csv
// beside it. However it is stopped, be it by Ctrl-C, a crash or a power cut, the
// same command goes on with it, until each recipient has its result: nobody is
// left out, and nobody gets the mail twice. Those whose mail was on the wire in
// the moment of a crash are reported as unknown.
//
//	go run ./examples/campaign -spool demo.db
//
// The exit code is 0 if the fate of each recipient is final, 1 if some are left
// (deferred, unknown or not attempted) or the work failed, 2 if a flag or a
// file is wrong. The demonstration's own troubles do not count.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// env is what the program has of the world.
type env struct {
	stdout, stderr io.Writer
	screen         *screen // nil = stdout is no terminal
	getenv         func(string) string
	dial           func(ctx context.Context, network, address string) (net.Conn, error) // nil = the net
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from now on a signal has its usual effect
	os.Exit(run(ctx, os.Args[1:], &env{
		stdout: os.Stdout,
		stderr: os.Stderr,
		screen: screenOf(os.Stdout),
		getenv: os.Getenv,
	}))
}

// The exit codes.
const (
	exitDone  = 0
	exitLeft  = 1
	exitUsage = 2
)

// run is main without the process around it.
func run(ctx context.Context, args []string, e *env) int {
	o, err := parseOptions(args, e)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return e.fail(err, exitUsage)
	case o.recipients == "":
		return demo(ctx, o, e)
	default:
		return mailing(ctx, o, e)
	}
}

func (e *env) fail(err error, code int) int {
	fmt.Fprintln(e.stderr, err)
	return code
}
