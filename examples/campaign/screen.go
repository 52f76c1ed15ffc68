package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// screen is the size of a terminal, in characters.
type screen struct{ width, height int }

// usual is the size of a terminal that does not say.
var usual = screen{80, 24}

// screenOf returns the size of the terminal that f is, nil if it is none.
func screenOf(f *os.File) *screen {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || info.Mode()&os.ModeDevice == 0 || os.Getenv("TERM") == "dumb" {
		return nil
	}
	s := usual
	if tty, err := os.Open("/dev/tty"); err == nil {
		defer tty.Close()
		s.ask(tty)
	}
	return &s
}

// ask leaves the size as it is if stty (POSIX) does not know.
func (s *screen) ask(tty *os.File) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stty := exec.CommandContext(ctx, "stty", "size")
	stty.Stdin = tty
	answer, err := stty.Output()
	if err != nil {
		return
	}
	var size screen
	if _, err := fmt.Sscan(string(answer), &size.height, &size.width); err == nil && size.height > 0 && size.width > 0 {
		*s = size
	}
}

// Terminal control (ECMA-48). Lines are not wrapped, even if the window gets
// narrower: what is drawn keeps its number of lines.
const (
	noWrap   = "\x1b[?7l"
	wrap     = "\x1b[?7h"
	lineEnd  = "\x1b[K\n"
	clearEnd = "\x1b[J"
)
