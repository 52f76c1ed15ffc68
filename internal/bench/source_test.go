//go:build unix

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/internal/bench/msg"
	"github.com/volleymail/volley/internal/bench/sink"
)

// sinkVar in the environment makes this test program a sink with the options
// that it holds as JSON.
const sinkVar = "VOLLEY_BENCH_SINK"

func TestMain(m *testing.M) {
	if v, ok := os.LookupEnv(sinkVar); ok {
		var o sink.Options
		err := json.Unmarshal([]byte(v), &o)
		if err == nil {
			err = sink.Control(os.Stdin, os.Stdout, "127.0.0.1:0", o)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// receiver is a sink in a process of its own, so that its work and its garbage
// are not those of the sender.
type receiver struct {
	addr string
	in   io.WriteCloser
	out  *bufio.Scanner
}

// startSink starts a receiver that ends with b.
func startSink(b testing.TB, o sink.Options) *receiver {
	b.Helper()
	opts, err := json.Marshal(o)
	require.NoError(b, err)
	self, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), sinkVar+"="+string(opts))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		require.NoError(b, in.Close())
		require.NoError(b, cmd.Wait())
	})
	r := &receiver{in: in, out: bufio.NewScanner(out)}
	require.True(b, r.out.Scan(), "the sink says its address")
	r.addr = r.out.Text()
	return r
}

// ask says "stats" or "reset".
func (r *receiver) ask(b testing.TB, word string) (st sink.Stats) {
	b.Helper()
	_, err := fmt.Fprintln(r.in, word)
	require.NoError(b, err)
	require.True(b, r.out.Scan(), "the sink answers")
	require.NoError(b, json.Unmarshal(r.out.Bytes(), &st))
	return st
}

// measure runs send, which has to deliver n messages, and returns their rate.
func (r *receiver) measure(b testing.TB, n int, send func()) float64 {
	b.Helper()
	r.ask(b, "reset")
	send()
	st := r.ask(b, "stats")
	require.EqualValues(b, n, st.Messages)
	require.Zero(b, st.Bad)
	return st.Rate()
}

// smtpSource has Postfix's load generator send n messages over ten connections.
func smtpSource(b testing.TB, addr string, n int) {
	b.Helper()
	program, err := exec.LookPath("smtp-source")
	if err != nil {
		b.Skip("smtp-source is missing: it comes with Postfix")
	}
	out, err := exec.Command(program, "-d", "-s", "10", "-m", strconv.Itoa(n), "-l", strconv.Itoa(msg.Size),
		"-f", msg.From, "-t", msg.Rcpt(0), addr).CombinedOutput()
	require.NoError(b, err, "%s", out)
}
