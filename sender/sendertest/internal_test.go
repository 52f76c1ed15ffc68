package sendertest

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

func TestPipeIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b := testPipe()
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func testPipe() (net.Conn, net.Conn) {
	return pipe(&net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2})
}

func TestPipeAfterClose(t *testing.T) {
	a, b := testPipe()
	_, err := io.WriteString(a, "last words")
	require.NoError(t, err)
	require.NoError(t, a.Close())
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, "last words", string(got))
	n, err := b.Write(make([]byte, 10))
	require.NoError(t, err, "TCP learns of it by the answer to this")
	require.Equal(t, 10, n)
	_, err = b.Write(make([]byte, 10))
	require.ErrorIs(t, err, syscall.EPIPE)
	_, err = a.Write(make([]byte, 10))
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestPipeBoundsWhatIsUnread(t *testing.T) {
	a, b := testPipe()
	text := strings.Repeat("0123456789", pipeBuffer/2)
	done := make(chan error)
	go func() {
		_, err := io.WriteString(a, text)
		a.Close()
		done <- err
	}()
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
	require.NoError(t, <-done)
	require.LessOrEqual(t, cap(b.(*pipeConn).in.buf), 2*pipeBuffer)
}

func TestParsePath(t *testing.T) {
	for _, tc := range []struct {
		args, path string
		params     []string
		ok         bool
	}{
		{"FROM:<a@b.example>", "a@b.example", nil, true},
		{"from:<>", "", nil, true},
		{"FROM:<a@b.example> SIZE=1 BODY=8BITMIME", "a@b.example", []string{"SIZE=1", "BODY=8BITMIME"}, true},
		{`FROM:<"a>b\" c"@b.example> X`, `"a>b\" c"@b.example`, []string{"X"}, true},
		{"FROM:<@relay.example,@other.example:a@b.example>", "a@b.example", nil, true},
		{"FROM:<a@b.example>SIZE=1", "", nil, false},
		{"FROM: <a@b.example>", "", nil, false},
		{"FROM:<a@b.example", "", nil, false},
		{`FROM:<"a@b.example>`, "", nil, false},
		{"TO:<a@b.example>", "", nil, false},
		{"", "", nil, false},
	} {
		path, params, ok := parsePath(tc.args, "FROM:")
		require.Equal(t, tc.ok, ok, tc.args)
		if ok {
			require.Equal(t, tc.path, path)
			require.ElementsMatch(t, tc.params, params)
		}
	}
}

func TestIsMailbox(t *testing.T) {
	for _, good := range []string{"a@b.example", "a.b+c@b.example", `"a b"@b.example`, `"a@b"@b.example`, "ä@bücher.example", "a@[192.0.2.1]"} {
		require.True(t, isMailbox(good), good)
	}
	for _, bad := range []string{"", "a", "@b.example", "a@", "a b@b.example", "a@b@b.example", "a@b .example", "a\x00@b.example", "<a@b.example"} {
		require.False(t, isMailbox(bad), bad)
	}
}

// FuzzServer sends anything: the server ends when the client does, answers in
// whole replies, and accepts only what has an envelope.
func FuzzServer(f *testing.F) {
	f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n")
	f.Add("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nBDAT 3\r\na\r\nBDAT 2 LAST\r\n\r\nRSET\r\nNOOP\r\n")
	f.Add("HELO x\r\nBDAT 99999999999999 LAST\r\nSTARTTLS\r\nAUTH PLAIN =\r\n")
	f.Add("EHLO x\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nBDAT -1\r\nbdat 5 first\r\n")
	f.Fuzz(func(t *testing.T, input string) {
		if strings.Contains(strings.ToUpper(input), "STARTTLS") {
			return // what follows is no reply
		}
		s, err := New(Options{Memory: true})
		require.NoError(t, err)
		defer s.Close()
		h := s.AddHost("mx.example.com", Behavior{
			MaxSize: 1000,
			Without: StartTLS,
			Auth:    func(string, string) bool { return true },
		})
		nc, err := s.Dial(t.Context(), "tcp", netip.AddrPortFrom(h.Addr(), 25).String())
		require.NoError(t, err)
		half := nc.(*leaver).Conn.(*pipeConn)
		go func() {
			_, _ = io.WriteString(nc, input)
			half.out.closeWriter() // the server sees the end and closes
		}()
		output, err := io.ReadAll(nc)
		require.NoError(t, err)
		for line := range strings.Lines(string(output)) {
			require.Regexp(t, `^[2-5][0-9][0-9][ -][^\r\n]*\r\n$`, line)
		}
		for _, m := range s.Messages() {
			require.NotEmpty(t, m.Rcpts)
			require.LessOrEqual(t, len(m.Data), 1000)
			require.True(t, strings.Contains(strings.ToUpper(input), "MAIL FROM:"))
		}
	})
}

// BenchmarkServer counts messages of 30 KB as a pipelining client sends them.
func BenchmarkServer(b *testing.B) {
	for _, memory := range []bool{true, false} {
		name := map[bool]string{true: "memory", false: "sockets"}[memory]
		b.Run(name, func(b *testing.B) {
			s := Start(b, Options{Memory: memory, CountOnly: true})
			h := s.AddHost("mx.example.com", Behavior{})
			text := strings.Repeat(strings.Repeat("x", 73)+"\r\n", 400)
			group := []byte("MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nBDAT 30000 LAST\r\n" + text)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				nc, err := s.Dial(b.Context(), "tcp", netip.AddrPortFrom(h.Addr(), 25).String())
				if err != nil {
					b.Error(err)
					return
				}
				defer nc.Close()
				replies := make([]byte, 4096)
				_, _ = nc.Read(replies)
				_, _ = io.WriteString(nc, "EHLO client.example.net\r\n")
				_, _ = nc.Read(replies)
				for pb.Next() {
					_, _ = nc.Write(group)
					for n := 0; n < 3; {
						k, err := nc.Read(replies)
						if err != nil {
							b.Error(err)
							return
						}
						n += strings.Count(string(replies[:k]), "\n")
					}
				}
			})
			b.StopTimer()
			require.Equal(b, b.N, h.Stats().Accepted)
			require.Empty(b, h.Stats().Violations)
		})
	}
}
