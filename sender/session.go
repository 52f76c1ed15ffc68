package sender

import (
	"context"
	"errors"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/internal/smtp"
	"github.com/volleymail/volley/mx"
)

// session is one connection of a destination and the goroutine that runs it.
type session struct {
	dest  *dest           // never changes
	ctx   context.Context // the Sender's: ends when connections are to be cut
	reply chan *job       // the site's answers
	set   string          // the servers that it is for: see item.set

	// Owned by the session's goroutine; the site may read host once it is opened.
	smtp   *smtp.Session
	host   string // server's name
	flight []*job // on the wire, oldest first
	dead   bool   // closed by the server while idle

	// Owned by the site.
	open      *smtp.Session // nil while opening
	asked     bool          // for its first job
	jobs      []*job        // given and not yet handed back, oldest first
	taken     int           // jobs given
	sent      int           // jobs of which something was delivered
	leaving   bool          // gets no more jobs
	idleSince time.Time
}

var errLost = errors.New("the connection was lost")

// idleCheck is how long a session must have waited for its connection to be
// looked at before use.
const idleCheck = 50 * time.Millisecond

// probe is the answer that tells an idle session to look at its connection and
// ask again: a job is given only to one that can start it at once, so that the
// limits count the moment at which a message really starts.
var probe = new(job)

func newSession(d *dest) *session {
	return &session{dest: d, ctx: d.site.s.ctx, reply: make(chan *job, 1)}
}

func (c *session) tell(m siteMsg) {
	m.session = c
	c.dest.site.box.put(m)
}

// run opens the connection, sends what the site gives, and closes.
func (c *session) run(route *mx.Route) {
	var err error
	c.smtp, err = c.connect(route)
	if err != nil {
		c.tell(siteMsg{kind: siteClosed, err: err})
		return
	}
	c.tell(siteMsg{kind: siteOpened, open: c.smtp})
	err = c.smtp.Run(c.ctx, c.next, c.done)
	if err == nil && !c.dead {
		c.smtp.Quit(c.ctx)
	} else {
		c.smtp.Close()
	}
	c.dest.site.s.hosts.learn(c.host, c.smtp.Memory(), time.Now())
	c.tell(siteMsg{kind: siteClosed, err: err})
}

// next gets a job from the site and prepares it.
func (c *session) next(inFlight bool) *smtp.Transaction {
	for {
		c.tell(siteMsg{kind: siteAsk, inFlight: inFlight})
		j := <-c.reply
		switch {
		case j == nil:
			return nil
		case j != probe:
		case c.smtp.Alive():
			continue
		default:
			c.dead = true
			return nil
		}
		ready, failed := j.prepare(c, time.Now())
		if ready {
			c.flight = append(c.flight, j)
			return &j.tx
		}
		c.handBack(j, failed)
	}
}

// done hands the oldest job on the wire back.
func (c *session) done(*smtp.Transaction) {
	j := c.flight[0]
	c.flight = append(c.flight[:0], c.flight[1:]...)
	freeBody(j.tx.Body)
	j.tx.Body = nil
	c.tell(siteMsg{kind: siteDone, job: j})
}

// handBack returns a job that did not come as far as the wire.
func (c *session) handBack(j *job, f *failure) {
	j.tx.Rcpts = make([]smtp.Rcpt, len(j.items))
	for i := range j.tx.Rcpts {
		if f != nil {
			j.tx.Rcpts[i].Fate, j.tx.Rcpts[i].Reply = smtp.Refused, f.reply
		}
	}
	if f != nil {
		j.tx.Err = f.err
	}
	c.tell(siteMsg{kind: siteDone, job: j})
}

// cut ends the transactions on the wire, for a Send that has ended.
func (c *session) cut() {
	c.leaving = true
	c.open.Cut(interruptGrace)
}

func (c *session) tls() bool { return c.open != nil && c.open.TLS() != nil }

// full reports whether the connection has carried as many messages as the
// limit or the server allow (RFC 9422 §4.1 MAILMAX).
func (c *session) full(limit int, now time.Time) bool {
	if n := c.dest.load.known(now); n > 0 && (limit == 0 || n < limit) {
		limit = n
	}
	if n := c.open.MaxMessages(); n > 0 && (limit == 0 || n < limit) {
		limit = n
	}
	return limit > 0 && c.taken >= limit
}

func (c *session) maxRcpts() int {
	if n := c.open.MaxRcpts(); n > 0 && n < maxRcpts {
		return n
	}
	return maxRcpts
}

// failure puts a reply to a job of this session in the words of package bounce.
func (c *session) failure(j *job, reply bounce.Reply) *failure {
	f := &failure{reply: reply, source: c.dest.source.Name, tls: c.tls(), dot: j.tx.Wire == smtp.WireDot, err: j.tx.Err}
	f.class = c.dest.site.s.cfg.Classify(reply)
	return f
}
