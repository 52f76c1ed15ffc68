package sender

import (
	"fmt"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/internal/smtp"
)

// job is one transaction: items of one message and one domain. It goes from
// the site to a session and back; whoever has it owns it.
type job struct {
	run   *run
	items []*item
	tx    smtp.Transaction // Rcpts stand in the order of items
}

// prepare makes the transaction ready for the wire: asks the suppression list,
// renders and signs. False means that nothing is left to send: every item is
// decided, or failed holds it for the site.
func (j *job) prepare(c *session, now time.Time) (ready bool, failed *failure) {
	s := c.dest.site.s
	if failed = j.suppress(c, now); failed != nil || len(j.items) == 0 {
		return false, failed
	}
	m := j.items[0].msg
	to := make([]string, len(j.items))
	for i, it := range j.items {
		to[i] = it.recipient()
	}
	j.envelope(m, to)
	body, utf8, err := s.render(m, s.stream(m).Signer, to, j.items[0].id, time.Unix(0, j.items[0].born), now)
	if err != nil {
		for _, it := range j.items {
			it.tries++
			s.refuse(it, localClass, err, now)
		}
		j.items = j.items[:0]
		return false, nil
	}
	if j.run.queue {
		m := s.clerk.mark(j.items)
		j.tx.Ready = func() error { return m.wait(s.ctx) }
	}
	j.tx.Body = body
	j.tx.UTF8 = j.tx.UTF8 || utf8
	return true, nil
}

// suppress ends the items of addresses that must not be mailed.
func (j *job) suppress(c *session, now time.Time) *failure {
	s := c.dest.site.s
	if s.cfg.Suppression == nil {
		return nil
	}
	kept := j.items[:0]
	for i, it := range j.items {
		var reason string
		var suppressed bool
		err := s.guard(func() (err error) {
			reason, suppressed, err = s.cfg.Suppression.Suppressed(j.run.ctx, it.recipient(), it.msg.Stream)
			return err
		})
		if err != nil {
			j.items = append(kept, j.items[i:]...)
			return localFailure(bounce.StageLocal, bounce.Status{4, 3, 0}, fmt.Errorf("Config.Suppression: %w", err))
		}
		if suppressed {
			f := &failure{reply: bounce.Reply{Stage: bounce.StageLocal, Text: reason}, err: ErrSuppressed,
				class: bounce.Class{Category: bounce.Suppressed, Scope: bounce.ScopeRecipient, Permanent: true,
					Action: bounce.ActionSuppress, Rule: "local/suppressed", Confidence: 1}}
			s.finish(it, outcome{Outcome: Suppressed, failure: f, site: c.dest.site.name}, now)
			continue
		}
		kept = append(kept, it)
	}
	j.items = kept
	return nil
}

// envelope fills in the transaction's addresses and parameters. The addresses
// were checked when the message was taken.
func (j *job) envelope(m *Message, to []string) {
	j.tx.From, j.tx.UTF8 = m.From, false
	if m.From != "" {
		from, _ := parseMailbox(m.From)
		j.tx.From, j.tx.UTF8 = from.wire(m.From), from.utf8
	}
	j.tx.Rcpts = j.tx.Rcpts[:0]
	for _, addr := range to {
		mb, _ := parseMailbox(addr)
		rc := smtp.Rcpt{Addr: mb.wire(addr)}
		if m.DSN != nil {
			rc.Notify = strings.ToUpper(m.DSN.Notify)
			if !mb.utf8 {
				rc.ORcpt = "rfc822;" + xtext(rc.Addr) // RFC 3461 §4.2
			}
		}
		j.tx.UTF8 = j.tx.UTF8 || mb.utf8
		j.tx.Rcpts = append(j.tx.Rcpts, rc)
	}
	if m.DSN != nil {
		j.tx.Ret, j.tx.EnvID = strings.ToUpper(m.DSN.Return), xtext(m.DSN.EnvID)
	}
}
