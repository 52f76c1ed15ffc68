package bounce

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReplies judges what servers of the world answer, whether the stage is
// known or not. Each line of testdata/replies.txt is
//
//	dead or living | accepted categories | host or "" | reply, its lines parted by \n
//
// Living says that the address must not be called dead by this reply.
func TestReplies(t *testing.T) {
	data, err := os.ReadFile("testdata/replies.txt")
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(data)) {
		items := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 4)
		if strings.HasPrefix(line, "#") || len(items) < 4 {
			continue
		}
		n++
		for _, stage := range []Stage{StageNone, StageRcpt} {
			r := ParseReply(strings.ReplaceAll(items[3], `\n`, "\r\n"))
			r.Stage, r.Host = stage, items[2]
			c := Classify(r)
			require.Contains(t, strings.Split(items[1], ","), c.Category.String(), "%s by %s", items[3], c.Rule)
			require.Equal(t, items[0] == "dead", c.Outcome() == Hard, "%s by %s", items[3], c.Rule)
		}
	}
	require.Greater(t, n, 400)
}
