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

// addBody adds the relaxed form of a CRLF-clean body (RFC 6376 §3.4.4).
func (h *hasher) addBody(body []byte) {
	body = bytes.TrimRight(body, " \t\r\n") // blank lines at the end, WSP at the end of the last line
	if len(body) == 0 {
		return
	}
	start := 0 // what is before is added
	for i := changed(body, 0); i < len(body); {
		end := i + 1 // of the WSP; there is an end, for the last byte is none
		for isWSP(body[end]) {
			end++
		}
		switch {
		case body[end] == '\r': // at the end of a line
			h.add(body[start:i])
		case body[i] == ' ':
			h.add(body[start : i+1])
		default:
			h.add(body[start:i])
			h.add(space)
		}
		start = end
		i = changed(body, end)
	}
	h.add(body[start:])
	h.add(crlf) // ends the last line, also if the body lacks it
}

const (
	each   = 0x0101010101010101
	low7   = 0x7f * each
	spaces = ' ' * each
	tabs   = '\t' * each
	crs    = '\r' * each
)

// equal returns 0x80 in each byte in which w and pattern are equal, else 0.
func equal(w, pattern uint64) uint64 {
	x := w ^ pattern
	return ^((x&low7 + low7) | x | low7)
}

// changed returns the offset, at i or after, of the first WSP that the relaxed
// form may change: a tab, or a space before another WSP or a CR. It returns
// len(b) if there is none. The last byte of b is not WSP, and b[i-1] is none.
//
// It looks at eight bytes at once: most of a mail needs no change, and finding
// that out must cost less than hashing it.
func changed(b []byte, i int) int {
	for ; i+9 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		sp, tab := equal(w, spaces), equal(w, tabs)
		after := (sp | tab | equal(w, crs)) >> 8
		after |= (uint64(b[i+8]) - ' ' - 1) & (1 << 63) // the ninth byte, true for all control characters: more than needed, never less
		if hit := tab | sp&after; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] == '\t' || b[i] == ' ' && (isWSP(b[i+1]) || b[i+1] == '\r') {
			return i
		}
	}
	return len(b)
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
