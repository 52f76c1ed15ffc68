package sender

import (
	"fmt"
	"slices"
	"time"
)

// Stream is a kind of mail: receipts, newsletter, promotion. Its mail waits at
// each destination in a line of its own.
type Stream struct {
	Signer       Signer        // nil = Config.Signer
	Lifetime     time.Duration // how long to try; 0 = Retry.Lifetime
	RetryUnknown bool          // try again after a loss past the end of the message: may deliver twice

	// Priority decides who goes first where streams meet: the higher one takes
	// the next permit, however much mail of others waits. At least one permit in
	// eleven goes to lower priorities, so that none starves.
	Priority int

	// Share divides the permits among streams of one priority: one with 3 gets
	// three times the permits of one with 1. 0 = 1.
	Share int

	// Sources are the names of the sources that send it. nil = all.
	Sources []string

	// Hours are when its mail may start, by the recipient's clock (Message.Zone).
	// nil = always.
	Hours *Hours

	// Notices tell the return path what became of recipients. nil = none, which
	// is right for bulk mail: its Results say it all.
	Notices *Notices
}

func (st Stream) check(name string, sources []*source, bad func(string, ...any)) {
	if st.Lifetime < 0 {
		bad("Streams[%q].Lifetime is negative: 0 means Retry.Lifetime", name)
	}
	if st.Share < 0 {
		bad("Streams[%q].Share is %d: it must be positive, or 0 for 1", name, st.Share)
	}
	for _, src := range st.Sources {
		if !known(sources, src) {
			bad("Streams[%q].Sources: %q is not in Config.Sources: add it there", name, src)
		}
	}
	if st.Hours != nil {
		st.Hours.check(fmt.Sprintf("Streams[%q].Hours", name), bad)
	}
}

// pool names the sources that may send the item, nil for all.
func (b *backlog) pool(it *item) []string {
	for i := range b.moves {
		if m := &b.moves[i]; picks(m.Selection.Streams, it.msg.Stream) && picks(m.Selection.Campaigns, it.msg.Campaign) {
			return m.pool
		}
	}
	if b.s.cfg.Choose != nil {
		if names := b.s.cfg.Choose(it.msg, it.recipient()); len(names) > 0 {
			return names
		}
	}
	if names := it.domain.route.sources; len(names) > 0 {
		return names
	}
	return b.s.cfg.Streams[it.msg.Stream].Sources
}

// sourceKnown reports whether Choose left a source for the item.
func (b *backlog) sourceKnown(it *item) bool {
	if b.s.cfg.Choose == nil {
		return true // the names of streams and routes were checked
	}
	pool := b.pool(it)
	return len(pool) == 0 || slices.ContainsFunc(pool, func(name string) bool { return known(b.s.cfg.sources, name) })
}
