package spool

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

// killEnv makes TestKilled a process that is to be killed.
const (
	killEnv  = "VOLLEY_SPOOL_KILL"
	killWarm = "warm" // one that will send
	killCold = "cold"
)

func TestKilled(t *testing.T) {
	if os.Getenv(killEnv) == "" {
		t.Skip("for the other tests of kills, which run it in processes of its own")
	}
	os.Exit(killChild())
}

// killJob is what a process is told on its input. After it the word "stop" ends
// the process in peace; the end of the input ends it at once.
type killJob struct {
	Path     string
	Relays   map[string]string // of the server, by domain
	From, To int               // numbers of the messages to submit; those before From were accepted
	Again    int               // so many of those are submitted once more: odd ones
	Cancel   string            // a campaign, "" = none
	AckEvery int               // results are acknowledged so many at once
	Seed     uint64
	Pad      int  // see killMessage
	Grow     bool // no checkpoint: the log of the file grows
	Migrate  bool // there is a newer schema
	OpenOnly bool
}

// killMigration is a step that takes its time.
const killMigration = `CREATE TABLE extra AS SELECT r.id, r.address, x.value FROM recipient r, (SELECT column1 AS value FROM (VALUES (1), (2), (3))) x;
	UPDATE recipient SET address = address || '';
	CREATE INDEX extra_id ON extra (id);`

// child is such a process. It reports on its output, a line at a time.
type child struct {
	job   killJob
	spool *Spool
	s     *sender.Sender

	mu sync.Mutex // held while a line is written
}

func (c *child) say(format string, a ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", a...) // one write; nobody listens any more if it fails
}

func killChild() int {
	if os.Getenv(killEnv) == killWarm {
		bounce.DefaultRules() // takes a while: it is done while the process waits for its turn
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	c := &child{}
	if err == nil {
		err = json.Unmarshal(line, &c.job)
	}
	if err == nil {
		err = c.live(in)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// live is the life of the process.
func (c *child) live(in *bufio.Reader) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	if c.job.Migrate {
		migrations = append(migrations, killMigration)
	}
	c.say("opening")
	var err error
	if c.spool, err = Open(c.job.Path, &Options{Logger: log}); err != nil {
		return err
	}
	if c.job.OpenOnly {
		return c.spool.Close()
	}
	if err := c.tellLost(); err != nil {
		return err
	}
	if c.job.Grow {
		if err := c.grow(); err != nil {
			return err
		}
	}
	cfg := killConfig(c.job.Relays)
	cfg.Queue, cfg.Logger = c.spool, log
	if c.s, err = sender.New(cfg); err != nil {
		return err
	}
	c.say("ready")
	return c.work(in)
}

// tellLost reports whose fate is unknown by the file.
func (c *child) tellLost() error {
	r, err := c.spool.reader(context.Background())
	if err != nil {
		return err
	}
	defer c.spool.release(r)
	err = r.c.query(`SELECT r.address FROM inflight i JOIN recipient r ON r.id = i.id`, func(row []value) error {
		c.say("lost %s", text(row[0]))
		return nil
	})
	c.say("opened")
	return err
}

// grow lets the log grow without end.
func (c *child) grow() error {
	return c.spool.write(context.Background(), &request{rows: 1, apply: func(t *tx) error { return t.c.exec("PRAGMA wal_autocheckpoint=0") }})
}

// work does everything at once until it is told to stop.
func (c *child) work(in *bufio.Reader) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var doing sync.WaitGroup
	errs := make(chan error, 4)
	for _, do := range []func(context.Context) error{c.submit, c.submitAgain, c.cancel, c.hurry} {
		doing.Go(func() {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				errs <- err
				c.say("failed")
			}
		})
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		c.results()
	}()
	if word, err := in.ReadString('\n'); err != nil || word != "stop\n" {
		os.Exit(2) // nobody is there any more
	}
	c.say("closing")
	cancel()
	doing.Wait()
	end, cut := context.WithTimeout(context.Background(), 20*time.Second)
	defer cut()
	err := c.s.Shutdown(end)
	<-told
	c.say("ended")
	err = errors.Join(err, c.spool.Close())
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// results reports all results, and acknowledges them some at a time.
func (c *child) results() {
	var some []sender.Result
	for r := range c.s.Results(context.Background()) {
		text, err := json.Marshal(r)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		c.say("result %s", text)
		if some = append(some, r); len(some) >= c.job.AckEvery {
			c.s.Ack(some...)
			some = some[:0]
			c.say("acknowledged")
		}
	}
}

// submit submits what is new, in order.
func (c *child) submit(ctx context.Context) error {
	luck := rand.New(rand.NewPCG(c.job.Seed, 1))
	for i := c.job.From; i < c.job.To; {
		n := min(1+luck.IntN(40), c.job.To-i)
		if err := c.submitSome(ctx, i, n); err != nil {
			return err
		}
		i += n
		c.say("submitted %d", i)
	}
	return nil
}

// submitSome submits n messages together, or one by one, if a campaign among
// them is canceled.
func (c *child) submitSome(ctx context.Context, from, n int) error {
	msgs := make([]*sender.Message, n)
	for k := range msgs {
		msgs[k] = killMessage(from+k, c.job.Pad)
	}
	err := c.s.Submit(ctx, msgs...)
	if !errors.Is(err, sender.ErrCanceled) {
		return err
	}
	for k, m := range msgs {
		switch err := c.s.Submit(ctx, m); {
		case errors.Is(err, sender.ErrCanceled):
			c.say("refused %d", from+k)
		case err != nil:
			return err
		}
	}
	return nil
}

// submitAgain submits what was accepted before.
func (c *child) submitAgain(ctx context.Context) error {
	luck := rand.New(rand.NewPCG(c.job.Seed, 2))
	for range c.job.Again {
		i := luck.IntN(c.job.From/2)*2 + 1
		if err := c.s.Submit(ctx, killMessage(i, c.job.Pad)); err != nil && !errors.Is(err, sender.ErrCanceled) {
			return err
		}
	}
	return nil
}

func (c *child) cancel(ctx context.Context) error {
	if c.job.Cancel == "" {
		return nil
	}
	return c.s.Cancel(ctx, c.job.Cancel)
}

// hurry sends now and then what waits for its next try.
func (c *child) hurry(ctx context.Context) error {
	tick := time.NewTicker(60 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := c.s.SendNow(ctx, sender.Selection{}); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
