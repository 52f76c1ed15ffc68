package sender

import "time"

// flow is what a site knows of a stream. Owned by the site.
type flow struct {
	stream   string
	priority int
	share    float64
	vtime    float64   // virtual time: see backlog.pick
	until    time.Time // held until then, by a reply or the breaker
	why      string
	tally    tally // what the breaker goes by
}

func (f *flow) hold(until time.Time, why string) { f.until, f.why = until, why }

// forgettable reports whether a new one would know as much: nothing is held, and
// what was counted is older than the breaker's period.
func (f *flow) forgettable(now time.Time, period time.Duration) bool {
	return !now.Before(f.until) && now.Sub(f.tally.since) >= period
}

// flow returns that of a stream at this site. A stream that is new here is held
// as all are.
func (b *backlog) flow(stream string) *flow {
	for _, f := range b.flows {
		if f.stream == stream {
			return f
		}
	}
	st := b.s.cfg.Streams[stream]
	f := &flow{stream: stream, priority: st.Priority, share: float64(max(st.Share, 1))}
	for _, all := range b.flows {
		if all.stream == "*" {
			f.hold(all.until, all.why)
		}
	}
	b.flows = append(b.flows, f)
	return f
}

// hold keeps the mail of a stream, "*" for all, until then. It never shortens.
func (b *backlog) hold(stream string, until time.Time, why string) {
	b.flow(stream)
	for _, f := range b.flows {
		if (stream == "*" || f.stream == stream) && until.After(f.until) {
			f.hold(until, why)
		}
	}
}

// resume lets streams go on that were held, all if none is named.
func (b *backlog) resume(streams []string) {
	for _, f := range b.flows {
		if picks(streams, f.stream) {
			f.hold(time.Time{}, "")
			f.tally = tally{}
		}
	}
}

// Complained tells of a complaint (a report of a feedback loop) about mail of
// the stream to a recipient, for the Breaker. Complaints about domains that no
// mail went to lately are not counted.
func (s *Sender) Complained(stream, recipient string) {
	if m, err := parseMailbox(recipient); err == nil {
		s.sched.box.put(schedMsg{kind: schedComplaint, name: m.domain, tell: siteMsg{kind: siteComplaint, stream: stream}})
	}
}
