package sender_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

func TestSendDeliversToEachDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		a, b := sb.AddHost("mx.a.example", sendertest.Behavior{}), sb.AddHost("mx.b.example", sendertest.Behavior{Without: sendertest.Chunking})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("aa.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		s := start(t, config(sb))
		msgs := letters(50, "a.example", "aa.example", "b.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, map[sender.Outcome]int{sender.Sent: 150}, count(results))
		for i, r := range results {
			require.Equal(t, msgs[i], r.Message, "the order of SendAll")
		}
		require.Equal(t, 100, a.Stats().Accepted)
		require.Equal(t, 50, b.Stats().Accepted)
		shutdown(t, s)
		requireDelivered(t, sb, results)
		requireClean(t, a, b)
	})
}
