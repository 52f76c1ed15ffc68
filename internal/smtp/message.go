package smtp

import (
	"bytes"
	"slices"
	"strconv"
	"sync"

	"github.com/volleymail/volley/bounce"
)

// message sends the message of f, with the envelope of n behind it if n can
// go along, and reads all replies.
func (s *Session) message(f, n *flight) *Error {
	if f.t.Ready != nil {
		if err := f.t.Ready(); err != nil {
			return s.lost(bounce.StageData, err)
		}
	}
	msg := f.t.Body.Buf[f.t.Body.Start:]
	if s.chunking() {
		msg = f.t.Body.chunk()
	} else {
		if f.t.Body.Dots {
			scratch := stuffing.Get().(*[]byte)
			defer stuffing.Put(scratch)
			*scratch = appendStuffed(slices.Grow((*scratch)[:0], len(msg)+len(msg)/32+1024), msg)
			msg = *scratch
		}
		s.out = append(s.out, ".\r\n"...)
	}
	s.base = len(msg)
	s.marks = append(s.marks, mark{f, 1, WireBody}, mark{f, s.base + len(s.out), WireDot})
	s.expect(f, stepBody, 0)
	if n != nil && n.open > 0 && n.open+3 <= maxGroup {
		n.chained, s.chained = true, true
		if e := s.enclose(n); e != nil {
			return e
		}
	}
	s.wire.setDot(true)
	return s.exchange(msg)
}

// chunk is the message with BDAT before it (RFC 3030 §2), in the headroom.
func (b *Body) chunk() []byte {
	// Written ahead of its place and then moved up to the message.
	cmd := append(b.Buf[:0], "BDAT "...)
	cmd = strconv.AppendInt(cmd, int64(len(b.Buf)-b.Start), 10)
	cmd = append(cmd, " LAST\r\n"...)
	from := b.Start - len(cmd)
	copy(b.Buf[from:], cmd)
	return b.Buf[from:]
}

// stuffing holds copies of messages with their dots stuffed.
var stuffing = sync.Pool{New: func() any { return new([]byte) }}

// appendStuffed appends msg with each dot at the start of a line doubled (RFC
// 5321 §4.5.2).
func appendStuffed(dst, msg []byte) []byte {
	if len(msg) > 0 && msg[0] == '.' {
		dst = append(dst, '.')
	}
	for {
		i := bytes.Index(msg, []byte("\n."))
		if i < 0 {
			return append(dst, msg...)
		}
		dst = append(append(dst, msg[:i+2]...), '.')
		msg = msg[i+2:]
	}
}
