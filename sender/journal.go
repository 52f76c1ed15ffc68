package sender

import (
	"context"
	"iter"
	"sync"
	"time"
)

// journal has the newest results of the Queue, so that who follows them closely
// need not read them from it.
type journal struct {
	mu     sync.Mutex
	recent []Ended        // guarded by mu: consecutive
	acked  map[int64]bool // guarded by mu: Seqs that were acknowledged, which the Queue does not know yet
	news   chan struct{}  // guarded by mu: closed when there is more
	nudges int            // guarded by mu: how often the Queue had results that are not in recent
}

// recentMax bounds the results kept in memory.
const recentMax = 4096

func newJournal() *journal { return &journal{acked: map[int64]bool{}, news: make(chan struct{})} }

// add takes the results, and the acknowledgements, among changes that were written.
func (j *journal) add(changes []Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fresh := false
	for i := range changes {
		c := &changes[i]
		if c.Kind == Acknowledged {
			delete(j.acked, c.Seq)
		}
		if c.Kind != EndedNow {
			continue
		}
		if n := len(j.recent); n > 0 && (c.Seq != j.recent[n-1].Seq+1 || n >= recentMax) {
			j.recent = nil
		}
		c.Result.seq = c.Seq
		j.recent = append(j.recent, Ended{c.Seq, *c.Result})
		fresh = true
	}
	if fresh {
		j.tell()
	}
}

// tell wakes those who wait. Called with mu held.
func (j *journal) tell() {
	close(j.news)
	j.news = make(chan struct{})
}

// nudge wakes those who wait: the Queue has ended recipients itself.
func (j *journal) nudge() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.nudges++
	j.tell()
}

// since returns the results that follow after and were not acknowledged, the Seq
// of the last of all, and a channel that is closed when there are more. ask says
// that the Queue may have others: there is a gap, or there were nudges beside those
// that are known.
func (j *journal) since(after int64, known *int) (got []Ended, last int64, ask bool, news <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	nudged := *known != j.nudges
	*known = j.nudges
	if len(j.recent) == 0 || after < j.recent[0].Seq-1 || nudged && after >= j.recent[len(j.recent)-1].Seq {
		return nil, after, true, j.news
	}
	if nudged {
		*known = -1 // later
	}
	last = max(after, j.recent[len(j.recent)-1].Seq)
	for _, e := range j.recent[min(after-(j.recent[0].Seq-1), int64(len(j.recent))):] {
		if e.Result.seq != 0 {
			got = append(got, e)
		}
	}
	return got, last, false, j.news
}

// known reports whether a result that the Queue still has was acknowledged.
func (j *journal) known(seq int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acked[seq]
}

// forget notes that a result was acknowledged.
func (j *journal) forget(seq int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acked[seq] = true
	if len(j.recent) > 0 && seq >= j.recent[0].Seq && seq <= j.recent[len(j.recent)-1].Seq {
		j.recent[seq-j.recent[0].Seq].Result = Result{}
	}
}

// resultsBatch is how many results are read from the Queue at once.
const resultsBatch = 500

// Results yields the fate of submitted recipients, in the order in which they
// became known: first all that were not acknowledged yet, also those of earlier
// processes, then each as it comes. Acknowledge them with Ack: each call of
// Results begins with those that were not. So each is yielded at least once.
//
// It ends when ctx does, or when the Sender is shut down and all are yielded.
// The Message of a result of an earlier process has neither Content nor Data,
// and To is the recipient alone.
func (s *Sender) Results(ctx context.Context) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		if s.cfg.Queue == nil {
			return
		}
		nudges := -1
		for after, last := int64(0), false; ; {
			got, upTo, ask, news := s.clerk.journal.since(after, &nudges)
			if ask || last && upTo == after {
				var err error
				got, err = s.cfg.Queue.Results(ctx, after, resultsBatch)
				if err != nil || len(got) > 0 {
					nudges = -1 // ask again
				}
				if err != nil && ctx.Err() == nil {
					s.cfg.log.Error("Config.Queue cannot be read", "err", err)
					if last { // closed, perhaps: the next Sender yields the rest
						return
					}
					select {
					case <-time.After(writeRetry):
					case <-s.clerk.done:
						last = true
					case <-ctx.Done():
						return
					}
					continue
				}
			}
			for _, e := range got {
				upTo = max(upTo, e.Seq)
				e.Result.seq = e.Seq
				if s.clerk.journal.known(e.Seq) {
					continue
				}
				if ctx.Err() != nil || !yield(e.Result) {
					return
				}
			}
			more := upTo > after
			after = upTo
			switch {
			case more:
				continue
			case last || ctx.Err() != nil:
				return
			}
			select {
			case <-news:
			case <-s.clerk.done:
				last = true
			case <-ctx.Done():
				return
			}
		}
	}
}

// Ack acknowledges results that Results yielded: they are not yielded again. It
// does not wait until that is written, but after Shutdown: after a crash the last
// ones may come once more. Results of Send are passed over.
func (s *Sender) Ack(results ...Result) {
	if s.clerk == nil {
		return
	}
	var notes []note
	for i := range results {
		if seq := results[i].seq; seq != 0 {
			s.clerk.journal.forget(seq)
			notes = append(notes, note{Change: Change{Kind: Acknowledged, Seq: seq}})
		}
	}
	s.clerk.box.put(notes...)
	s.clerk.late()
}
