package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/sendertest"
)

// process is the program as a process of its own.
type process struct {
	*exec.Cmd
	out   bytes.Buffer
	ended chan struct{} // closed when it has
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{Cmd: exec.Command(self, args...), ended: make(chan struct{})}
	p.Env = append(os.Environ(), programVar+"=1")
	p.Stdout, p.Stderr = &p.out, &p.out
	require.NoError(t, p.Start())
	go func() {
		defer close(p.ended)
		_ = p.Wait()
	}()
	return p
}

// Killed at any moment and started again, the program sends to each recipient
// once, and each has one result. Only of those whose mail was on the wire it
// does not know whether they got it.
func TestKill(t *testing.T) {
	const n, kills = 600, 6
	s := newShop(t, sendertest.Options{})
	arrived := make(chan struct{}, 2*n)
	s.sandbox.AddHost("mx.shop.example", sendertest.Behavior{Latency: ms, Recipient: func(string) *sendertest.Reply {
		arrived <- struct{}{}
		return nil
	}})
	addr, err := s.sandbox.Host("mx.shop.example").Listen()
	require.NoError(t, err)
	var list strings.Builder
	list.WriteString("email,first,token\n")
	for i := range n {
		fmt.Fprintf(&list, "ann%d@one.example,Ann,t%d\n", i, i)
	}
	require.NoError(t, os.WriteFile(s.file("list.csv"), []byte(list.String()), 0o600))
	args := append(s.args, "-relay", addr, "-rate", "400/s", "-spool", s.file("mail.db"))

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	luck := rand.New(rand.NewPCG(seed, 0))
	for i := range kills {
		p := start(t, args...)
		if i == 0 { // while it gets ready
			<-time.After(time.Duration(luck.IntN(200)) * ms)
		}
		for range luck.IntN(60) * min(i, 1) { // while it sends
			select {
			case <-arrived:
			case <-p.ended:
			}
		}
		<-time.After(time.Duration(luck.IntN(20)) * ms)
		require.NoError(t, p.Process.Kill(), &p.out)
		<-p.ended
		require.False(t, p.ProcessState.Exited(), &p.out)
	}
	p := start(t, args...)
	<-p.ended
	rows := byEmail(t, readResults(t, s.file("results.csv")))
	require.Len(t, rows, n, &p.out)
	require.Contains(t, p.out.String(), "nothing is left")

	took := map[string]int{}
	for _, m := range s.sandbox.Messages() {
		took[m.Rcpts[0]]++
	}
	count := map[string]int{}
	for addr, row := range rows {
		count[row["outcome"]]++
		switch row["outcome"] {
		case "sent":
			require.Equal(t, 1, took[addr], addr)
		case "unknown":
			require.LessOrEqual(t, took[addr], 1, addr)
		default:
			require.Fail(t, "no outcome of this test", "%v", row)
		}
	}
	t.Log(count)
	require.Greater(t, count["sent"], n/2)
	want := exitDone
	if count["unknown"] > 0 {
		want = exitLeft
	}
	require.Equal(t, want, p.ProcessState.ExitCode(), &p.out)
}
