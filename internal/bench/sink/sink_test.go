package sink

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, o Options) *Sink {
	t.Helper()
	s, err := Listen("127.0.0.1:0", o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// script writes all of in at once and returns all that comes back.
func script(t *testing.T, s *Sink, in string) string {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr)
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(nc, in)
	require.NoError(t, err)
	require.NoError(t, nc.(*net.TCPConn).CloseWrite())
	out, err := io.ReadAll(nc)
	require.NoError(t, err)
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

func TestTransactions(t *testing.T) {
	for _, tt := range []struct {
		name, in, out string // out: the codes of the replies
		stats         Stats
		kept          []string
	}{
		{
			name: "pipelined DATA",
			in: "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n..x\r\n.\r\n" +
				"MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\nQUIT\r\n",
			out:   "220 250 250 250 250 354 250 250 250 354 250 221",
			stats: Stats{Messages: 2, Recipients: 3, Bytes: 5},
			kept:  []string{".x\r\n", ""},
		},
		{
			name: "pipelined BDAT",
			in: "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nQUIBDAT 4 LAST\r\n\n.\r\n" +
				"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 0 LAST\r\nNOOP\r\n",
			out:   "220 250 250 250 250 250 250 250 250 250 250 250 250 250 250 250",
			stats: Stats{Messages: 2, Recipients: 2, Bytes: 7},
			kept:  []string{"QUI\n.\r\n", ""},
		},
		{
			name:  "out of order",
			in:    "RCPT TO:<a@b>\r\nDATA\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nBDAT 2 LAST\r\nxxRSET\r\nRCPT TO:<a@b>\r\nWHAT\r\nBDAT x\r\nNOOP\r\n",
			out:   "220 503 503 250 503 503 250 503 500 501",
			stats: Stats{Bad: 7},
		},
		{name: "cut in DATA", in: "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n", out: "220 250 250 354"},
		{name: "line too long", in: strings.Repeat("x", inputSize), out: "220"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t, Options{Keep: 10})
			var codes []string
			for line := range strings.Lines(script(t, s, tt.in)) {
				codes = append(codes, line[:3])
			}
			require.Equal(t, tt.out, strings.Join(codes, " "))

			st := s.Stats()
			require.EqualValues(t, 1, st.Conns)
			require.EqualValues(t, 1, st.MaxOpen)
			st.Conns, st.MaxOpen, st.Span, st.CPU = 0, 0, 0, 0
			require.Equal(t, tt.stats, st)
			var kept []string
			for _, k := range s.Kept() {
				kept = append(kept, string(k))
			}
			require.Equal(t, tt.kept, kept)
		})
	}
}

// Every place at which input can be split must give the same result.
func TestSplitInput(t *testing.T) {
	in := "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\na\r\n..\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5 LAST\r\n\r\n.\r\nQUIT\r\n"
	s := listen(t, Options{Keep: 2 * len(in)})
	for i := 1; i < len(in); i++ {
		client, server := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			s.serve(server)
			server.Close()
		}()
		go func() {
			_, _ = io.WriteString(client, in[:i])
			_, _ = io.WriteString(client, in[i:])
		}()
		out, err := io.ReadAll(client)
		require.NoError(t, err)
		<-served
		require.Contains(t, string(out), "221")
	}
	kept := s.Kept()
	require.Len(t, kept, 2*(len(in)-1))
	for i := 0; i < len(kept); i += 2 {
		require.Equal(t, "a\r\n.\r\n", string(kept[i]))
		require.Equal(t, "\r\n.\r\n", string(kept[i+1]))
	}
}

func TestExtensions(t *testing.T) {
	s := listen(t, Options{Without: []string{"chunking", "SIZE"}})
	require.Equal(t, "220 sink ESMTP\n250-sink\n250-PIPELINING\n250-8BITMIME\n250-SMTPUTF8\n250 ENHANCEDSTATUSCODES\n221 2.0.0 bye\n",
		script(t, s, "EHLO c\r\nQUIT\r\n"))
}

func TestDuplicates(t *testing.T) {
	s := listen(t, Options{Track: true})
	send := func(id string, to ...string) {
		err := smtp.SendMail(s.Addr, nil, "a@b.c", to, []byte("message-id: <"+id+">\r\n\r\nx\r\n"))
		require.NoError(t, err)
	}
	send("1", "x@d.e", "y@d.e")
	send("2", "x@d.e")
	require.Zero(t, s.Stats().Duplicates)
	send("1", "y@d.e")
	send("1", "y@d.e")
	require.EqualValues(t, 2, s.Stats().Duplicates)
	require.EqualValues(t, 4, s.Stats().Messages)
	require.Positive(t, s.Stats().Rate())
	s.Reset()
	st := s.Stats()
	st.CPU = 0
	require.Zero(t, st)
}

func TestRoundTrip(t *testing.T) {
	const rtt = 40 * time.Millisecond
	s := listen(t, Options{RTT: rtt})
	start := time.Now()
	c, err := smtp.Dial(s.Addr) // connect and greeting: two round trips
	require.NoError(t, err)
	defer c.Close()
	require.GreaterOrEqual(t, time.Since(start), 2*rtt)
	start = time.Now()
	require.NoError(t, c.Hello("c.test"))
	require.NoError(t, c.Noop())
	require.GreaterOrEqual(t, time.Since(start), 2*rtt)
}

// Throughput is not limited: 200 messages in one flight take one round trip.
func TestRoundTripOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rtt = 40 * time.Millisecond
		s := &Sink{opts: Options{RTT: rtt}, greeting: ehlo(nil)}
		client, server := net.Pipe()
		go s.serve(server) // ends the connection
		lines := bufio.NewReader(client)
		greeting, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "220 sink ESMTP\r\n", greeting)
		start := time.Now()
		one := "MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nBDAT 20000 LAST\r\n" + strings.Repeat("x", 20000)
		_, err = io.WriteString(client, strings.Repeat(one, 200)+"QUIT\r\n")
		require.NoError(t, err)
		out, err := io.ReadAll(lines)
		require.NoError(t, err)
		require.Equal(t, 3*200, strings.Count(string(out), "250 "))
		require.Equal(t, rtt, time.Since(start))
	})
}

func TestControl(t *testing.T) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Control(inR, outW, "127.0.0.1:0", Options{}) }()
	lines := bufio.NewScanner(outR)
	require.True(t, lines.Scan())
	addr := lines.Text()
	require.NoError(t, smtp.SendMail(addr, nil, "a@b.c", []string{"x@d.e"}, []byte("x\r\n")))
	ask := func(word string) (st Stats) {
		_, err := fmt.Fprintln(inW, word)
		require.NoError(t, err)
		require.True(t, lines.Scan())
		require.NoError(t, json.Unmarshal(lines.Bytes(), &st))
		return st
	}
	require.EqualValues(t, 1, ask("stats").Messages)
	require.EqualValues(t, 1, ask("reset").Messages)
	require.Zero(t, ask("stats").Messages)
	require.NoError(t, inW.Close())
	require.NoError(t, <-ended)
}
