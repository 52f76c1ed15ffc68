// Package sender sends bulk mail straight to the recipients' mail servers.
//
// A Sender takes messages, renders and signs each one when a connection is
// ready for it, groups recipients by destination, paces every destination
// through its own limits and connections, tries again what failed for the
// moment, and gives back exactly one Result for every recipient.
//
//	s, err := sender.New(sender.Config{Hostname: "mail.example.com", Signer: signer})
//	if err != nil {
//		return err
//	}
//	defer s.Shutdown(ctx)
//	for r := range s.Send(ctx, messages) {
//		if r.Outcome != sender.Sent {
//			log.Println(r.Recipient, r.Outcome, r.Class.Category, r.Err)
//		}
//	}
//
// Send keeps what waits in memory. With a Config.Queue, such as that of package
// sender/spool, there are Submit, Results and Ack too: what is submitted outlives
// the process.
//
// It follows RFC 5321 (SMTP), 2920 (PIPELINING), 3030 (CHUNKING), 1870 (SIZE),
// 6152 (8BITMIME), 6531 (SMTPUTF8), 3461 (DSN), 3207 (STARTTLS), 9422 (LIMITS),
// 7505 (null MX) and 5322 (message format).
package sender
