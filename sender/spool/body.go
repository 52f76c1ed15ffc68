package spool

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/volleymail/volley/sender"
)

// body is a stored body. It is read when it is written out.
type body struct {
	s       *Spool
	content int64
	shared  bool
}

func (b *body) WriteTo(w io.Writer) (int64, error) {
	data, err := b.s.readBody(b.content, b.shared)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(data)
	return int64(n), err
}

func (s *Spool) readBody(content int64, shared bool) ([]byte, error) {
	if data, ok := s.bodies.get(content); ok {
		return data, nil
	}
	r, err := s.reader(context.Background())
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	var data []byte
	found := false
	err = r.body.query(func(row []value) error {
		data, found = blob(row[0]), true
		return nil
	}, content)
	switch {
	case err != nil:
		return nil, wrap(s.path, err)
	case !found:
		return nil, wrap(s.path, fmt.Errorf("the content %d is not there: its message has ended", content))
	}
	if shared {
		s.bodies.put(content, data)
	}
	return data, nil
}

// says gives the message its template, if that is known by heart, or notes that
// it is to be looked up.
func (t *taking) says(m *sender.Message, content int64) {
	if m.Template = t.s.take.templates[content]; m.Template == "" {
		if t.unsaid == nil {
			t.unsaid = map[int64][]*sender.Message{}
		}
		t.unsaid[content] = append(t.unsaid[content], m)
	}
}

// contents looks up what says did not know.
func (t *taking) contents() error {
	if len(t.unsaid) == 0 {
		return nil
	}
	err := t.s.take.r.contents.query(func(row []value) error {
		content, template := integer(row[0]), text(row[1])
		if template == "" {
			t.bodies(content, integer(row[2]) > 1)
			return nil
		}
		for _, m := range t.unsaid[content] {
			m.Template = template
		}
		delete(t.unsaid, content)
		t.s.take.learn(content, template)
		return nil
	}, idList(slices.Sorted(maps.Keys(t.unsaid))))
	for content := range t.unsaid { // is missing: an error when it is read
		t.bodies(content, false)
	}
	return err
}

// bodies gives messages their stored body.
func (t *taking) bodies(content int64, shared bool) {
	for _, m := range t.unsaid[content] {
		m.Content = &body{s: t.s, content: content, shared: shared}
	}
	delete(t.unsaid, content)
}

func (k *taker) learn(content int64, template string) {
	if k.templates == nil || len(k.templates) >= maxContents {
		k.templates = map[int64]string{}
	}
	k.templates[content] = template
}

// bodyCache keeps bodies that several messages share.
type bodyCache struct {
	max int // octets

	mu    sync.Mutex
	data  map[int64][]byte // guarded by mu
	order []int64          // oldest first; guarded by mu
	size  int              // guarded by mu
}

func (c *bodyCache) get(id int64) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.data[id]
	return data, ok
}

func (c *bodyCache) put(id int64, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.data[id]; ok || len(data) > c.max {
		return
	}
	for c.size+len(data) > c.max {
		old := c.order[0]
		c.order = c.order[1:]
		c.size -= len(c.data[old])
		delete(c.data, old)
	}
	if c.data == nil {
		c.data = map[int64][]byte{}
	}
	c.data[id] = data
	c.order = append(c.order, id)
	c.size += len(data)
}

// reader takes a connection for reading; release gives it back.
func (s *Spool) reader(ctx context.Context) (*reader, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	select {
	case r := <-s.pool:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.quit:
		return nil, wrap(s.path, ErrClosed)
	}
}

func (s *Spool) release(r *reader) { s.pool <- r }
