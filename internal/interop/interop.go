//go:build unix

// Package interop starts mail servers and a DKIM verifier that nobody of this
// project wrote, for tests that show that Volley gets on with them.
//
// Each server runs from a private folder with a configuration of its own, on
// a free port of 127.0.0.1, takes mail for every domain and keeps it for the
// test to read. It needs root, as the servers change to users of their own.
// .ci/run installs what is needed. A test whose program is absent is skipped,
// unless the environment says VOLLEY_INTEROP=required: then it fails.
package interop

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The bounds on a server's life.
const (
	startWait = 20 * time.Second // for the greeting
	tryWait   = 2 * time.Second  // for the greeting on one connection
	stopWait  = 10 * time.Second
	pollEvery = 10 * time.Millisecond
)

// Options say how a server is set up. The zero Options are a server without
// TLS that announces all it can.
type Options struct {
	TLS     bool     // offer STARTTLS, with a certificate for ServerName that Server.Roots vouches for
	Without []string // EHLO keywords to leave out: CHUNKING, PIPELINING, SMTPUTF8, 8BITMIME
}

// without reports whether keyword is to be left out.
func (o Options) without(keyword string) bool {
	for _, w := range o.Without {
		if strings.EqualFold(w, keyword) {
			return true
		}
	}
	return false
}

// Server is a running mail server. It ends with the test that started it.
type Server struct {
	Name  string         // "postfix" or "exim"
	Addr  string         // host:port on 127.0.0.1
	Roots *x509.CertPool // vouches for its certificate; nil without TLS

	dir string // everything of the server: configuration, queue, mail, log
}

// Require skips the test for the lack of what, or fails it where
// VOLLEY_INTEROP=required.
func Require(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("VOLLEY_INTEROP") == "required" {
		t.Fatalf("%s is missing, and VOLLEY_INTEROP=required", what)
	}
	t.Skipf("%s is missing", what)
}

// lookup finds a program by the environment variable env, the PATH, and the
// folder of system programs that a user's PATH may lack.
func lookup(t testing.TB, env string, names ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		Require(t, "root, for "+names[0]+",")
	}
	if p := os.Getenv(env); p != "" {
		return p
	}
	for _, name := range names {
		for _, candidate := range []string{name, filepath.Join("/usr/sbin", name)} {
			if p, err := exec.LookPath(candidate); err == nil {
				return p
			}
		}
	}
	Require(t, names[0])
	return ""
}

// newServer makes the server's folder, which other users may enter, and picks
// its port.
func newServer(t testing.TB, name string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "volley-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &Server{Name: name, Addr: FreeAddr(t), dir: dir}
}

// FreeAddr returns an address of 127.0.0.1 for a server that can't be given port
// 0. The port is below those that systems hand out by themselves (Linux from
// 32768, others from 49152), so that no socket of another test gets it before
// the server listens.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(10_000))))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port from 10000 to 19999 is free")
	return ""
}

// path names a file of the server.
func (s *Server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// port is that of Addr.
func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// write makes a file of the server, owned by root and readable to all.
func (s *Server) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// mkdir makes a folder of the server that belongs to the given user.
func (s *Server) mkdir(t testing.TB, name string, uid, gid int) {
	t.Helper()
	if err := os.MkdirAll(s.path(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(s.path(name), uid, gid); err != nil {
		t.Fatal(err)
	}
}

// keeper runs a server until its standard input ends, which it does also when
// the test dies without a chance to clean up.
const keeper = `"$@" & pid=$!; read -r _; kill "$pid"; wait "$pid"`

// run starts the server's master process, waits for its greeting, and ends it
// with the test. Its log is shown if the test fails.
func (s *Server) run(t testing.TB, program string, args ...string) {
	t.Helper()
	log, err := os.Create(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{"-c", keeper, "sh", program}, args...)...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of the terminal's Ctrl-C
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop(t, cmd, stdin)
		log.Close()
		if t.Failed() {
			s.showLog(t)
		}
	})
	if err := s.awaitGreeting(); err != nil {
		t.Fatalf("%s did not start: %v", s.Name, err)
	}
}

// awaitGreeting returns when the server greets.
func (s *Server) awaitGreeting() error {
	deadline := time.NewTimer(startWait)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := s.greeting()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-tick.C:
		}
	}
}

