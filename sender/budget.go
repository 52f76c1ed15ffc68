package sender

// budget shares the connections of Config.MaxConns out to the sites. Owned by
// the scheduler.
type budget struct {
	s    *Sender
	free int
	held map[*site]int // connections of each site that has any
	none fifo[*dest]   // who waits at a site without a connection: they go first
	some fifo[*dest]   // who waits at a site that has one
}

// want asks for a connection for d: at once if one is free. Else a site with
// more than others is asked to give one back.
func (b *budget) want(d *dest) {
	switch {
	case b.free > 0:
		b.grant(d)
	case b.held[d.site] > 0:
		b.some.push(d)
	default:
		b.none.push(d)
		b.shed()
	}
	if b.free == 0 && !b.s.scarce.Load() && b.waiting() {
		b.s.scarce.Store(true)
		for st := range b.held {
			st.box.put(siteMsg{kind: siteWake}) // close what is idle
		}
	}
}

func (b *budget) waiting() bool { return b.none.len()+b.some.len() > 0 }

func (b *budget) grant(d *dest) {
	b.free--
	b.held[d.site]++
	d.site.box.put(siteMsg{kind: siteGrant, dest: d})
}

// release takes a connection back and gives it to who waits.
func (b *budget) release(d *dest) {
	b.free++
	if b.held[d.site]--; b.held[d.site] == 0 {
		delete(b.held, d.site)
	}
	b.next()
	if b.none.len() > 0 {
		b.shed()
	}
	b.s.scarce.Store(b.waiting())
}

// next grants a free connection to whoever is first in line.
func (b *budget) next() {
	for d, ok := b.none.pop(); ok; d, ok = b.none.pop() {
		if b.held[d.site] == 0 {
			b.grant(d)
			return
		}
		b.some.push(d) // it got one meanwhile
	}
	if d, ok := b.some.pop(); ok {
		b.grant(d)
	}
}

// shedSample is how many sites are looked at for one that has many.
const shedSample = 32

// shed asks a site with many connections to give one back.
func (b *budget) shed() {
	var most *site
	n := 0
	for st, held := range b.held { // in random order
		if most == nil || held > b.held[most] {
			most = st
		}
		if n++; n == shedSample {
			break
		}
	}
	if most != nil {
		most.box.put(siteMsg{kind: siteShed})
	}
}

// fifo is a queue of values.
type fifo[T any] struct {
	buf  []T
	head int
}

func (f *fifo[T]) len() int { return len(f.buf) - f.head }

func (f *fifo[T]) push(v T) { f.buf = append(f.buf, v) }

func (f *fifo[T]) pop() (v T, ok bool) {
	if f.head == len(f.buf) {
		return v, false
	}
	v, f.buf[f.head] = f.buf[f.head], v
	if f.head++; f.head*2 > len(f.buf) { // half is spent: move the rest down
		n := copy(f.buf, f.buf[f.head:])
		clear(f.buf[n:])
		f.buf, f.head = f.buf[:n], 0
	}
	return v, true
}
