package sendertest

import (
	"errors"
	"io"
	"net"
	"time"
)

// errCut says that a Behavior closed the connection.
var errCut = errors.New("sendertest: connection cut")

// wire is the server's end of a connection, beneath TLS: it counts bytes and
// cuts the connection where the Behavior says so. Owned by conn's goroutine;
// only Close may be called from elsewhere.
type wire struct {
	net.Conn
	cutRead, cutWrite int64 // bytes left until the cut; 0 = no cut, -1 = cut done
}

func (w *wire) Read(b []byte) (int, error) {
	if w.cutRead < 0 {
		w.Close()
		return 0, errCut
	}
	if w.cutRead > 0 {
		b = b[:min(int64(len(b)), w.cutRead)]
	}
	n, err := w.Conn.Read(b)
	w.cutRead = spend(w.cutRead, n)
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	if w.cutWrite < 0 {
		return 0, errCut
	}
	if w.cutWrite == 0 || int64(len(b)) < w.cutWrite {
		n, err := w.Conn.Write(b)
		w.cutWrite = spend(w.cutWrite, n)
		return n, err
	}
	n, err := w.Conn.Write(b[:w.cutWrite])
	w.cutWrite = -1
	w.Close()
	if err == nil {
		err = errCut
	}
	return n, err
}

func spend(left int64, n int) int64 {
	if left == 0 {
		return 0
	}
	if left -= int64(n); left == 0 {
		return -1
	}
	return left
}

// finish closes so that the client gets the last reply: a TCP socket closed
// with unread input would reset the connection and lose what was written.
func (w *wire) finish() {
	if tc, ok := w.Conn.(*net.TCPConn); ok && tc.CloseWrite() == nil {
		_ = tc.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, tc)
	}
	w.Close()
}
