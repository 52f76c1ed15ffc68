package dkim

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Sign signs msg, a whole message whose every line ends with CRLF, and returns
// the DKIM-Signature header fields, each ended with CRLF, to put in front of
// it. It doesn't change msg or keep it. (A last line without CRLF is signed as
// if it had one; send it so, for not all verifiers agree on spaces at its end.)
//
// now is the time of signing: it gives t= and x=. from and to are the envelope;
// nothing uses them today, but DKIM2 signs them.
//
// A message that can't be signed is a *MessageError; a key that doesn't sign
// (only possible with keys outside this process) a *SignError.
func (s *Signer) Sign(now time.Time, from string, to []string, msg []byte) ([]byte, error) {
	if len(s.sigs) == 0 {
		return nil, nil
	}
	w := works.Get().(*work)
	defer w.release()
	body, err := w.header.read(msg)
	if err != nil {
		return nil, err
	}
	bare := w.hash.addBody(msg[body:])
	w.bodyHash = w.hash.sum(w.bodyHash[:0])
	if bare >= 0 {
		return nil, errorAt(msg, body+bare, BareLineEnd)
	}

	out := make([]byte, 0, 1536*len(s.sigs))
	for _, sig := range s.sigs {
		if out, err = sig.append(out, w, now.Unix()); err != nil {
			return nil, &SignError{Domain: sig.domain, Selector: sig.selector, Err: err}
		}
	}
	return out, nil
}

// SignError says that a key refused or failed to sign.
type SignError struct {
	Domain, Selector string
	Err              error // what the key's crypto.Signer said
}

func (e *SignError) Error() string {
	return fmt.Sprintf("dkim: signing as %s: %v", recordName(e.Selector, e.Domain), e.Err)
}

// Unwrap returns the cause.
func (e *SignError) Unwrap() error { return e.Err }

// work is the memory of one call of Sign, used again by others.
type work struct {
	header
	hash       hasher
	bodyHash   []byte
	headerHash []byte
	own        []byte  // relaxed form of the signature's own field
	last       []int32 // by rank: index of the last such field that isn't yet signed, -1 for none
	previous   []int32 // by field: index of the one before with the same name, -1 for none
}

var works = sync.Pool{New: func() any {
	return &work{hash: hasher{Hash: sha256.New(), buf: make([]byte, 0, 2048)}}
}}

func (w *work) release() {
	// One huge header must not be remembered for ever.
	if cap(w.canon) > 256<<10 || cap(w.fields) > 4<<10 {
		return
	}
	works.Put(w)
}

// append appends the header field of one signature to dst.
func (s *signature) append(dst []byte, w *work, now int64) ([]byte, error) {
	if now < 0 { // t= is unsigned
		return nil, errors.New("the time is before 1970")
	}
	f := folder{buf: dst}
	start := len(dst)
	f.buf = append(f.buf, s.intro...)
	f.tagInt("t=", now)
	if s.expiry > 0 {
		f.tagInt("x=", now+s.expiry)
	}
	s.coverHeaders(&f, w)
	f.token(" ", len("bh=;")+base64.StdEncoding.EncodedLen(sha256.Size))
	f.buf = append(f.buf, "bh="...)
	f.buf = base64.StdEncoding.AppendEncode(f.buf, w.bodyHash)
	f.buf = append(f.buf, ';')
	f.put(" ", "b=")

	// RFC 6376 §3.7: the field itself comes last, with b= empty, without CRLF.
	w.own = appendField(w.own[:0], fieldName, f.buf[start+len(fieldName)+1:])
	w.hash.add(w.own[:len(w.own)-len(crlf)])
	w.headerHash = w.hash.sum(w.headerHash[:0])
	sig, err := s.sign(w.headerHash)
	if err != nil {
		return nil, err
	}
	f.base64(sig)
	return append(f.buf, crlf...), nil
}

// coverHeaders writes h= and hashes the fields that it names: of a name that
// occurs several times, the last field first (RFC 6376 §5.4.2).
func (s *signature) coverHeaders(f *folder, w *work) {
	w.last = w.last[:0]
	for range s.headers.tokens {
		w.last = append(w.last, -1)
	}
	w.previous = w.previous[:0]
	for i, fld := range w.fields {
		rank, ok := s.headers.rank[string(fld.name)]
		if !ok {
			w.previous = append(w.previous, -1)
			continue
		}
		w.previous = append(w.previous, w.last[rank])
		w.last[rank] = int32(i)
	}
	f.put(" ", "h=")
	for rank, token := range s.headers.tokens {
		for i := w.last[rank]; i >= 0; i = w.previous[i] {
			f.token("", len(token))
			f.buf = append(f.buf, token...)
			w.hash.add(w.fields[i].canon)
		}
		if s.headers.over[rank] {
			f.token("", len(token))
			f.buf = append(f.buf, token...)
		}
	}
	f.buf[len(f.buf)-1] = ';' // instead of the last name's colon
}

var fieldName = []byte("DKIM-Signature")

// makeIntro returns what is the same in all fields of s.
func (s *signature) makeIntro() []byte {
	f := folder{buf: append([]byte{}, fieldName...)}
	f.buf = append(f.buf, ':')
	f.put(" ", "v=1;")
	f.put(" ", "a="+s.algorithm+"-sha256;")
	f.put(" ", "c=relaxed/relaxed;")
	f.put(" ", "d="+s.domain+";")
	f.put(" ", "s="+s.selector+";")
	if s.identity != "" {
		f.put(" ", "i="+s.identity+";")
	}
	return f.buf
}

// folder writes a header field in lines of at most 78 octets (RFC 5322 §2.1.1),
// as far as its tokens are short enough.
type folder struct {
	buf []byte
}

const lineLength = 78

func (f *folder) column() int {
	i := len(f.buf)
	for i > 0 && f.buf[i-1] != '\n' {
		i--
	}
	return len(f.buf) - i
}

// token makes room for n octets: after sep, or on a new line.
func (f *folder) token(sep string, n int) {
	if f.column()+len(sep)+n > lineLength {
		f.buf = append(f.buf, "\r\n "...)
	} else {
		f.buf = append(f.buf, sep...)
	}
}

func (f *folder) put(sep, s string) {
	f.token(sep, len(s))
	f.buf = append(f.buf, s...)
}

func (f *folder) tagInt(tag string, n int64) {
	var digits [20]byte
	d := strconv.AppendInt(digits[:0], n, 10)
	f.token(" ", len(tag)+len(d)+1)
	f.buf = append(f.buf, tag...)
	f.buf = append(f.buf, d...)
	f.buf = append(f.buf, ';')
}

// base64 writes b in base64, which may be folded anywhere.
func (f *folder) base64(b []byte) {
	var text [1024]byte // RSA of 4096 bits needs 684
	for rest := base64.StdEncoding.AppendEncode(text[:0], b); len(rest) > 0; {
		room := lineLength - f.column()
		if room <= 0 {
			f.buf = append(f.buf, "\r\n "...)
			continue
		}
		n := min(room, len(rest))
		f.buf = append(f.buf, rest[:n]...)
		rest = rest[n:]
	}
}
