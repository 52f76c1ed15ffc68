package sender

import (
	"fmt"
	"strings"
)

// check judges the values by RFC 3461 §4.
func (d *DSN) check() error {
	if d == nil {
		return nil
	}
	seen := map[string]bool{}
	if d.Notify != "" {
		for _, v := range strings.Split(strings.ToUpper(d.Notify), ",") {
			known := v == "SUCCESS" || v == "FAILURE" || v == "DELAY" || v == "NEVER"
			if !known || seen[v] || (v == "NEVER" || seen["NEVER"]) && len(seen) > 0 {
				return fmt.Errorf(`Message.DSN.Notify %q: use "NEVER" or a list out of SUCCESS, FAILURE, DELAY (RFC 3461 §4.1)`, d.Notify)
			}
			seen[v] = true
		}
	}
	if r := strings.ToUpper(d.Return); r != "" && r != "FULL" && r != "HDRS" {
		return fmt.Errorf(`Message.DSN.Return %q: use "FULL" or "HDRS" (RFC 3461 §4.3)`, d.Return)
	}
	if len(d.EnvID) > 100 {
		return fmt.Errorf("Message.DSN.EnvID is longer than 100 characters (RFC 3461 §4.4)")
	}
	for _, c := range d.EnvID {
		if c < ' ' || c > '~' {
			return fmt.Errorf("Message.DSN.EnvID %q: use printable ASCII (RFC 3461 §4.4)", d.EnvID)
		}
	}
	return nil
}

// xtext encodes as RFC 3461 §4 has it.
func xtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c <= '~' && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}
