package notice

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

// TestSamples takes the replies that the rules of package bounce are tested with
// through a notice and back: they must mean the same then.
func TestSamples(t *testing.T) {
	for rule := range bounce.DefaultRules().All() {
		for _, sample := range rule.Samples {
			r := refusal(report(Failed), bounce.StageNone, sample)
			rep, err := bounce.Parse(bytes.NewReader(r.Compose()))
			require.NoError(t, err)
			require.Len(t, rep.Recipients, 1, sample)
			got := rep.Recipients[0]
			require.Equal(t, r.Class.Category, got.Class.Category, sample)
			require.Equal(t, r.Class.Outcome(), got.Class.Outcome(), sample)
			require.Equal(t, r.Reply.Code, got.Reply.Code, sample)
			require.Equal(t, r.status(), got.Status, sample)
		}
	}
}
