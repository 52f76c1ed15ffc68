package sendertest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/sendertest"
)

// exchange writes input and returns everything that the server says until it closes.
func exchange(t *testing.T, s *sendertest.Sandbox, h *sendertest.Host, input string) string {
	t.Helper()
	nc := dial(t, s, h)
	_, err := io.WriteString(nc, input)
	require.NoError(t, err)
	output, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("reading: %v", err) // a reset, where the server closes early
	}
	return string(output)
}

// codes are the reply codes in what a server said.
func codes(output string) string {
	var list []string
	for line := range strings.Lines(output) {
		if len(line) > 3 && line[3] == ' ' {
			list = append(list, line[:3])
		}
	}
	return strings.Join(list, " ")
}

// start makes a sandbox in memory with one host.
func start(t *testing.T, b sendertest.Behavior) (*sendertest.Sandbox, *sendertest.Host) {
	s := sendertest.Start(t, sendertest.Options{Memory: true})
	return s, s.AddHost("mx.example.com", b)
}

const (
	ehlo     = "EHLO client.example.net\r\n"
	envelope = "MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\n"
)

func bdat(text, last string) string { return fmt.Sprintf("BDAT %d%s\r\n%s", len(text), last, text) }
