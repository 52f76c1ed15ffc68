package sink

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"time"
)

// counters are written by all connections.
type counters struct {
	messages, recipients, bytes, conns, maxOpen, bad atomic.Int64
	first, last                                      atomic.Int64 // Unix nanoseconds
	cpu                                              atomic.Int64 // of the process at reset
}

// opened counts a connection, when now so many are open.
func (c *counters) opened(open int64) {
	c.conns.Add(1)
	for most := c.maxOpen.Load(); open > most && !c.maxOpen.CompareAndSwap(most, open); {
		most = c.maxOpen.Load()
	}
}

// started notes the time of the first MAIL.
func (c *counters) started() {
	if c.first.Load() == 0 {
		c.first.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// delivered counts a message.
func (c *counters) delivered(rcpts, size int64) {
	c.messages.Add(1)
	c.recipients.Add(rcpts)
	c.bytes.Add(size)
	c.last.Store(time.Now().UnixNano())
}

func (c *counters) reset() {
	for _, v := range []*atomic.Int64{&c.messages, &c.recipients, &c.bytes, &c.conns, &c.maxOpen, &c.bad, &c.first, &c.last} {
		v.Store(0)
	}
	c.cpu.Store(processCPU())
}

func (c *counters) stats() Stats {
	return Stats{
		Messages:   c.messages.Load(),
		Recipients: c.recipients.Load(),
		Bytes:      c.bytes.Load(),
		Conns:      c.conns.Load(),
		MaxOpen:    c.maxOpen.Load(),
		Bad:        c.bad.Load(),
		Span:       time.Duration(max(0, c.last.Load()-c.first.Load())),
		CPU:        time.Duration(processCPU() - c.cpu.Load()),
	}
}

// processCPU is the processor time of this process in nanoseconds.
func processCPU() int64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// messageID finds the value of the Message-ID field, or "".
func messageID(content []byte) string {
	header, _, _ := bytes.Cut(content, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(name, []byte("Message-ID")) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
