//go:build unix

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// eximUser is the user that Debian's Exim was built for; it does not start
// where that user does not exist.
const eximUser = "Debian-exim"

// Exim starts an Exim. The program is found by VOLLEY_EXIM, else in the PATH.
func Exim(t testing.TB, o Options) *Server {
	t.Helper()
	program := lookup(t, "VOLLEY_EXIM", "exim4", "exim")
	s := newServer(t, "exim")
	uid, gid := userIDs(t, eximUser)
	s.mkdir(t, "spool", uid, gid)
	s.mkdir(t, "mail", uid, gid)
	s.mkdir(t, "logs", uid, gid)
	if o.TLS {
		s.certify(t, uid, gid)
	}
	s.write(t, "exim.conf", s.eximConf(program, o))
	s.run(t, program, "-C", s.path("exim.conf"), "-bdf")
	return s
}

// eximConf configures an Exim that delivers all mail into one maildir.
func (s *Server) eximConf(program string, o Options) string {
	var b strings.Builder
	set := func(name string, value any) { fmt.Fprintf(&b, "%s = %v\n", name, value) }
	hosts := func(on bool) string { // a host list: all or none
		if on {
			return "*"
		}
		return ""
	}
	set("exim_path", program)
	set("exim_user", eximUser)
	set("exim_group", eximUser)
	set("keep_environment", "")
	set("primary_hostname", ServerName)
	set("spool_directory", s.path("spool"))
	set("log_file_path", s.path("logs", "%slog"))
	set("pid_file_path", s.path("spool", "exim.pid"))
	set("local_interfaces", "127.0.0.1")
	set("daemon_smtp_ports", s.port())
	set("host_lookup", "")
	set("rfc1413_query_timeout", "0s")
	set("smtp_accept_max", 0)
	set("smtp_accept_queue_per_connection", 0)
	set("smtp_accept_max_per_connection", 0)
	set("message_size_limit", "50M")
	set("acl_smtp_rcpt", "accept")
	set("chunking_advertise_hosts", hosts(!o.without("CHUNKING")))
	set("pipelining_advertise_hosts", hosts(!o.without("PIPELINING")))
	set("smtputf8_advertise_hosts", hosts(!o.without("SMTPUTF8")))
	set("accept_8bitmime", !o.without("8BITMIME"))
	set("tls_advertise_hosts", hosts(o.TLS))
	if o.TLS {
		set("tls_certificate", s.path(certFile))
		set("tls_privatekey", s.path(keyFile))
	}
	// What comes in is what is delivered.
	set("return_path_remove", false)
	set("envelope_to_remove", false)
	set("delivery_date_remove", false)
	fmt.Fprintf(&b, `
begin routers
all:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = %s
  maildir_format
  user = %s
  group = %s
  return_path_add
  envelope_to_add
  delivery_date_add = false
`, s.path("mail"), eximUser, eximUser)
	return b.String()
}
