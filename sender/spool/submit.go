package spool

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/volleymail/volley/sender"
)

// A long Submit goes in pieces of this size.
const (
	maxPiece      = 1024    // recipients
	maxPieceBytes = 4 << 20 // of bodies and data
)

// item is a message that is prepared for the file.
type item struct {
	sub        *sender.Submission
	born, due  int64
	hash       [32]byte // of the body or the template's name
	tags, more value
	rcpts      []rcpt
}

type rcpt struct {
	address string
	line    sender.Line
	key     []byte
}

// moreRecord is what few messages have.
type moreRecord struct {
	DSN       *sender.DSN `json:"dsn,omitempty"`
	Engaged   bool        `json:"engaged,omitempty"`
	NotBefore time.Time   `json:"not_before,omitzero"`
	Zone      string      `json:"zone,omitempty"`
}

// Submit implements sender.Queue. Batches are faster than single messages;
// single ones of many goroutines are too, because they share the wait for the
// disk. If the campaign of one message is canceled, nothing is stored.
func (s *Spool) Submit(ctx context.Context, now time.Time, msgs ...*sender.Submission) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := s.refuseCanceled(msgs); err != nil {
		return err
	}
	for len(msgs) > 0 {
		n, rows, bytes := piece(msgs)
		items := make([]*item, n)
		for i, m := range msgs[:n] {
			var err error
			if items[i], err = prepare(m, now); err != nil {
				return err
			}
		}
		err := s.write(ctx, &request{rows: rows, bytes: bytes, apply: func(t *tx) error {
			t.seen(now)
			return t.submit(items)
		}})
		if err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

// piece counts the messages that go in one transaction.
func piece(msgs []*sender.Submission) (n, rows, bytes int) {
	var last []byte
	for n < len(msgs) && rows < maxPiece && bytes < maxPieceBytes {
		m := msgs[n]
		rows += len(m.To)
		bytes += len(m.Data)
		if !sameSlice(m.Body, last) {
			bytes += len(m.Body)
		}
		last = m.Body
		n++
	}
	return n, rows, bytes
}

func sameSlice(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func prepare(m *sender.Submission, now time.Time) (*item, error) {
	it := &item{sub: m, due: nano(m.Due), born: nano(now), rcpts: make([]rcpt, len(m.To))}
	if m.NotBefore.After(now) {
		it.born = nano(m.NotBefore)
	}
	if len(m.Tags) > 0 {
		tags, err := json.Marshal(m.Tags)
		if err != nil {
			return nil, about(m.ID, err)
		}
		it.tags = string(tags)
	}
	if m.DSN != nil || m.Engaged || m.Zone != "" || !m.NotBefore.IsZero() {
		more, err := json.Marshal(moreRecord{m.DSN, m.Engaged, m.NotBefore, m.Zone})
		if err != nil {
			return nil, about(m.ID, err)
		}
		it.more = string(more)
	}
	if m.Template != "" {
		it.hash = sha256.Sum256(append([]byte("template "), m.Template...))
	} else {
		it.hash = sha256.Sum256(m.Body)
	}
	for i, address := range m.To {
		local, domain := sender.SplitRecipient(address)
		it.rcpts[i] = rcpt{address: address, key: pairKey(m.ID, local, domain),
			line: sender.Line{Domain: domain, Stream: m.Stream, Campaign: m.Campaign}}
	}
	return it, nil
}

// seen notes the time that a caller passed.
func (t *tx) seen(now time.Time) { t.now = max(t.now, nano(now)) }

func canceledError(campaign string) error {
	return fmt.Errorf("spool: campaign %q: %w", campaign, sender.ErrCanceled)
}

func (t *tx) submit(items []*item) error {
	for _, it := range items { // all of a piece or none
		if t.isCanceled(it.sub.Campaign) {
			return canceledError(it.sub.Campaign)
		}
	}
	for _, it := range items {
		if err := t.insert(it); err != nil {
			return err
		}
	}
	return nil
}

// insert stores the recipients of a message that are not known, and the message
// if there are any. Its number is that of the first of them.
func (t *tx) insert(it *item) error {
	m := it.sub
	number, stored := t.recipients+1, int64(0)
	for i := range it.rcpts {
		r := &it.rcpts[i]
		l, err := t.line(r.line)
		if err != nil {
			return err
		}
		id := t.recipients + 1
		at, due := t.place(l, it.due, id)
		n, err := t.insertRecipient.exec(id, l.id, at, due, number, r.key, r.address)
		if err != nil {
			return err
		}
		if n > 0 {
			t.recipients = id
			stored++
		}
	}
	if stored == 0 {
		return nil
	}
	content, err := t.contentOf(it)
	if err != nil {
		return err
	}
	t.uses[content]++
	var data value
	if m.Data != nil {
		data = string(m.Data)
	}
	_, err = t.insertMessage.exec(number, m.ID, m.From, content, it.born, stored, it.tags, it.more, data)
	return err
}
