package sender

import (
	"sync"
	"time"

	"github.com/volleymail/volley/internal/smtp"
)

// hosts remembers what connections learnt of mail servers, by host name.
type hosts struct {
	mu sync.Mutex
	m  map[string]hostMemory // guarded by mu
}

type hostMemory struct {
	smtp    smtp.Memory
	learnt  time.Time // when smtp was
	badTill time.Time // could not be reached: others go first
}

const (
	maxHosts   = 100_000
	memoryTime = 24 * time.Hour  // then a server is met without prejudice
	badTime    = 5 * time.Minute // a host that could not be reached comes last for so long
)

func newHosts() *hosts { return &hosts{m: map[string]hostMemory{}} }

// recall returns what is known of a host.
func (h *hosts) recall(name string, now time.Time) (m smtp.Memory, bad bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.m[name]
	if now.Sub(e.learnt) > memoryTime {
		e.smtp = smtp.Memory{}
	}
	return e.smtp, now.Before(e.badTill)
}

// learn keeps what a connection to a host showed.
func (h *hosts) learn(name string, m smtp.Memory, now time.Time) {
	h.update(name, func(e *hostMemory) {
		if m != e.smtp {
			e.smtp, e.learnt = m, now
		}
		e.badTill = time.Time{}
	})
}

// unreachable notes that a host could not be reached.
func (h *hosts) unreachable(name string, now time.Time) {
	h.update(name, func(e *hostMemory) { e.badTill = now.Add(badTime) })
}

func (h *hosts) update(name string, f func(*hostMemory)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, known := h.m[name]
	if !known && len(h.m) >= maxHosts {
		for old := range h.m { // any: what is forgotten is learnt again
			delete(h.m, old)
			break
		}
	}
	f(&e)
	h.m[name] = e
}
