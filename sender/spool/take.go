package spool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/volleymail/volley/sender"
)

// reader is a connection that reads.
type reader struct {
	c *conn

	begin, end *stmt // of a view that does not change

	beside                          *stmt // recipients of a line behind a place: due at the same time
	after                           *stmt // due later
	messages, messageSpan, contents *stmt
	results                         *stmt
	body                            *stmt
	setting                         *stmt
}

const messageColumns = `SELECT m.id, m.name, m.sender, m.content, m.born, m.tags, m.more, m.data, m.recipients `

func (s *Spool) openReader(cache int) (*reader, error) {
	c, err := openConn(s.path, fmt.Sprintf("busy_timeout=%d", busyTimeout.Milliseconds()), "query_only=1",
		fmt.Sprintf("cache_size=-%d", cache>>10), "temp_store=MEMORY")
	if err != nil {
		return nil, err
	}
	r := &reader{c: c}
	err = c.prepareAll(map[**stmt]string{
		&r.begin: `BEGIN`,
		&r.end:   `COMMIT`,
		// SQLite does not search an index for a pair with the row's id: hence two.
		&r.beside: `SELECT id, at, message, address, attempts, warned, last FROM recipient WHERE line = ?1 AND line <> 0 AND at = ?2 AND id > ?3
			ORDER BY id LIMIT ?4 + 0`,
		&r.after: `SELECT id, at, message, address, attempts, warned, last FROM recipient WHERE line = ?1 AND line <> 0 AND at > ?2
			ORDER BY at, id LIMIT ?3 + 0`,
		&r.messages:    messageColumns + `FROM json_each(?) j CROSS JOIN message m ON m.id = j.value`,
		&r.messageSpan: messageColumns + `FROM message m WHERE m.id BETWEEN ? AND ? ORDER BY m.id`,
		&r.contents:    `SELECT c.id, c.template, c.uses FROM json_each(?) j CROSS JOIN content c ON c.id = j.value`,
		&r.results:     `SELECT seq, detail FROM result WHERE seq > ? ORDER BY seq LIMIT ? + 0`,
		&r.body:        `SELECT data FROM body WHERE content = ?`,
		&r.setting:     `SELECT value FROM setting WHERE name = ?`,
	})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return r, nil
}

// taker is what Take works with. It is guarded by Spool.takeMu.
type taker struct {
	r         *reader
	round     int64            // counts the calls
	templates map[int64]string // by content, which never says anything else; of maxContents at most
}

// picked is what a Take has of a line, to put it back if it fails.
type picked struct {
	line   *line
	cursor key // before
	first  int64
	ids    []int64
}

// taking is one call of Take.
type taking struct {
	s      *Spool
	lane   *lane
	now    int64
	max    int
	room   func(sender.Line) int
	round  int64
	taken  []*sender.Taken
	got    int
	picked []picked
	alone  []alone
	unsaid map[int64][]*sender.Message // by content, of which the template is not known
}

// alone is a recipient whose message has no other, and its content.
type alone struct{ id, content int64 }

// Take implements sender.Queue. It writes nothing. room must not call the
// Spool.
func (s *Spool) Take(ctx context.Context, stream string, now time.Time, max int, room func(sender.Line) int) ([]*sender.Taken, time.Time, error) {
	s.takeMu.Lock()
	defer s.takeMu.Unlock()
	if err := s.check(ctx); err != nil {
		return nil, time.Time{}, err
	}
	s.take.round++
	t := &taking{s: s, now: nano(now) + tick - 1, max: max, room: room, round: s.take.round}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	t.lane = s.lines.lanes[stream]
	if t.lane == nil {
		return nil, time.Time{}, nil
	}
	if err := t.view(); err != nil {
		t.putBack()
		return nil, time.Time{}, wrap(s.path, err)
	}
	return t.taken, t.next(), nil
}

