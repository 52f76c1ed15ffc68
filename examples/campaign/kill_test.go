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
)

// start runs the program as a process of its own.
func start(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	var out bytes.Buffer
	p := exec.Command(self, args...)
	p.Env = append(os.Environ(), programVar+"=1")
	p.Stdout, p.Stderr = &out, &out
	require.NoError(t, p.Start())
	return p, &out
}

// Killed at any moment and started again, the program sends to each recipient
// once, and each has one result. Only of those whose mail was on the wire it
// does not know whether they got it.
func TestKill(t *testing.T) {
	const n, kills = 600, 5
	s := newShop(t)
	addr, err := s.sandbox.Host("mx.shop.example").Listen()
	require.NoError(t, err)
	var list strings.Builder
	list.WriteString("email,first,token\n")
	for i := range n {
		fmt.Fprintf(&list, "ann%d@one.example,Ann,t%d\n", i, i)
	}
	require.NoError(t, os.WriteFile(s.file("list.csv"), []byte(list.String()), 0o600))
	args := append(s.args, "-relay", addr, "-rate", "200/s", "-spool", s.file("mail.db"))

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	luck := rand.New(rand.NewPCG(seed, 0))
	killed := 0
	for range kills {
		p, out := start(t, args...)
		timer := time.AfterFunc(time.Duration(100+luck.IntN(900))*ms, func() { _ = p.Process.Kill() })
		if err := p.Wait(); err != nil {
			require.Equal(t, -1, p.ProcessState.ExitCode(), "killed, or done: %s", out)
			killed++
		}
		timer.Stop()
	}
	require.Positive(t, killed)
	p, out := start(t, args...)
	err = p.Wait()
	rows := byEmail(t, readResults(t, s.file("results.csv")))
	require.Len(t, rows, n, out)
	require.Contains(t, out.String(), "nothing is left")

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
	t.Logf("killed %d times: %v", killed, count)
	require.Greater(t, count["sent"], n/2)
	if count["unknown"] == 0 {
		require.NoError(t, err, out)
	} else {
		require.Equal(t, exitLeft, p.ProcessState.ExitCode(), out)
	}
}
