package msg

import (
	"bytes"
	"net/mail"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessage(t *testing.T) {
	seen := map[string]bool{}
	domains := map[string]bool{}
	for _, i := range []int{0, 1, 9, 10, 19, 20, 999_999} {
		var b bytes.Buffer
		n, err := Message(i).WriteTo(&b)
		require.NoError(t, err)
		require.EqualValues(t, b.Len(), n)
		require.InDelta(t, Size, b.Len(), Size/20)
		require.False(t, seen[b.String()], "every message is different")
		seen[b.String()] = true
		domains[Domain(i)] = true

		require.NotContains(t, b.String(), "\r\n.")
		for line := range bytes.SplitSeq(bytes.TrimSuffix(b.Bytes(), []byte("\r\n")), []byte("\r\n")) {
			require.LessOrEqual(t, len(line), 100)
			require.False(t, bytes.ContainsAny(line, "\r\n\x00"))
		}
		m, err := mail.ReadMessage(&b)
		require.NoError(t, err)
		require.Equal(t, "<"+Rcpt(i)+">", m.Header.Get("To"))
	}
	require.Len(t, domains, 5)
	require.Equal(t, "user19@d19.example", Rcpt(19))
	require.Equal(t, "user20@d00.example", Rcpt(20))
}
