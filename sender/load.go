package sender

import (
	"time"

	"github.com/volleymail/volley/bounce"
)

// load is what is known of how many messages a connection carries: many servers
// end it with 421 after a number that they do not announce. Then we end it
// before they do. Owned by the site.
type load struct {
	limit int
	until time.Time // when limit is forgotten
}

// loadTime is how long a limit learnt is kept to.
const loadTime = time.Hour

// known returns the limit, 0 = not known.
func (l *load) known(now time.Time) int {
	if now.Before(l.until) {
		return l.limit
	}
	return 0
}

// learn notes that a connection was ended after so many messages, if the reply
// was about that: a new connection helps, so it asks for a retry, of nobody in
// particular.
func (l *load) learn(c bounce.Class, messages int, now time.Time) {
	if c.Category == bounce.RateLimited && c.Scope == bounce.ScopeSite && c.Action == bounce.ActionRetry {
		l.limit, l.until = messages, now.Add(loadTime)
	}
}
