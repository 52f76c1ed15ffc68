package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/volleymail/volley/sender"
)

// Results implements sender.Queue.
func (s *Spool) Results(ctx context.Context, after int64, max int) ([]sender.Ended, error) {
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	var ended []sender.Ended
	err = r.results.query(func(row []value) error {
		e := sender.Ended{Seq: integer(row[0])}
		if detail := text(row[1]); detail != "" {
			if err := e.Result.UnmarshalJSON([]byte(detail)); err != nil {
				return fmt.Errorf("%w: result %d: %w", ErrCorrupt, e.Seq, err)
			}
		}
		ended = append(ended, e)
		return nil
	}, after, int64(max))
	if err != nil {
		return nil, wrap(s.path, err)
	}
	return ended, nil
}

// List implements sender.Queue. Selection.Sites matches the site of the last
// attempt.
func (s *Spool) List(ctx context.Context, match sender.Selection, after int64, max int) ([]sender.Queued, error) {
	if err := s.flush(ctx); err != nil && !diskError(err) { // a disk that fails can still be read
		return nil, err
	}
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	where, args := conditions(match)
	var queued []sender.Queued
	// Messages are in the order of their recipients, and those that have ended are
	// not there: so what has ended costs nothing.
	err = r.c.query(`SELECT r.id, l.domain, l.stream, l.campaign, m.name, r.address, m.born, coalesce(r.due, r.at), r.attempts, r.last
		FROM message m CROSS JOIN recipient r ON r.id BETWEEN m.id AND m.id + m.recipients - 1 CROSS JOIN line l ON l.id = r.line
		WHERE m.id >= coalesce((SELECT max(id) FROM message WHERE id <= ?1), 0) AND r.id > ?1 `+where+`
		ORDER BY m.id, r.id LIMIT ?2`, func(row []value) error {
		q := sender.Queued{ID: integer(row[0]), Line: sender.Line{Domain: text(row[1]), Stream: text(row[2]), Campaign: text(row[3])},
			MessageID: text(row[4]), Recipient: text(row[5]), Submitted: instant(integer(row[6])), Due: instant(integer(row[7])), Attempts: int(integer(row[8]))}
		if last := text(row[9]); last != "" {
			q.Last = &sender.Attempt{}
			if err := q.Last.UnmarshalJSON([]byte(last)); err != nil {
				return fmt.Errorf("%w: recipient %d: %w", ErrCorrupt, q.ID, err)
			}
		}
		queued = append(queued, q)
		return nil
	}, append([]value{after, int64(max)}, args...)...)
	if err != nil {
		return nil, wrap(s.path, err)
	}
	return queued, nil
}

// conditions gives match in SQL, with its arguments from ?3 on.
func conditions(match sender.Selection) (string, []value) {
	var where strings.Builder
	var args []value
	for _, c := range []struct {
		column string
		values []string
	}{
		{"coalesce(json_extract(r.last, '$.site'), '')", match.Sites},
		{"l.domain", match.Domains},
		{"l.stream", match.Streams},
		{"l.campaign", match.Campaigns},
		{"m.name", match.Messages},
		{"r.address", match.Recipients},
	} {
		if len(c.values) == 0 {
			continue
		}
		list, err := json.Marshal(c.values)
		if err != nil {
			list = []byte("[]") // strings have no error
		}
		args = append(args, string(list))
		fmt.Fprintf(&where, "AND %s IN (SELECT value FROM json_each(?%d)) ", c.column, len(args)+2)
	}
	return where.String(), args
}

// Uses implements sender.Queue.
func (s *Spool) Uses(ctx context.Context) (streams, templates []string, err error) {
	if err := s.flush(ctx); err != nil && !diskError(err) {
		return nil, nil, err
	}
	r, err := s.reader(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer s.release(r)
	err = r.c.query(`SELECT DISTINCT stream FROM line l WHERE EXISTS (SELECT 1 FROM recipient WHERE line = l.id AND line <> 0) ORDER BY stream`,
		func(row []value) error {
			streams = append(streams, text(row[0]))
			return nil
		})
	if err == nil {
		err = r.c.query(`SELECT template FROM content WHERE template IS NOT NULL ORDER BY template`, func(row []value) error {
			templates = append(templates, text(row[0]))
			return nil
		})
	}
	return streams, templates, wrap(s.path, err)
}

// Load implements sender.Queue.
func (s *Spool) Load(ctx context.Context, name string) (v []byte, err error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	err = r.setting.query(func(row []value) error {
		if v = blob(row[0]); v == nil {
			v = []byte{}
		}
		return nil
	}, name)
	return v, wrap(s.path, err)
}

// Save implements sender.Queue.
func (s *Spool) Save(ctx context.Context, name string, v []byte) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	v = bytes.Clone(v)
	return s.write(ctx, &request{rows: 1, bytes: len(v), apply: func(t *tx) (err error) {
		if v == nil {
			_, err = t.forget.exec(name)
		} else {
			_, err = t.save.exec(name, v)
		}
		return err
	}})
}

// Reschedule implements sender.Queue. It works in pieces: what is submitted
// meanwhile may be passed over.
func (s *Spool) Reschedule(ctx context.Context, match sender.Selection, due time.Time) (int, error) {
	total := 0
	for after := int64(0); ; {
		queued, err := s.List(ctx, match, after, maxPiece)
		if err != nil || len(queued) == 0 {
			return total, err
		}
		after = queued[len(queued)-1].ID
		n := 0
		err = s.write(ctx, &request{rows: len(queued), exclusive: true, apply: func(t *tx) (err error) {
			n, err = t.reschedule(queued, nano(due))
			return err
		}})
		if err != nil {
			return total, err
		}
		total += n
	}
}

// reschedule moves those that have not ended and are not handed out.
func (t *tx) reschedule(queued []sender.Queued, due int64) (n int, err error) {
	ids := make([]int64, len(queued))
	for i, q := range queued {
		ids[i] = q.ID
	}
	known, err := t.waiters(ids)
	if err != nil {
		return 0, err
	}
	if err := t.renewLog(due); err != nil {
		return 0, err
	}
	for _, q := range queued {
		w := known[q.ID]
		if w == nil || !t.s.lines.waits(w.id) {
			continue
		}
		at, asked := t.place(w.line, due, w.id)
		if _, err := t.moved.exec(w.id, at, asked); err != nil {
			return 0, err
		}
		n++
		t.thinned = append(t.thinned, w.line)
	}
	return n, nil
}

// waits reports whether a recipient is not handed out.
func (ls *lines) waits(id int64) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	_, out := ls.out[id]
	return !out
}
