package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/admin"
	"github.com/volleymail/volley/sender/sendertest"
)

type text string

func (c text) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write([]byte(c))
	return int64(n), err
}

// TestSender administers a Sender: what is suspended waits and is listed with its
// last reply, what is canceled ends, what is resumed goes.
func TestSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := sendertest.Start(t, sendertest.Options{Memory: true})
		sandbox.AddHost("mx.example.com", sendertest.Behavior{Greylist: 10 * time.Minute})
		sandbox.AddDomain("example.com", "mx.example.com")
		s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Resolver: sandbox.Resolver(), Dial: sandbox.Dial,
			Queue: sendertest.NewQueue(), Streams: map[string]sender.Stream{"news": {}}})
		require.NoError(t, err)
		h := admin.Handler(s)
		post := func(path, body string) string {
			w := ask(h, http.MethodPost, path, body)
			require.Equal(t, http.StatusOK, w.Code, w.Body)
			return w.Body.String()
		}
		queued := func(query string) (list []map[string]any) {
			var page struct{ Recipients []map[string]any }
			require.NoError(t, json.Unmarshal(ask(h, http.MethodGet, "/queue?"+query, "").Body.Bytes(), &page))
			return page.Recipients
		}
		require.Contains(t, post("/suspend", `{"streams":["news"]}`), `"streams":["news"]`)
		for _, m := range []struct{ id, to, stream, campaign string }{
			{"1", "ann@example.com", "news", "spring"}, {"2", "bob@example.com", "news", "summer"}, {"3", "cleo@example.com", "", ""}} {
			require.NoError(t, s.Submit(context.Background(), &sender.Message{ID: m.id, From: "b@shop.example", To: []string{m.to},
				Stream: m.stream, Campaign: m.campaign, Content: text("From: b@shop.example\r\nSubject: x\r\n\r\nHello\r\n")}))
		}
		time.Sleep(time.Minute) // of the bubble
		require.Len(t, queued(""), 3)
		require.Len(t, queued("stream=news"), 2)
		greylisted := queued("recipient=cleo@example.com")
		require.Len(t, greylisted, 1)
		require.EqualValues(t, 1, greylisted[0]["attempts"])
		require.EqualValues(t, 451, greylisted[0]["last"].(map[string]any)["reply"].(map[string]any)["code"])

		require.Equal(t, "{}\n", post("/campaigns/spring/cancel", "{}"))
		require.Equal(t, `{"suspensions":[]}`+"\n", post("/resume", `{"streams":["news"]}`))
		ends := map[string]sender.Outcome{}
		for r := range s.Results(context.Background()) {
			s.Ack(r)
			if ends[r.Message.ID] = r.Outcome; len(ends) == 3 {
				break
			}
		}
		require.Equal(t, map[string]sender.Outcome{"1": sender.Canceled, "2": sender.Sent, "3": sender.Sent}, ends)
		require.Empty(t, queued(""))
		require.True(t, strings.HasPrefix(ask(h, http.MethodGet, "/snapshot", "").Body.String(), `{"time":"2000-01-01T`))
		require.NoError(t, s.Shutdown(context.Background()))
	})
}
