package smtp

import (
	"net"
	"syscall"
)

// tcp does what only a TCP socket can. The zero tcp is no socket.
type tcp struct {
	raw syscall.RawConn
	ack func(fd uintptr) // made once: a closure for each call would be an allocation
}

func newTCP(c net.Conn) tcp {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return tcp{}
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return tcp{}
	}
	return tcp{raw: raw, ack: func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	}}
}

// quickAck acknowledges now what was received. The kernel would wait up to 40 ms
// for something to send along with it.
func (t tcp) quickAck() {
	if t.raw != nil {
		_ = t.raw.Control(t.ack)
	}
}

// silent reports that the socket is open and has nothing to read. False means
// that it may have.
func (t tcp) silent() bool {
	if t.raw == nil {
		return false
	}
	silent := false
	_ = t.raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = err == syscall.EAGAIN
	})
	return silent
}
