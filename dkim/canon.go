package dkim

import (
	"bytes"
	"encoding/binary"
	"hash"
	"math/bits"
)

// hasher hashes a sequence of pieces: long ones from where they are, short ones
// gathered first, because a hash is slow on many short writes.
type hasher struct {
	hash.Hash
	buf []byte // gathered, its capacity is fixed
}

func (h *hasher) add(p []byte) {
	if len(h.buf)+len(p) > cap(h.buf) {
		h.flush()
		if len(p) >= cap(h.buf) {
			h.Write(p)
			return
		}
	}
	h.buf = append(h.buf, p...)
}

func (h *hasher) flush() {
	h.Write(h.buf)
	h.buf = h.buf[:0]
}

// sum appends the hash of what was added to dst, and starts anew.
func (h *hasher) sum(dst []byte) []byte {
	h.flush()
	dst = h.Sum(dst)
	h.Reset()
	return dst
}

var (
	crlf  = []byte("\r\n")
	space = []byte(" ")
)

// addBody adds the relaxed form of a body (RFC 6376 §3.4.4), and returns the
// offset of the first bare CR or LF, or -1 if there is none, as it must be.
func (h *hasher) addBody(body []byte) (bare int) {
	text := bytes.TrimRight(body, fws) // without blank lines at the end and WSP at the end of the last line
	start := 0                         // what is before is added
	for i := 0; ; {
		if i = special(text, i); i == len(text) {
			break
		}
		switch text[i] {
		case '\r':
			if text[i+1] != '\n' {
				return i
			}
			i += 2
		case '\n':
			return i
		case ' ', '\t':
			end := i + 1
			for isWSP(text[end]) {
				end++
			}
			switch {
			case text[end] == '\r': // at the end of a line
				h.add(text[start:i])
			case text[i] == ' ':
				h.add(text[start : i+1])
			default:
				h.add(text[start:i])
				h.add(space)
			}
			start, i = end, end
		default:
			i++
		}
	}
	if len(text) > 0 {
		h.add(text[start:])
		h.add(crlf) // ends the last line, also if the body lacks it
	}
	if bare = bareLineEnd(body[len(text):]); bare >= 0 {
		bare += len(text)
	}
	return bare
}

const (
	each = 0x0101010101010101
	high = 0x80 * each
)

// below returns 0x80 in each byte of w that is less than c, else 0; c <= 0x80.
func below(w, c uint64) uint64 {
	return ^((w | high) - c*each | w) & high
}

// special returns the offset, at i or after, of the first byte of text that
// the relaxed form may change or that may be a bare CR or LF: a control
// character, or a space before another space or a control character; but not
// a CRLF. It returns len(text) if there is none. The last byte of text is none
// of them.
//
// It looks at eight bytes at once, the last of them as the neighbour of the one
// before: most of a mail needs no change, and finding that out must cost less
// than hashing it.
func special(text []byte, i int) int {
	for i+8 <= len(text) {
		w := binary.LittleEndian.Uint64(text[i:])
		control, orSpace := below(w, ' '), below(w, ' '+1)
		hit := control | orSpace&(orSpace>>8)
		if hit == 0 {
			i += 7
			continue
		}
		i += bits.TrailingZeros64(hit) / 8
		if text[i] != '\r' || text[i+1] != '\n' {
			return i
		}
		i += 2
	}
	for ; i < len(text); i++ {
		if text[i] < ' ' || text[i] == ' ' && text[i+1] <= ' ' {
			return i
		}
	}
	return len(text)
}

// bareLineEnd returns the offset of the first CR without LF or LF without CR,
// or -1 if there is none.
func bareLineEnd(b []byte) int {
	for at := 0; ; {
		line := b[at:]
		end := bytes.IndexByte(line, '\n')
		if end >= 0 {
			line = line[:end]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case end < 0 && cr < 0:
			return -1
		case cr < 0: // LF without CR
			return at + end
		case end < 0 || cr != end-1:
			return at + cr
		}
		at += end + 1
	}
}

// appendField appends the relaxed form of a header field (RFC 6376 §3.4.2).
// The name has no WSP around it.
func appendField(dst, name, value []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	first := true
	for i := 0; i < len(value); {
		if isFWS(value[i]) {
			i++
			continue
		}
		word := i
		for i < len(value) && !isFWS(value[i]) {
			i++
		}
		if !first {
			dst = append(dst, ' ')
		}
		first = false
		dst = append(dst, value[word:i]...)
	}
	return append(dst, crlf...)
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }
func isFWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
