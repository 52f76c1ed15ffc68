//go:build unix

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/internal/interop"
)

// postfix starts a Postfix that hands the mail of some domains on: routes has
// its transport of each. It has no other mail to deliver. It returns its
// address, and ends with the test.
func postfix(t *testing.T, routes map[string]string) string {
	t.Helper()
	program := os.Getenv("VOLLEY_POSTFIX")
	if program == "" {
		program = "/usr/sbin/postfix"
	}
	if _, err := os.Stat(program); err != nil || os.Geteuid() != 0 {
		interop.Require(t, "postfix, run by root,")
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		interop.Require(t, "the user postfix")
	}
	uid, err := strconv.Atoi(owner.Uid)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "volley-relay-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, sub := range []string{"queue", "data"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	require.NoError(t, os.Chown(filepath.Join(dir, "data"), uid, -1))
	addr := interop.FreeAddr(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.cf"), []byte(mainCF(dir, routes)), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "master.cf"), []byte(masterCF(addr)), 0o644))
	out, err := exec.Command(program, "-c", dir, "check").CombinedOutput()
	require.NoError(t, err, "%s", out)
	daemons, err := exec.Command(filepath.Join(filepath.Dir(program), "postconf"), "-c", dir, "-h", "daemon_directory").Output()
	require.NoError(t, err)
	keep(t, dir, filepath.Join(strings.TrimSpace(string(daemons)), "master"), "-c", dir, "-s")
	await(t, "Postfix", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}

// keep runs a program until the test ends, or the test's process does.
func keep(t *testing.T, dir string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd := exec.Command("sh", append([]string{"-c", `"$@" & pid=$!; read -r _; kill "$pid"; wait "$pid"`, "sh"}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()                                      // says by which signal it ended
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the session's rest, if any
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("Postfix:\n%s", b)
		}
	})
}

func mainCF(dir string, routes map[string]string) string {
	var domains, transports []string
	for domain, transport := range routes {
		domains = append(domains, domain)
		transports = append(transports, "{ "+domain+" = "+transport+" }")
	}
	return fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %s/queue
data_directory = %[1]s/data
maillog_file = /dev/stdout
myhostname = mail.shop.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
relay_domains = %s
transport_maps = inline:{ %s }
smtpd_relay_restrictions = permit_mynetworks reject
smtpd_peername_lookup = no
smtp_host_lookup = native
smtp_tls_security_level = none
lmtp_tls_security_level = none
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
`, dir, strings.Join(domains, ", "), strings.Join(transports, ", "))
}

func masterCF(addr string) string {
	return addr + ` inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`
}

// A real Postfix hands reports on by LMTP and by SMTP, also those that it
// writes itself, and tries again what is not taken.
func TestInteropPostfix(t *testing.T) {
	trouble := &hook{statuses: []int{http.StatusBadRequest}} // the first event is refused
	e := &env{transport: trouble}
	p := start(t, e, "-lmtp", "127.0.0.1:0", "-smtp", "127.0.0.1:0", "-domain", "lmtp.test,smtp.test", "-post", "https://shop.example/hook")
	host, port, err := net.SplitHostPort(p.addr["-smtp"])
	require.NoError(t, err)
	bySMTP := "smtp:[" + host + "]:" + port
	addr := postfix(t, map[string]string{
		"lmtp.test": "lmtp:inet:" + p.addr["-lmtp"],
		"smtp.test": bySMTP,
		"gone.test": bySMTP, // which takes no mail for it
	})
	wait := func(n int) []event {
		t.Helper()
		await(t, "events", func() bool { return strings.Count(p.stdout.String(), "\n") >= n })
		return events(t, p.stdout.String())
	}

	c := connect(t, addr)
	require.NoError(t, send(c, "", "b1@lmtp.test", []byte(dsn("b1@lmtp.test", "ann@example.com", unknownUser))))
	got := wait(1)
	require.Equal(t, "lmtp", got[0].Source)
	require.Equal(t, "bounce", got[0].Class)
	require.Equal(t, "b1@lmtp.test", got[0].To[0])
	require.Equal(t, []string{"ann@example.com"}, got[0].Suppressed)
	trouble.mu.Lock()
	require.Len(t, trouble.requests, 2, "it was tried again")
	trouble.mu.Unlock()

	require.NoError(t, send(c, "", "b2@smtp.test", []byte(dsn("b2@smtp.test", "bob@example.com", unknownUser))))
	got = wait(2)
	require.Equal(t, "smtp", got[1].Source)
	require.Equal(t, []string{"bob@example.com"}, got[1].Suppressed)

	// A report by Postfix, of a mail that could not be delivered.
	require.NoError(t, send(c, "b3@lmtp.test", "cid@gone.test", []byte("From: news@shop.test\nTo: cid@gone.test\nMessage-ID: <3@shop.test>\nSubject: hello\n\nhello\n")))
	got = wait(3)
	ev := got[2]
	require.Equal(t, "bounce", ev.Class)
	require.Equal(t, "b3@lmtp.test", ev.To[0])
	require.Equal(t, "<3@shop.test>", ev.MessageID)
	require.Equal(t, "mail.shop.test", ev.ReportingMTA)
	require.Len(t, ev.Recipients, 1)
	require.Equal(t, "cid@gone.test", ev.Recipients[0].Address)
	require.Equal(t, "failed", ev.Recipients[0].Fate)
	require.Equal(t, 550, ev.Recipients[0].Code)
	require.Equal(t, "5.1.2", ev.Recipients[0].Status)
	require.WithinDuration(t, time.Now(), ev.Time, time.Minute)
	require.NoError(t, c.Quit())
	require.Equal(t, exitDone, p.end())
}
