package sender_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// noticeWorld has recipients with all sorts of fates, and the server of the return
// path sender.example.
func noticeWorld(t *testing.T) *sendertest.Sandbox {
	sb := sendertest.Start(t, sendertest.Options{Memory: true})
	begin := time.Now()
	sb.AddHost("mx.sender.example", sendertest.Behavior{Recipient: func(to string) *sendertest.Reply {
		if strings.HasPrefix(to, "gone") {
			return sendertest.Answer("550 5.1.1 no such user")
		}
		return nil
	}})
	sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: func(to string) *sendertest.Reply {
		switch name, _, _ := strings.Cut(to, "@"); name {
		case "bad":
			return sendertest.Answer("550 5.1.1 no such user")
		case "late":
			if time.Since(begin) < 10*time.Hour {
				return sendertest.Answer("451 4.3.0 try again")
			}
		case "never":
			return sendertest.Answer("452 4.2.2 mailbox full")
		}
		return nil
	}})
	sb.AddHost("mx.dsn.example", sendertest.Behavior{With: sendertest.DSN})
	for _, d := range []string{"sender.example", "a.example", "dsn.example"} {
		sb.AddDomain(d, "mx."+d)
	}
	return sb
}

func receipt(to string, dsn *sender.DSN) *sender.Message {
	m := letter(to)
	m.Stream, m.DSN = "receipts", dsn
	return m
}

// noticesAt reads the notices that came to the return path.
func noticesAt(t *testing.T, sb *sendertest.Sandbox) (reports []*bounce.Report, at []time.Time) {
	t.Helper()
	for _, m := range sb.Messages() {
		if m.Host != "mx.sender.example" {
			continue
		}
		require.Empty(t, m.From, "the null return path")
		require.Equal(t, []string{"news@sender.example"}, m.Rcpts)
		rep, err := bounce.Parse(bytes.NewReader(m.Data))
		require.NoError(t, err)
		require.NotEmpty(t, rep.MessageID)
		reports, at = append(reports, rep), append(at, m.Time)
	}
	return reports, at
}

func TestNoticesToTheReturnPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := noticeWorld(t)
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.Streams = map[string]sender.Stream{"receipts": {Notices: &sender.Notices{}}, "news": {}}
		s := start(t, cfg)
		begin := time.Now()
		all := "SUCCESS,FAILURE,DELAY"
		silent := receipt("bad@a.example", &sender.DSN{Notify: "NEVER"})
		silent.ID = "silent"
		null := receipt("bad@a.example", nil)
		null.ID, null.From = "null", ""
		lost := receipt("bad@a.example", nil)
		lost.ID, lost.From = "lost", "gone@sender.example"
		news := letter("bad@a.example")
		news.ID, news.Stream = "news", "news"
		require.NoError(t, s.Submit(context.Background(), silent, null, lost, news,
			receipt("bad@a.example", &sender.DSN{EnvID: "order=1"}),
			receipt("ok@a.example", &sender.DSN{Notify: all}), receipt("ok2@a.example", nil),
			receipt("ok@dsn.example", &sender.DSN{Notify: all}),
			receipt("late@a.example", nil), receipt("never@a.example", &sender.DSN{Notify: "FAILURE"})))
		results := ends(t, s, 10+5) // five notices have results too
		require.Equal(t, sender.Rejected, results["notice/failure/bad@a.example/lost gone@sender.example"].Outcome)
		require.Equal(t, sender.Sent, results["notice/delay/late@a.example/late@a.example news@sender.example"].Outcome)
		shutdown(t, s)

		reports, at := noticesAt(t, sb)
		require.Len(t, reports, 4)
		got := map[string]bounce.ReportClass{}
		for i, rep := range reports {
			to := rep.Recipients[0].Address
			got[to] = rep.Class
			switch to {
			case "bad@a.example":
				require.Equal(t, "order=1", rep.EnvelopeID)
				require.Equal(t, "mx.a.example", rep.Recipients[0].RemoteMTA)
				require.Equal(t, bounce.InvalidMailbox, rep.Recipients[0].Class.Category)
			case "late@a.example":
				require.WithinDuration(t, begin.Add(4*time.Hour), at[i], 6*time.Minute)
				require.WithinDuration(t, begin.Add(5*24*time.Hour), rep.Recipients[0].WillRetryUntil, time.Second)
			case "never@a.example":
				require.Equal(t, bounce.MailboxFull, rep.Recipients[0].Class.Category)
				require.InDelta(t, 5*24, at[i].Sub(begin).Hours(), 6)
			}
		}
		require.Equal(t, map[string]bounce.ReportClass{"bad@a.example": bounce.Bounce, "ok@a.example": bounce.Delivered,
			"late@a.example": bounce.Delayed, "never@a.example": bounce.Bounce}, got)
	})
}

// What Handle gets goes nowhere else. The Message can be sent.
func TestNoticesHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := noticeWorld(t)
		cfg := queueConfig(sb, sendertest.NewQueue())
		notices := make(chan *sender.Notice, 10)
		cfg.Streams = map[string]sender.Stream{"receipts": {Notices: &sender.Notices{Delay: time.Hour, Handle: func(n *sender.Notice) {
			notices <- n
			panic("in the caller's code")
		}}}}
		s := start(t, cfg)
		require.NoError(t, s.Submit(context.Background(), receipt("bad@a.example", nil), receipt("late@a.example", nil)))
		results := ends(t, s, 2)
		require.Equal(t, sender.Sent, results["late@a.example late@a.example"].Outcome)
		require.Empty(t, sb.Messages()[1:], "no notice")
		close(notices)
		kinds := map[string]sender.NoticeKind{}
		for n := range notices {
			require.NotContains(t, kinds, n.Recipient, "told twice")
			require.Equal(t, n.Recipient, n.Original.ID)
			kinds[n.Recipient] = n.Kind
			require.NoError(t, s.SendAll(context.Background(), n.Message)[0].Err)
		}
		require.Equal(t, map[string]sender.NoticeKind{"bad@a.example": sender.NoticeFailure, "late@a.example": sender.NoticeDelay}, kinds)
		shutdown(t, s)
		reports, _ := noticesAt(t, sb)
		require.Len(t, reports, 2)
	})
}
