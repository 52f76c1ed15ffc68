//go:build !linux

package smtp

import "net"

// tcp does what only a TCP socket can, and here none of it is needed or known.
type tcp struct{}

func newTCP(net.Conn) tcp { return tcp{} }

func (tcp) quickAck() {}

func (tcp) silent() bool { return false }
