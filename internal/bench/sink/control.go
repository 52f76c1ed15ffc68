package sink

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Control runs a Sink at addr that is steered by lines: it writes the address
// as its first line, and then answers each "stats" and each "reset" read with
// the Stats as a line of JSON (those before the reset). The Sink ends with the
// input, so a process that runs it ends with the one that holds the other end.
func Control(in io.Reader, out io.Writer, addr string, o Options) error {
	s, err := Listen(addr, o)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := fmt.Fprintln(out, s.Addr); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		st := s.Stats()
		switch lines.Text() {
		case "stats":
		case "reset":
			s.Reset()
		default:
			return fmt.Errorf("sink: unknown word %q", lines.Text())
		}
		if err := json.NewEncoder(out).Encode(st); err != nil {
			return err
		}
	}
	return lines.Err()
}
