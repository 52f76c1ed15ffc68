package letter_test

import (
	"context"
	"net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/letter"
	"github.com/volleymail/volley/sender/sendertest"
)

// A Letter through Submit: the header is complete once it is on the wire, and the
// data is what JSON kept of it. One that lacks a field fails alone.
func TestThroughSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := sendertest.Start(t, sendertest.Options{Memory: true})
		sandbox.AddHost("mx.example.com", sendertest.Behavior{Greylist: time.Minute})
		sandbox.AddDomain("example.com", "mx.example.com")
		cfg := plain()
		cfg.Subject, cfg.Text = "{{.points}} points", "{{range .items}}{{.name}}: {{.price}}\n{{end}}"
		l, err := letter.New(cfg)
		require.NoError(t, err)
		s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial,
			Queue: sendertest.NewQueue(), Templates: map[string]sender.Template{"points": l}})
		require.NoError(t, err)
		type item struct {
			Name  string  `json:"name"`
			Price float64 `json:"price"`
		}
		ctx := context.Background()
		require.NoError(t, s.Submit(ctx,
			&sender.Message{ID: "1", From: "b@shop.example", To: []string{"ann@example.com"}, Template: "points",
				Data: map[string]any{"email": "ann@example.com", "points": 12_000_000, "items": []item{{"Tea", 4.5}, {"Jam", 3}}}},
			&sender.Message{ID: "2", From: "b@shop.example", To: []string{"bob@example.com"}, Template: "points",
				Data: map[string]any{"email": "bob@example.com", "items": nil}}))
		n := 0
		for r := range s.Results(ctx) {
			s.Ack(r)
			if r.Message.ID == "2" {
				require.Equal(t, sender.Rejected, r.Outcome)
				require.ErrorContains(t, r.Err, `map has no entry for key "points"`)
			} else {
				require.Equal(t, sender.Sent, r.Outcome)
				require.Equal(t, 2, r.Attempts)
			}
			if n++; n == 2 {
				break
			}
		}
		require.NoError(t, s.Shutdown(ctx))
		got := sandbox.Messages()
		require.Len(t, got, 1)
		m, err := mail.ReadMessage(strings.NewReader(string(got[0].Data)))
		require.NoError(t, err)
		for _, field := range []string{"From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type"} {
			require.Len(t, m.Header[field], 1, field)
		}
		require.Equal(t, "12000000 points", m.Header.Get("Subject"))
		require.Equal(t, []bodyPart{{"text/plain", "Tea: 4.5\r\nJam: 3\r\n"}}, parts(t, m))
	})
}
