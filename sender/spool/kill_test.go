package spool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
)

// killMoment is when a process is killed.
type killMoment string

const (
	killNever       killMoment = ""
	killAfterStart  killMoment = "opening" // some time after this line of the process
	killAfterReady  killMoment = "ready"
	killAfterStop   killMoment = "closing"
	killAfterEnd    killMoment = "ended"     // of the Sender: the file is being closed
	killAtRecipient killMoment = "recipient" // at the nth of these on the server
	killAtMessage   killMoment = "message"   // complete, and not answered
)

// killPlan is how a process ends.
type killPlan struct {
	moment killMoment
	after  time.Duration
	n      int           // of recipients or messages
	stop   time.Duration // after "ready" it is told to stop; less than 0 = when all is done; 0 = not told
}

// killSeries is processes that come one after the other.
type killSeries struct {
	t      *testing.T
	server *killServer
	ledger *killLedger
	job    killJob
	luck   *rand.Rand
	kills  map[killMoment]int
	spare  *process // waits for its turn
}

func newKillSeries(t *testing.T) *killSeries {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("VOLLEY_KILL_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("VOLLEY_KILL_SEED=%d", seed)
	s := &killSeries{t: t, server: startKillServer(t), ledger: newKillLedger(), luck: rand.New(rand.NewPCG(seed, 0)), kills: map[killMoment]int{}}
	s.job = killJob{Path: filepath.Join(t.TempDir(), "spool.db"), Relays: s.server.relays, AckEvery: 1}
	s.spare = spawn(t, killCold)
	t.Cleanup(func() { _ = s.spare.end() }) // it has no job, and says so
	return s
}

// upTo is a random time.
func (s *killSeries) upTo(d time.Duration) time.Duration {
	return time.Duration(s.luck.Int64N(int64(d)))
}

// process is one that was started.
type process struct {
	cmd    *exec.Cmd
	in     *os.File // it is told to
	out    *os.File // it reports on
	stderr bytes.Buffer

	plan   killPlan
	killed atomic.Bool
	seen   atomic.Int64 // recipients or messages on the server
	timers []*time.Timer
}

// spawn starts a process, which waits for its job.
func spawn(t *testing.T, warmth string) *process {
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(self, "-test.run=^TestKilled$")}
	childIn, in, err := os.Pipe()
	require.NoError(t, err)
	defer childIn.Close()
	out, childOut, err := os.Pipe()
	require.NoError(t, err)
	defer childOut.Close()
	p.in, p.out = in, out
	p.cmd.Env = append(os.Environ(), killEnv+"="+warmth, "GOGC=400")
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = childIn, childOut, &p.stderr
	require.NoError(t, p.cmd.Start())
	return p
}

// end waits for the process to end, which it does at the end of its input if it
// has not.
func (p *process) end() error {
	for _, timer := range p.timers {
		timer.Stop()
	}
	err := errors.Join(p.in.Close(), p.cmd.Wait())
	return errors.Join(err, p.out.Close())
}

func (p *process) kill() {
	p.killed.Store(true)
	_ = p.cmd.Process.Kill() // it may have ended
}

func (p *process) later(d time.Duration, do func()) {
	p.timers = append(p.timers, time.AfterFunc(d, do))
}

func (p *process) stop() { _, _ = p.in.WriteString("stop\n") } // it may have ended

// hang ends a process that does not end, and makes it say where it was.
func (p *process) hang() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
}

// live lets a process do the job, to its end. It reports whether it was killed.
func (s *killSeries) live(plan killPlan) bool {
	t := s.t
	p := s.spare
	warmth := killWarm
	if s.job.OpenOnly {
		warmth = killCold
	}
	s.spare = spawn(t, warmth) // the next will be of the same kind
	p.plan = plan
	s.job.Seed = s.luck.Uint64()
	s.ledger.begin()
	require.NoError(t, json.NewEncoder(p.in).Encode(s.job))
	s.server.at(func(what killMoment) {
		if what == plan.moment && p.seen.Add(1) == int64(plan.n) {
			p.kill()
		}
	})
	p.later(time.Minute, p.hang)
	s.listen(p)
	s.server.at(nil)
	err := p.end()
	require.Empty(t, p.stderr.String())
	if err != nil {
		require.True(t, p.killed.Load(), "%v", err)
		s.kills[plan.moment]++
	}
	return err != nil
}

