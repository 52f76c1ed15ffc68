package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a screen that several goroutines may write to.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// program is the program, running.
type program struct {
	stdout, stderr *output
	addr           map[string]string // of servers, by flag
	stop           context.CancelFunc
	done           chan int
}

// start runs the program until its servers are ready. It is stopped with the
// test, if it was not before.
func start(t *testing.T, e *env, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &program{stdout: &output{}, stderr: &output{}, addr: map[string]string{}, stop: cancel, done: make(chan int, 1)}
	e.stdout, e.stderr = p.stdout, p.stderr
	if e.getenv == nil {
		e.getenv = func(string) string { return "" }
	}
	type server struct{ flag, addr string }
	ready := make(chan server, 2)
	e.listening = func(flag string, at net.Addr) { ready <- server{flag, at.String()} }
	go func() { p.done <- run(ctx, args, e) }()
	for _, arg := range args {
		if arg != "-smtp" && arg != "-lmtp" {
			continue
		}
		select {
		case s := <-ready:
			p.addr[s.flag] = s.addr
		case code := <-p.done:
			t.Fatalf("exit code %d: %s", code, p.stderr)
		}
	}
	t.Cleanup(func() {
		cancel()
		<-p.done
	})
	return p
}

// end stops the program and returns its exit code.
func (p *program) end() int {
	p.stop()
	code := <-p.done
	p.done <- code
	return code
}

// call runs the program to its end.
func call(t *testing.T, e *env, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, e, args...)
	code = <-p.done
	p.done <- code
	return code, p.stdout.String(), p.stderr.String()
}

// events reads the lines of JSON.
func events(t *testing.T, stdout string) (list []event) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var ev event
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&ev), line)
		list = append(list, ev)
	}
	return list
}

// dsn is a delivery report, with LF line ends, about a failed recipient.
func dsn(returnPath, recipient, diagnostic string) string {
	status := strings.Fields(diagnostic)[1]
	return fmt.Sprintf(`From: MAILER-DAEMON@mx.example.com
To: %s
Subject: Undelivered Mail Returned to Sender
Date: Sat, 21 Nov 2026 09:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It failed.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; %s
Action: failed
Status: %s
Diagnostic-Code: smtp; %s

--b
Content-Type: text/rfc822-headers

From: news@shop.example
To: %[2]s
Message-ID: <77@shop.example>

--b--
`, returnPath, recipient, status, diagnostic)
}

const unknownUser = "550 5.1.1 no such user here"

// connect says EHLO, or LHLO, to a server.
func connect(t *testing.T, addr string) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// folder writes files into a new folder and returns a function that names them.
func folder(t *testing.T, files map[string]string) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

func TestDemo(t *testing.T) {
	code, stdout, stderr := call(t, &env{})
	require.Equal(t, exitDone, code, stderr)
	got := events(t, stdout)
	var classes []string
	for _, ev := range got {
		classes = append(classes, ev.Class)
		require.Equal(t, "smtp", ev.Source)
		require.Len(t, ev.ID, 32)
	}
	require.Equal(t, []string{"bounce", "bounce", "complaint", "vacation"}, classes)
	require.Equal(t, []string{"ann@example.com"}, got[0].Suppressed)
	require.Equal(t, "invalid-mailbox", got[0].Recipients[0].Category)
	require.Empty(t, got[1].Suppressed, "a block is not held against the address")
	require.Equal(t, []string{"cid@example.org"}, got[2].Suppressed)
	require.Contains(t, stderr, "not to be mailed any more:\n  ann@example.com: hard-bounce (invalid-mailbox)")
	require.Contains(t, stdout, "<1.42@shop.example>")
}

func TestHelp(t *testing.T) {
	code, _, stderr := call(t, &env{}, "-help")
	require.Equal(t, exitDone, code)
	require.Contains(t, stderr, "-maildir")
}

func TestBadFlags(t *testing.T) {
	file := folder(t, map[string]string{"short": "secret\n", "good": "0123456789abcdef\n", "foreign.csv": "email\nann@example.com"})
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"unknown", []string{"-colour"}, []string{"-colour"}},
		{"stray", []string{"-once", "box"}, []string{`"box"`, "-mbox"}},
		{"no source", []string{"-post", "http://x.example"}, []string{"no mail to read"}},
		{"once with a server", []string{"-once", "-maildir", "x", "-smtp", "127.0.0.1:0"}, []string{"-once"}},
		{"not positive", []string{"-mbox", "x", "-max-size", "0", "-max-conns", "-1", "-timeout", "0s", "-poll", "-1s", "-post-time", "0"},
			[]string{"-max-size", "-max-conns", "-timeout", "-poll", "-post-time"}},
		{"hostname", []string{"-mbox", "x", "-hostname", "my machine"}, []string{"-hostname"}},
		{"url", []string{"-mbox", "x", "-post", "shop.example/hook"}, []string{"-post", "https"}},
		{"streams alone", []string{"-mbox", "x", "-streams", "a"}, []string{"-streams needs -keys"}},
		{"keys without domain", []string{"-mbox", "x", "-keys", file("good")}, []string{"-keys needs -domain"}},
		{"no keys", []string{"-mbox", "x", "-domain", "b.example", "-keys", file("none")}, []string{"-keys", "no such file"}},
		{"short keys", []string{"-mbox", "x", "-domain", "b.example", "-keys", file("short")}, []string{"-keys", "octets"}},
		{"short secrets", []string{"-mbox", "x", "-unsubscribe-keys", file("good")}, []string{"-unsubscribe-keys", "32"}},
		{"no secrets", []string{"-mbox", "x", "-unsubscribe-keys", file("none")}, []string{"-unsubscribe-keys", "no such file"}},
		{"list of others", []string{"-mbox", "x", "-suppress", file("foreign.csv")}, []string{"-suppress", "not a file that this program made"}},
		{"list in no folder", []string{"-mbox", "x", "-suppress", file("none/x.csv")}, []string{"-suppress", "no such file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, e := t.Context(), &env{stdout: &output{}, stderr: &output{}, getenv: func(string) string { return "" }}
			require.Equal(t, exitUsage, run(ctx, tt.args, e))
			for _, want := range tt.want {
				require.Contains(t, e.stderr.(*output).String(), want)
			}
		})
	}
	foreign, err := os.ReadFile(file("foreign.csv"))
	require.NoError(t, err)
	require.Equal(t, "email\nann@example.com", string(foreign), "left as it was")
}

func TestBadSources(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	file := folder(t, map[string]string{"notes.txt": "Hello\n"})
	for _, tt := range []struct{ args, want []string }{
		{[]string{"-mbox", file("none")}, []string{"-mbox", "no such file"}},
		{[]string{"-mbox", file("notes.txt")}, []string{"-mbox", "no mbox file"}},
		{[]string{"-maildir", file("none")}, []string{"-maildir", "no Maildir"}},
	} {
		code, _, stderr := call(t, &env{}, tt.args...)
		require.Equal(t, exitFailed, code)
		for _, want := range tt.want {
			require.Contains(t, stderr, want)
		}
	}
	e := &env{stdout: &output{}, stderr: &output{}, getenv: func(string) string { return "" }}
	require.Equal(t, exitFailed, run(t.Context(), []string{"-smtp", "127.0.0.1:0", "-lmtp", taken.Addr().String()}, e))
	require.Contains(t, e.stderr.(*output).String(), "-lmtp: ")
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, 10*time.Millisecond, what)
}
