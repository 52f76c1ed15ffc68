package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/smtp"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// samples are the mails of the demonstration.
//
//go:embed samples
var samples embed.FS

// demo sends the samples to an SMTP server of its own, whose port the system
// chooses, and shows the events and the list.
func demo(ctx context.Context, e *env) int {
	ready := make(chan net.Addr, 1)
	own := *e
	own.listening = func(_ string, at net.Addr) { ready <- at }
	o, err := parseOptions([]string{"-smtp", "127.0.0.1:0", "-domain", "bounces.shop.example"}, &own)
	if err != nil {
		return e.fail(err, exitFailed)
	}
	in, err := newIntake(ctx, o, &own)
	if err != nil {
		return e.fail(err, exitFailed)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		defer cancel()
		return o.work(ctx, &own, in)
	})
	g.Go(func() error {
		defer cancel()
		select {
		case at := <-ready:
			return sendSamples(ctx, at.String())
		case <-ctx.Done():
			return nil
		}
	})
	if err := errors.Join(g.Wait(), showList(e, in), in.close()); err != nil {
		return e.fail(err, exitFailed)
	}
	return exitDone
}

// sendSamples plays the mail servers that report to us.
func sendSamples(ctx context.Context, addr string) error {
	files, err := fs.Glob(samples, "samples/*.eml")
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer c.Close()
	for _, file := range files {
		body, err := samples.ReadFile(file)
		if err != nil {
			return err
		}
		if err := send(c, "", "bounce-42@bounces.shop.example", body); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return c.Quit()
}

// send sends one mail.
func send(c *smtp.Client, from, to string, body []byte) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = w.Write(body)
	return errors.Join(err, w.Close())
}

// showList shows who must not be mailed any more.
func showList(e *env, in *intake) error {
	var lines []string
	for entry, err := range in.list.All(context.Background()) {
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s: %s", entry.Address, entry.String()))
	}
	slices.Sort(lines)
	fmt.Fprintln(e.stderr, "not to be mailed any more:")
	for _, line := range lines {
		fmt.Fprintln(e.stderr, "  "+line)
	}
	return nil
}