// listen reads what the process reports until it ends, and does what is planned.
func (s *killSeries) listen(p *process) {
	reader := bufio.NewReader(p.out)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return // what the kill has torn was not reported
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "failed" {
			p.stop()
			continue
		}
		s.ledger.note(line)
		if line == string(p.plan.moment) {
			p.later(p.plan.after, p.kill)
		}
		switch {
		case line == "ready" && p.plan.stop > 0:
			p.later(p.plan.stop, p.stop)
		case line == "ready" && (p.plan.moment == killAtMessage || p.plan.moment == killAtRecipient):
			p.later(time.Second, p.kill) // there may not be so many
		case p.plan.stop < 0 && s.ledger.accepted >= s.job.To && s.ledger.unacked == 0 && len(s.ledger.waiting) == 0:
			p.stop()
			p.plan.stop = 0
		}
	}
}

// next prepares the job of the next process: there is always a backlog.
func (s *killSeries) next(backlog int) {
	s.job.From = s.ledger.accepted
	s.job.To = max(s.job.To, s.job.From+max(0, backlog-len(s.ledger.waiting))*2/3)
	s.job.AckEvery = 1 + s.luck.IntN(20)
	s.job.Again = 0
	if s.job.From > 1 {
		s.job.Again = s.luck.IntN(40)
	}
	s.job.Cancel = ""
	if s.luck.IntN(15) == 0 {
		s.job.Cancel = killCampaign(max(0, s.job.To-s.luck.IntN(600)))
		s.ledger.canceled[s.job.Cancel] = true
	}
}

// plan draws the end of a process.
func (s *killSeries) plan() killPlan {
	switch n := s.luck.IntN(20); {
	case n < 7:
		return killPlan{moment: killAfterReady, after: s.upTo(200 * time.Millisecond)}
	case n < 10:
		return killPlan{moment: killAfterStart, after: s.upTo(20 * time.Millisecond)}
	case n < 13:
		return killPlan{moment: killAtMessage, n: 1 + s.luck.IntN(50)}
	case n < 16:
		return killPlan{moment: killAtRecipient, n: 1 + s.luck.IntN(80)}
	case n < 18:
		return killPlan{moment: killAfterStop, after: s.upTo(20 * time.Millisecond), stop: 1 + s.upTo(100*time.Millisecond)}
	case n < 19:
		return killPlan{moment: killAfterEnd, after: s.upTo(4 * time.Millisecond), stop: 1 + s.upTo(100*time.Millisecond)}
	default:
		return killPlan{stop: 1 + s.upTo(100*time.Millisecond)}
	}
}

// finish lets a last process bring all to its end, and checks everything.
func (s *killSeries) finish() {
	t := s.t
	s.job.From, s.job.AckEvery, s.job.Again, s.job.Cancel = s.ledger.accepted, 1, 0, ""
	require.NotEmpty(t, s.ledger.waiting, "all had ended before the last kill")
	require.False(t, s.live(killPlan{stop: -1}))
	accepted, unsaid := s.server.close(t)
	for _, fault := range s.ledger.check(accepted, unsaid) {
		t.Error(fault)
	}
	requireDone(t, s.job.Path)
	outcomes := map[sender.Outcome]int{}
	for _, r := range s.ledger.results {
		outcomes[r.Outcome]++
	}
	t.Logf("kills: %v", s.kills)
	t.Logf("%d messages, %d recipients: %v; %d results came again, %d recipients were lost", s.ledger.accepted, len(s.ledger.results), outcomes, s.ledger.repeated, s.ledger.marked)
}

// requireDone checks that a file is sound and keeps nothing of what has ended.
func requireDone(t *testing.T, path string) {
	s, err := Open(path, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	queued, err := s.List(context.Background(), sender.Selection{}, 0, 10)
	require.NoError(t, err)
	require.Empty(t, queued)
	ended, err := s.Results(context.Background(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, ended, "all were acknowledged")
	for _, table := range []string{"message", "content", "body", "inflight", "result"} {
		n, err := s.w.c.int64("SELECT count(*) FROM " + table)
		require.NoError(t, err)
		require.Zero(t, n, table)
	}
	requireIntegrity(t, s.w.c)
}

func requireIntegrity(t *testing.T, c *conn) {
	require.NoError(t, c.query("PRAGMA integrity_check", func(row []value) error {
		require.Equal(t, "ok", text(row[0]))
		return nil
	}))
}

// killCount is how many kills a test does.
func killCount(t *testing.T, usual, short int) int {
	if text := os.Getenv("VOLLEY_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		return n
	}
	if testing.Short() {
		return short
	}
	return usual
}

// TestKill: nothing is lost, nothing is sent twice but what is reported as
// Unknown or wanted so, and each result is told, whenever the process is killed.
// VOLLEY_KILLS says how often that is, VOLLEY_KILL_SEED repeats the plan of a
// run.
func TestKill(t *testing.T) {
	s := newKillSeries(t)
	for kills, want := 0, killCount(t, 200, 20); kills < want; {
		s.next(800)
		if s.live(s.plan()) {
			kills++
		}
	}
	s.finish()
}
