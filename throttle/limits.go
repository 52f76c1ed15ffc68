package throttle

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Limits says how fast one destination may be sent to. The zero value of what
// counts over time (Rates, ConnRate) is no limit; of the others it is a careful
// default.
type Limits struct {
	// Rates limits the messages that start in a period; several hold at once, such
	// as 20/s and 5000/h. Nil = no limit; connections alone decide.
	//
	// The rate with the shortest period sets the pace, and so does every rate of a
	// second or less: starts are evenly spaced by the slowest of these. The longer
	// periods are budgets, spent at that pace: 20/s with 5000/h is a message every
	// 50 ms until 5,000 have started within an hour, then none until the first of
	// them is an hour old. For mail that is even over the hour give 5000/h alone.
	// Of a budget of more than 64 at most a 64th may stand idle for a while.
	Rates []Rate

	// Burst is how many messages may start back to back after a rest. 0 = 1: evenly
	// spaced from the first. No period sees more than its N for it, so that after a
	// burst the period ends with a pause. 2 lets a busy owner that woke late catch
	// up, which matters above about 100/s.
	Burst int

	// Conns is how many connections may be open at once. 0 = 5: where Postfix
	// starts (initial_destination_concurrency), and what senders commonly keep to
	// at the largest mailbox providers. Negative = no limit here.
	Conns int

	// Messages is how many messages a connection may carry before it is closed.
	// 0 = 50, what senders commonly keep to at the largest mailbox providers.
	// Negative = no limit.
	Messages int

	// ConnRate limits the connections opened in a period, failed ones included.
	// Up to Conns of them may be opened back to back, the rest evenly. Zero = no
	// limit.
	ConnRate Rate

	// Idle is how long a connection with nothing to send is kept. 0 = 30 s, well
	// under the five minutes that servers grant (RFC 5321 section 4.5.3.2.7), since
	// large providers close sooner. Negative = close at once.
	Idle time.Duration

	// PerDomain makes the domain a site of its own: its queue, limits and
	// connections are not shared with other domains of the same mail servers.
	PerDomain bool
}

const (
	defaultConns    = 5
	defaultMessages = 50
	defaultIdle     = 30 * time.Second

	noLimit = math.MaxInt32 // of Conns.Max
)

// DefaultLimits returns the limits of [Default], to be changed at will: 100
// messages/s, 200 new connections/min, and the defaults of the fields that have
// one. 100/s is KumoMTA's default rate and more than most destinations take;
// 200/min carries it at 50 messages a connection, with room for failures.
func DefaultLimits() Limits {
	return Limits{
		Rates:    []Rate{{N: 100, Per: time.Second}},
		Conns:    defaultConns,
		Messages: defaultMessages,
		ConnRate: Rate{N: 200, Per: time.Minute},
		Idle:     defaultIdle,
	}
}

// Validate reports all mistakes of l together, each an *[Error].
func (l Limits) Validate() error {
	var errs []error
	check := func(field string, r Rate) {
		if reason := r.mistake(); reason != "" {
			value := fmt.Sprintf("%d/%v", r.N, r.Per)
			errs = append(errs, &Error{Field: field, Value: value, Reason: reason})
		}
	}
	for i, r := range l.Rates {
		check("Rates["+strconv.Itoa(i)+"]", r)
	}
	check("ConnRate", l.ConnRate)
	if l.Burst < 0 || l.Burst > maxN {
		reason := "must be 0 to 1000000000"
		errs = append(errs, &Error{Field: "Burst", Value: strconv.Itoa(l.Burst), Reason: reason})
	}
	return errors.Join(errs...)
}

// conns is the part of l about connections, with its defaults filled in.
func (l Limits) conns() Conns {
	c := Conns{Max: l.Conns, Messages: l.Messages, Idle: l.Idle}
	switch {
	case c.Max == 0:
		c.Max = defaultConns
	case c.Max < 0 || c.Max > noLimit:
		c.Max = noLimit
	}
	switch {
	case c.Messages == 0:
		c.Messages = defaultMessages
	case c.Messages < 0:
		c.Messages = 0
	}
	switch {
	case c.Idle == 0:
		c.Idle = defaultIdle
	case c.Idle < 0:
		c.Idle = 0
	}
	return c
}

func (l Limits) equal(m Limits) bool {
	return slices.Equal(l.Rates, m.Rates) && l.Burst == m.Burst && l.Conns == m.Conns && l.Messages == m.Messages &&
		l.ConnRate == m.ConnRate && l.Idle == m.Idle && l.PerDomain == m.PerDomain
}
