// Package notice writes delivery status notifications: the mail that tells a
// sender what became of his mail to one recipient (RFC 3464, in a
// multipart/report of RFC 6522; RFC 6533 for addresses in UTF-8).
//
// Nothing that a server or an address says can add a field or a part to it. It
// has no octet over 127, but for a return path in UTF-8 and for a mail in 8 bits
// that is returned whole.
package notice

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"mime/quotedprintable"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Action is what became of the recipient (RFC 3464 §2.3.3).
type Action string

// The actions.
const (
	Failed  Action = "failed"  // it will not be tried again
	Delayed Action = "delayed" // it is still tried
	Relayed Action = "relayed" // taken by a server that does not tell more
)

// Report is what a notice says. Times that are zero are left out.
type Report struct {
	ID   string    // Message-ID of the notice, without angle brackets
	From string    // who writes: an address in ASCII
	To   string    // return path of the mail
	Date time.Time // of the notice

	Host       string    // Reporting-MTA: our name, or address literal
	EnvelopeID string    // ENVID, not encoded; "" = none
	Arrival    time.Time // when the mail came to us

	Recipient  string // as in RCPT
	Original   string // as the sender of the mail wrote it
	Action     Action
	Unsure     bool         // Failed: nobody knows whether it was delivered
	GivenUp    bool         // Failed: after trying for long enough, not at a refusal
	Reply      bounce.Reply // the last; its text may be that of a failure of our own
	Class      bounce.Class // of Reply
	Tried      time.Time    // the last attempt
	RetryUntil time.Time    // Delayed: when it will be given up

	Mail      []byte // the mail as it went out, CRLF line ends; nil if there is none any more
	Full      bool   // return the whole mail and not its header, if it is a failure
	MaxReturn int    // octets of the mail that are returned whole; more is cut to the header
}

// Compose writes the notice, with CRLF line ends and no line over 998 octets.
// The same Report gives the same octets.
func (r *Report) Compose() []byte {
	parts := [][]byte{r.textPart(), r.statusPart()}
	if len(r.Mail) > 0 {
		parts = append(parts, r.mailPart())
	}
	boundary := r.boundary(parts)
	b := r.header(boundary)
	for _, p := range parts {
		b = fmt.Appendf(b, "\r\n--%s\r\n", boundary)
		b = append(b, p...)
	}
	return fmt.Appendf(b, "\r\n--%s--\r\n", boundary)
}

var subjects = map[Action]string{Failed: "Failure", Delayed: "Delay", Relayed: "Relay"}

// header writes that of the notice, up to the empty line (RFC 3464 §2).
func (r *Report) header(boundary string) []byte {
	b := fmt.Appendf(nil, "From: Mail Delivery System <%s>\r\nTo: <%s>\r\n", r.From, r.To)
	b = fmt.Appendf(b, "Subject: Delivery Status Notification (%s)\r\n", subjects[r.Action])
	b = fmt.Appendf(b, "Date: %s\r\nMessage-ID: <%s>\r\n", r.Date.Format(dateLayout), r.ID)
	b = append(b, "Auto-Submitted: auto-replied\r\n"...) // RFC 3834 §5
	if id := originalID(r.Mail); id != "" {
		b = fmt.Appendf(b, "In-Reply-To: %s\r\nReferences: %s\r\n", id, id)
	}
	b = append(b, "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n"...)
	return fmt.Appendf(b, " boundary=\"%s\"\r\n", boundary)
}

const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// boundary makes one that occurs in no part.
func (r *Report) boundary(parts [][]byte) string {
	for n := 0; ; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", r.ID, n))
		boundary := fmt.Sprintf("=_%x", sum[:12]) // "=_" does not occur in quoted-printable (RFC 2045 §6.7)
		used := false
		for _, p := range parts {
			used = used || bytes.Contains(p, []byte(boundary))
		}
		if !used {
			return boundary
		}
	}
}

// part writes a part: its header and its content, encoded if it is not ASCII.
func part(kind, description string, content []byte) []byte {
	encoding := "7bit"
	if !ascii(content) {
		encoding = "quoted-printable"
		var q bytes.Buffer
		w := quotedprintable.NewWriter(&q)
		_, _ = w.Write(content) // a bytes.Buffer gives no error
		_ = w.Close()
		content = q.Bytes()
	}
	return append(partHeader(kind, description, encoding), content...)
}

func partHeader(kind, description, encoding string) []byte {
	return fmt.Appendf(nil, "Content-Type: %s\r\nContent-Description: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", kind, description, encoding)
}
