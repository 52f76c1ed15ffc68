package sender_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender/sendertest"
)

// What goes back to the Queue is tried again when it is due, also if the Sender
// would look for other mail much later.
func TestDueBeforeTheNextLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		tries := 0
		sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: func(to string) *sendertest.Reply {
			if strings.HasPrefix(to, "soon") {
				if tries++; tries == 1 {
					return sendertest.Answer("451 4.3.0 try again")
				}
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		s := start(t, queueConfig(sb, sendertest.NewQueue()))
		far, soon := letter("far@a.example"), letter("soon@a.example")
		far.NotBefore = time.Now().Add(24 * time.Hour)
		require.NoError(t, s.Submit(context.Background(), far, soon))
		results := ends(t, s, 2)
		require.InDelta(t, 5, results[soon.ID+" "+soon.To[0]].Elapsed.Minutes(), 2)
		shutdown(t, s)
	})
}