// view takes what there is in one view of the file, which costs less than one
// for each line. lines.mu is held.
func (t *taking) view() error {
	ls, r := &t.s.lines, t.s.take.r
	t.lane.wake(t.now)
	if t.lane.ready.len() == 0 {
		return nil
	}
	ls.view++ // before it begins
	ls.gone = map[int64]struct{}{}
	defer func() { ls.gone = nil }()
	if _, err := r.begin.exec(); err != nil {
		return err
	}
	err := t.lines()
	if err == nil {
		ls.mu.Unlock()
		err = t.messages()
		ls.mu.Lock()
		for _, a := range t.alone {
			h := ls.out[a.id]
			h.alone, h.content = true, a.content
			ls.out[a.id] = h
		}
	}
	_, ended := r.end.exec()
	return errors.Join(err, ended)
}

// lines takes from the lines that are ready, in turn. lines.mu is held, but not
// while the file is read or room is asked.
func (t *taking) lines() error {
	open := t.lane.ready.len()
	for open > 0 && t.got < t.max {
		share := max(1, (t.max-t.got)/open)
		open = 0
		for range t.lane.ready.len() {
			if t.got >= t.max {
				break
			}
			l := t.lane.ready.pop()
			err := t.line(l, min(share, t.max-t.got))
			if l.state = idle; l.next <= t.now {
				l.state = ready
				t.lane.ready.push(l)
				if !l.short {
					open++
				}
			} else {
				t.s.lines.schedule(l)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// line takes up to n recipients of a line.
func (t *taking) line(l *line, n int) error {
	ls := &t.s.lines
	if l.next > t.now {
		return nil
	}
	l.state = busy
	if l.round != t.round {
		l.round = t.round
		ls.mu.Unlock()
		room := t.room(l.Line)
		ls.mu.Lock()
		l.room, l.short = room, room <= 0
	}
	if l.short {
		return nil
	}
	n = min(n, l.room)
	from, before := l.cursor, l.next
	l.next = never
	ahead := l.ahead()
	ls.mu.Unlock()
	rows, err := t.read(l.id, from, n+1+ahead)
	ls.mu.Lock()
	if err != nil {
		l.next = min(l.next, before)
		return err
	}
	limit := ls.limit(l)
	l.next = min(l.next, limit.at)
	kept := rows[:0]
	for _, r := range rows {
		if len(kept) == n || r.key.at > t.now || !r.key.before(limit) {
			l.next = min(l.next, r.key.at)
			break
		}
		l.cursor = r.key
		_, out := ls.out[r.ID]
		_, gone := ls.gone[r.ID]
		if !gone && (!out || ahead == 0) {
			kept = append(kept, r)
		}
	}
	if l.peak.before(l.cursor) {
		l.peak = l.cursor
	}
	l.short = len(kept) < n || len(kept) == l.room
	if ahead > 0 && len(rows) == n+1+ahead {
		l.next = min(l.next, rows[len(rows)-1].key.at)
	}
	t.hand(l, kept, from, before)
	return nil
}

// row is a recipient in the file.
type row struct {
	key     key
	message int64
	address string
	sender.Waiting
}

// read reads up to n recipients of a line behind a place.
func (t *taking) read(line int64, from key, n int) (rows []row, err error) {
	add := func(v []value) error {
		r := row{key: key{integer(v[1]), integer(v[0])}, message: integer(v[2]), address: text(v[3]),
			Waiting: sender.Waiting{ID: integer(v[0]), Attempts: int(integer(v[4])), Warned: integer(v[5]) != 0}}
		if last := text(v[6]); last != "" {
			r.Last = &sender.Attempt{}
			if err := r.Last.UnmarshalJSON([]byte(last)); err != nil {
				return fmt.Errorf("%w: recipient %d: %w", ErrCorrupt, r.ID, err)
			}
		}
		rows = append(rows, r)
		return nil
	}
	if from != start {
		if err := t.s.take.r.beside.query(add, line, from.at, from.id, int64(n)); err != nil {
			return nil, err
		}
	}
	if len(rows) < n {
		err = t.s.take.r.after.query(add, line, from.at, int64(n-len(rows)))
	}
	return rows, err
}

// hand hands rows out: Taken, one for those of a message that stand together.
// from and first are the line's cursor and next before. lines.mu is held.
func (t *taking) hand(l *line, rows []row, from key, first int64) {
	p := picked{line: l, cursor: from, first: first}
	var group *sender.Taken
	for i := range rows {
		r := &rows[i]
		if group == nil || group.Number != r.message {
			group = &sender.Taken{Line: l.Line, Number: r.message, Message: &sender.Message{}}
			t.taken = append(t.taken, group)
		}
		_, r.InFlight = t.s.lines.lost[r.ID]
		group.Message.To = append(group.Message.To, r.address)
		group.Recipients = append(group.Recipients, r.Waiting)
		t.s.lines.out[r.ID] = handed{placed: placed{l, r.key}, message: r.message}
		p.ids = append(p.ids, r.ID)
	}
	t.picked = append(t.picked, p)
	l.out += len(rows)
	l.room -= len(rows)
	t.got += len(rows)
}

// messages completes what was taken with the messages.
func (t *taking) messages() error {
	if len(t.taken) == 0 {
		return nil
	}
	byNumber := slices.Clone(t.taken)
	slices.SortFunc(byNumber, func(a, b *sender.Taken) int { return cmp.Compare(a.Number, b.Number) })
	rest := byNumber
	row := func(row []value) error {
		id := integer(row[0])
		for len(rest) > 0 && rest[0].Number == id {
			taken := rest[0]
			content := integer(row[3])
			if err := t.s.fill(taken, row); err != nil {
				return fmt.Errorf("%w: message %d: %w", ErrCorrupt, id, err)
			}
			if integer(row[8]) == 1 {
				t.alone = append(t.alone, alone{taken.Recipients[0].ID, content})
			}
			t.says(taken.Message, content)
			rest = rest[1:]
		}
		return nil
	}
	first, last := byNumber[0].Number, byNumber[len(byNumber)-1].Number
	var err error
	if last-first < int64(2*len(byNumber)) { // a range costs less than as many ids, though half of it is not wanted
		err = t.s.take.r.messageSpan.query(row, first, last)
	} else {
		err = t.s.take.r.messages.query(row, idList(numbers(byNumber)))
	}
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return fmt.Errorf("%w: message %d is missing", ErrCorrupt, rest[0].Number)
	}
	return t.contents()
}

// numbers gives each number once.
func numbers(sorted []*sender.Taken) (ids []int64) {
	for i, taken := range sorted {
		if i == 0 || taken.Number != sorted[i-1].Number {
			ids = append(ids, taken.Number)
		}
	}
	return ids
}

// fill puts what the row has of the message into taken.
func (s *Spool) fill(taken *sender.Taken, row []value) error {
	m := taken.Message
	m.ID, m.Stream, m.Campaign, m.From = text(row[1]), taken.Stream, taken.Campaign, text(row[2])
	taken.Born = instant(integer(row[4]))
	if tags := text(row[5]); tags != "" {
		if err := json.Unmarshal([]byte(tags), &m.Tags); err != nil {
			return err
		}
	}
	if more := text(row[6]); more != "" {
		var rec moreRecord
		if err := json.Unmarshal([]byte(more), &rec); err != nil {
			return err
		}
		m.DSN, m.Engaged, m.NotBefore, m.Zone = rec.DSN, rec.Engaged, rec.NotBefore, rec.Zone
	}
	if row[7] != nil {
		m.Data = json.RawMessage(text(row[7]))
	}
	return nil
}

// putBack undoes what was taken: the recipients are behind the cursor again.
func (t *taking) putBack() {
	for i := len(t.picked) - 1; i >= 0; i-- {
		p := t.picked[i]
		p.line.cursor = earlier(p.line.cursor, p.cursor)
		p.line.out -= len(p.ids)
		for _, id := range p.ids {
			delete(t.s.lines.out, id)
		}
		p.line.next = min(p.line.next, p.first)
		t.s.lines.schedule(p.line)
	}
}

// next is when more can be taken, but for want of room.
func (t *taking) next() time.Time {
	next := int64(never)
	if len(t.lane.timed) > 0 {
		next = t.lane.timed[0].next
	}
	for _, l := range t.lane.ready.buf[t.lane.ready.head:] {
		if l.round != t.round || l.room > 0 {
			next = min(next, l.next)
		}
	}
	if next == never {
		return time.Time{}
	}
	return instant(next)
}
