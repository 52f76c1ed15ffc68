package sink

import (
	"io"
	"net"
	"sync"
	"time"
)

// delay holds bytes back by half a round trip each way. It limits no
// throughput, loses nothing, and has no slow start. Its Read and Write belong
// to one goroutine.
type delay struct {
	nc   net.Conn
	half time.Duration
	in   chan piece // made and closed by receive
	out  chan piece // closed by Close, emptied by send
	rest []byte     // read from in, not yet handed out
	done sync.WaitGroup
}

// piece is what was read or written at once.
type piece struct {
	due time.Time
	b   []byte
}

// wait returns when the piece is due.
func (p piece) wait() { time.Sleep(time.Until(p.due)) }

// line is the length of a delay's queues: more pieces than any benchmark has
// under way in half a round trip.
const line = 4096

// newDelay delays nc by the round trip time rtt from now on. The client has
// seen its connect succeed in no time; as a real one takes a round trip and the
// server's first words another, they are held back for two.
func newDelay(nc net.Conn, rtt time.Duration) *delay {
	d := &delay{nc: nc, half: rtt / 2, in: make(chan piece, line), out: make(chan piece, line)}
	connected := time.Now()
	d.done.Go(d.receive)
	d.done.Go(func() { d.send(connected.Add(2 * rtt)) })
	return d
}

// receive runs until nc fails or is closed.
func (d *delay) receive() {
	defer close(d.in)
	for {
		b := make([]byte, 32<<10)
		n, err := d.nc.Read(b)
		if n > 0 {
			d.in <- piece{time.Now().Add(d.half), b[:n]}
		}
		if err != nil {
			return
		}
	}
}

// send writes pieces, none before notBefore, until Close. After a failed write
// it throws the rest away.
func (d *delay) send(notBefore time.Time) {
	piece{due: notBefore}.wait()
	var err error
	for p := range d.out {
		p.wait()
		if err == nil {
			_, err = d.nc.Write(p.b)
		}
	}
	d.nc.Close()
}

// Read implements io.Reader. Any failure of the connection is an io.EOF.
func (d *delay) Read(b []byte) (int, error) {
	if len(d.rest) == 0 {
		p, ok := <-d.in
		if !ok {
			return 0, io.EOF
		}
		p.wait()
		d.rest = p.b
	}
	n := copy(b, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// Write implements io.Writer. It never fails: the loss shows in Read.
func (d *delay) Write(b []byte) (int, error) {
	d.out <- piece{time.Now().Add(d.half), append([]byte(nil), b...)}
	return len(b), nil
}

// Close writes what is under way, closes the connection and returns when no
// goroutine is left.
func (d *delay) Close() error {
	close(d.out)
	for range d.in { // receive must not be stuck on a full queue
	}
	d.done.Wait()
	return nil
}