// greeting connects once and reads the server's 220.
func (s *Server) greeting() error {
	conn, err := net.DialTimeout("tcp", s.Addr, tryWait)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(tryWait)); err != nil {
		return err
	}
	var code [4]byte
	if _, err := io.ReadFull(conn, code[:]); err != nil {
		return err
	}
	if string(code[:]) != "220 " {
		return fmt.Errorf("greeting %q", code)
	}
	_, err = io.WriteString(conn, "QUIT\r\n")
	return err
}

// stop ends what run started: softly, then hard.
func (s *Server) stop(t testing.TB, cmd *exec.Cmd, stdin io.Closer) {
	t.Helper()
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // says by which signal the server ended
	}()
	stdin.Close()
	select {
	case <-exited:
	case <-time.After(stopWait):
		t.Errorf("%s did not stop in %v", s.Name, stopWait)
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the session's rest, if any
}

// showLog prints the end of the server's log.
func (s *Server) showLog(t testing.TB) {
	t.Helper()
	for _, name := range []string{"log", "logs/mainlog", "logs/paniclog"} {
		b, err := os.ReadFile(s.path(name))
		if err != nil || len(b) == 0 {
			continue
		}
		t.Logf("%s %s:\n%s", s.Name, name, b[max(0, len(b)-8<<10):])
	}
}

// Message is a mail that a server delivered.
type Message struct {
	From string // the reverse-path of the transaction, without angle brackets
	To   string // the recipient: a message to two recipients is two Messages
	Data []byte // what the client sent; line ends, which a maildir keeps as LF, are CRLF again
}

// Messages returns what was delivered, in no order, as soon as it is at least
// n messages. When ctx ends before, it returns what there is, and an error.
func (s *Server) Messages(ctx context.Context, n int) ([]Message, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		files, err := filepath.Glob(s.path("mail", "new", "*"))
		if err != nil {
			return nil, err
		}
		if len(files) >= n {
			return readAll(files)
		}
		select {
		case <-ctx.Done():
			msgs, err := readAll(files)
			if err == nil {
				err = fmt.Errorf("%s has %d of %d messages: %w", s.Name, len(files), n, ctx.Err())
			}
			return msgs, err
		case <-tick.C:
		}
	}
}

// readAll reads the files of a maildir.
func readAll(files []string) ([]Message, error) {
	msgs := make([]Message, 0, len(files))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		msgs = append(msgs, m)
	}
	return msgs, nil
}

// parse takes a delivered mail apart: the fields that the server put on top,
// the last of them its own Received, and below them what the client sent.
func parse(b []byte) (Message, error) {
	var m Message
	for {
		field, rest := cutField(b)
		name, value, ok := strings.Cut(string(field), ":")
		if !ok {
			return m, fmt.Errorf("no Received field on top")
		}
		value = strings.TrimSpace(value)
		b = rest
		switch strings.ToLower(name) {
		case "return-path":
			m.From = strings.Trim(value, "<>")
		case "x-original-to", "envelope-to":
			m.To = value
		case "delivered-to":
		case "received":
			m.Data = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
			return m, nil
		default:
			return m, fmt.Errorf("field %s above the server's Received", strconv.Quote(name))
		}
	}
}

// cutField splits off the first header field with its continuation lines.
func cutField(b []byte) (field, rest []byte) {
	end := 0
	for {
		i := bytes.IndexByte(b[end:], '\n')
		if i < 0 {
			return b, nil
		}
		end += i + 1
		if end == len(b) || b[end] != ' ' && b[end] != '\t' {
			return b[:end], b[end:]
		}
	}
}
