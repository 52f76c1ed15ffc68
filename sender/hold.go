package sender

import "time"

// hold keeps the mail of a stream back at a site. Owned by the site.
type hold struct {
	stream string
	until  time.Time
	why    string
	tally  tally // what the breaker goes by
}

func (h *hold) set(until time.Time, why string) { h.until, h.why = until, why }

// forgettable reports whether a new one would know as much: nothing is held, and
// what was counted is older than the breaker's period.
func (h *hold) forgettable(now time.Time, period time.Duration) bool {
	return !now.Before(h.until) && now.Sub(h.tally.since) >= period
}

// holdOf returns that of a stream at this site. A stream that is new here is
// held as all are.
func (b *backlog) holdOf(stream string) *hold {
	for _, h := range b.holds {
		if h.stream == stream {
			return h
		}
	}
	h := &hold{stream: stream}
	for _, all := range b.holds {
		if all.stream == "*" {
			h.set(all.until, all.why)
		}
	}
	b.holds = append(b.holds, h)
	return h
}

// hold keeps the mail of a stream, "*" for all, until then. It never shortens.
func (b *backlog) hold(stream string, until time.Time, why string) {
	b.holdOf(stream)
	for _, h := range b.holds {
		if (stream == "*" || h.stream == stream) && until.After(h.until) {
			h.set(until, why)
		}
	}
}

// resume lets the stream go on.
func (b *backlog) resume(stream string) {
	for _, h := range b.holds {
		if stream == "*" || h.stream == stream {
			h.set(time.Time{}, "")
			h.tally = tally{}
		}
	}
}

// Hold keeps the mail of a stream back: at one site, as Result.Site and
// Snapshot name it, or, with site "", at all sites that mail went to lately. A
// site that no mail went to yet is not held: hold it when the first mail waits
// there. It holds until then, or until Resume; it does not shorten a hold that
// lasts longer. Transactions on the wire go on. "*" means every stream.
func (s *Sender) Hold(stream, site string, until time.Time) {
	s.sched.box.put(schedMsg{kind: schedTell, name: site, tell: siteMsg{kind: siteHold, stream: stream, until: until}})
}

// Resume lets a stream that was held, by Hold, a reply or the Breaker, go on: at
// one site or, with site "", at all. "*" means every stream, and destinations
// that are held after a reply or a failed connection are tried at once.
func (s *Sender) Resume(stream, site string) {
	s.sched.box.put(schedMsg{kind: schedTell, name: site, tell: siteMsg{kind: siteResume, stream: stream}})
}

// Complained tells of a complaint (a report of a feedback loop) about mail of
// the stream to a recipient, for the Breaker. Complaints about domains that no
// mail went to lately are not counted.
func (s *Sender) Complained(stream, recipient string) {
	if m, err := parseMailbox(recipient); err == nil {
		s.sched.box.put(schedMsg{kind: schedComplaint, name: m.domain, tell: siteMsg{kind: siteComplaint, stream: stream}})
	}
}
