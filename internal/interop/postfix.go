//go:build unix

package interop

import (
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Postfix starts a Postfix. The program is found by VOLLEY_POSTFIX, else in
// the PATH.
func Postfix(t testing.TB, o Options) *Server {
	t.Helper()
	program := lookup(t, "VOLLEY_POSTFIX", "postfix")
	s := newServer(t, "postfix")
	uid, gid := userIDs(t, "postfix")
	s.mkdir(t, "queue", 0, 0)
	s.mkdir(t, "data", uid, gid)
	s.mkdir(t, "mail", uid, gid)
	if o.TLS {
		s.certify(t, 0, 0)
	}
	s.write(t, "main.cf", s.mainCF(o, uid, gid))
	s.write(t, "master.cf", s.masterCF())
	// "postfix start" would put the master process out of reach of run.
	if out, err := exec.Command(program, "-c", s.dir, "check").CombinedOutput(); err != nil {
		t.Fatalf("postfix check: %v\n%s", err, out)
	}
	postconf := filepath.Join(filepath.Dir(program), "postconf")
	daemons, err := exec.Command(postconf, "-c", s.dir, "-h", "daemon_directory").Output()
	if err != nil {
		t.Fatalf("postconf: %v", err)
	}
	s.run(t, filepath.Join(strings.TrimSpace(string(daemons)), "master"), "-c", s.dir, "-s")
	return s
}

// userIDs finds a system user.
func userIDs(t testing.TB, name string) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		Require(t, "the user "+name)
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}

// mainCF configures a Postfix that delivers all mail into one maildir and
// changes nothing in it.
func (s *Server) mainCF(o Options, uid, gid int) string {
	var b strings.Builder
	set := func(name string, value any) { fmt.Fprintf(&b, "%s = %v\n", name, value) }
	set("compatibility_level", "3.6")
	set("queue_directory", s.path("queue"))
	set("data_directory", s.path("data"))
	set("maillog_file", "/dev/stdout")
	set("myhostname", ServerName)
	set("mydestination", "")
	set("mynetworks", "127.0.0.0/8")
	set("inet_interfaces", "127.0.0.1")
	set("inet_protocols", "ipv4")
	set("alias_maps", "")
	set("alias_database", "")
	set("local_recipient_maps", "")
	set("virtual_mailbox_domains", "static:all")
	set("virtual_mailbox_maps", "static:mail/")
	set("virtual_mailbox_base", s.dir)
	set("virtual_mailbox_limit", 0)
	set("virtual_minimum_uid", 1)
	set("virtual_uid_maps", fmt.Sprintf("static:%d", uid))
	set("virtual_gid_maps", fmt.Sprintf("static:%d", gid))
	set("message_size_limit", 50<<20)
	set("smtpd_relay_restrictions", "reject_unauth_destination") // of which there is none
	set("smtpd_recipient_restrictions", "permit")
	set("smtpd_peername_lookup", "no")
	set("smtpd_client_connection_count_limit", 0)
	set("smtpd_forbid_bare_newline", "reject") // the client must not depend on leniency
	// What comes in is what is delivered.
	set("local_header_rewrite_clients", "")
	set("always_add_missing_headers", "no")
	set("message_drop_headers", "")
	set("smtpd_discard_ehlo_keywords", strings.Join(o.Without, " "))
	if o.TLS {
		set("smtpd_tls_security_level", "may")
		set("smtpd_tls_cert_file", s.path(certFile))
		set("smtpd_tls_key_file", s.path(keyFile))
	}
	return b.String()
}

// masterCF lists the services that receiving and delivering take.
func (s *Server) masterCF() string {
	var b strings.Builder
	service := func(name, kind, private, unpriv string, wakeup, limit any, program string) {
		fmt.Fprintf(&b, "%s %s %s %s n %v %v %s\n", name, kind, private, unpriv, wakeup, limit, program)
	}
	service("127.0.0.1:"+s.port(), "inet", "n", "-", "-", "-", "smtpd")
	service("pickup", "unix", "n", "-", 60, 1, "pickup")
	service("cleanup", "unix", "n", "-", "-", 0, "cleanup")
	service("qmgr", "unix", "n", "-", 300, 1, "qmgr")
	service("tlsmgr", "unix", "-", "-", "1000?", 1, "tlsmgr")
	service("rewrite", "unix", "-", "-", "-", "-", "trivial-rewrite")
	service("bounce", "unix", "-", "-", "-", 0, "bounce")
	service("defer", "unix", "-", "-", "-", 0, "bounce")
	service("trace", "unix", "-", "-", "-", 0, "bounce")
	service("flush", "unix", "n", "-", "1000?", 0, "flush")
	service("proxymap", "unix", "-", "-", "-", "-", "proxymap")
	service("error", "unix", "-", "-", "-", "-", "error")
	service("retry", "unix", "-", "-", "-", "-", "error")
	service("virtual", "unix", "-", "n", "-", "-", "virtual")
	service("anvil", "unix", "-", "-", "-", 1, "anvil")
	service("postlog", "unix-dgram", "n", "-", "-", 1, "postlogd")
	return b.String()
}
