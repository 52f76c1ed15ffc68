package sender_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/wneessen/go-mail"
)

func TestEnvelopeParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{With: sendertest.DSN})
		old := sb.AddHost("mx.old.example", sendertest.Behavior{Without: sendertest.SMTPUTF8 | sendertest.EightBitMIME})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("bücher.example", "mx.a.example")
		sb.AddDomain("old.example", "mx.old.example")
		s := start(t, config(sb))
		eight := "From: a@sender.example\r\n\r\nsch\u00f6n\r\n"
		send := func(m *sender.Message) sender.Result { return s.SendAll(context.Background(), m)[0] }

		r := send(&sender.Message{From: "a@sender.example", To: []string{"u@a.example"}, Content: text(eight),
			DSN: &sender.DSN{Notify: "failure,delay", Return: "hdrs", EnvID: "a=b"}})
		require.NoError(t, r.Err)
		r = send(&sender.Message{From: "", To: []string{"u@BÜCHER.example"}, Content: text("From: a@sender.example\r\n\r\n")})
		require.NoError(t, r.Err)
		r = send(&sender.Message{From: "a@sender.example", To: []string{"jürgen@a.example"}, Content: text("From: a@sender.example\r\n\r\n")})
		require.NoError(t, r.Err)
		got := h.Messages()
		require.Contains(t, got[0].MailOptions, "BODY=8BITMIME")
		require.Contains(t, got[0].MailOptions, "RET=HDRS")
		require.Contains(t, got[0].MailOptions, "ENVID=a+3Db")
		require.Equal(t, []string{"NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;u@a.example"}, got[0].RcptOptions[0])
		require.Empty(t, got[1].From)
		require.Equal(t, []string{"u@xn--bcher-kva.example"}, got[1].Rcpts)
		require.NotContains(t, got[1].MailOptions, "SMTPUTF8", "a domain in A-labels does not need it")
		require.Contains(t, got[2].MailOptions, "SMTPUTF8")

		for _, m := range []*sender.Message{
			{To: []string{"jürgen@old.example"}, Content: text("From: a@sender.example\r\n\r\n")},
			{To: []string{"u@old.example"}, Content: text(eight)},
		} {
			r = send(m)
			require.Equal(t, sender.Rejected, r.Outcome)
			require.Zero(t, r.Reply.Code)
			require.Contains(t, []string{"5.6.7", "5.6.3"}, r.Reply.Status.String())
		}
		shutdown(t, s)
		requireClean(t, h, old)
	})
}

func TestFromMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddHost("mx.b.example", sendertest.Behavior{Greylist: time.Minute})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		m := mail.NewMsg()
		require.NoError(t, m.From("Shop <shop@sender.example>"))
		require.NoError(t, m.EnvelopeFrom("bounce@sender.example"))
		require.NoError(t, m.To("one@a.example"))
		require.NoError(t, m.Bcc("two@b.example"))
		m.Subject("Grüße")
		m.SetBodyString(mail.TypeTextPlain, "Schöne Grüße")
		m.AddAlternativeString(mail.TypeTextHTML, "<p>Schöne Grüße</p>")
		msg, err := sender.FromMail(m)
		require.NoError(t, err)
		s := start(t, config(sb))
		results := s.SendAll(context.Background(), msg)
		require.Equal(t, 2, count(results)[sender.Sent], "%v", results[0].Err)
		got := sb.Messages()
		require.Len(t, got, 2)
		require.Equal(t, field(string(got[0].Data), "Message-ID"), field(string(got[1].Data), "Message-ID"))
		require.Equal(t, field(string(got[0].Data), "Date"), field(string(got[1].Data), "Date"))
		require.Equal(t, "bounce@sender.example", got[0].From)
		require.NotContains(t, string(got[1].Data), "two@b.example")
		shutdown(t, s)
	})
	_, err := sender.FromMail(nil)
	require.ErrorContains(t, err, "nil")
	m := mail.NewMsg()
	_, err = sender.FromMail(m)
	require.ErrorContains(t, err, "set From")
	require.NoError(t, m.From("a@sender.example"))
	_, err = sender.FromMail(m)
	require.ErrorContains(t, err, "set To")
}

// The added Message-ID and Date stay the same over attempts, and differ
// between messages.
func TestMessageIDOverAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		var ids []string
		sb.AddHost("mx.a.example", sendertest.Behavior{Message: func(m *sendertest.Message) *sendertest.Reply {
			ids = append(ids, field(string(m.Data), "Message-ID")+" "+field(string(m.Data), "Date"))
			if len(ids)%2 == 1 {
				return sendertest.Answer("451 4.3.0 Not now")
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		s := start(t, config(sb))
		for range 2 {
			r := s.SendAll(context.Background(), letter("u@a.example"))
			require.NoError(t, r[0].Err)
		}
		shutdown(t, s)
		require.Len(t, ids, 4)
		require.Equal(t, ids[0], ids[1])
		require.Equal(t, ids[2], ids[3])
		require.NotEqual(t, strings.Fields(ids[0])[0], strings.Fields(ids[2])[0])
	})
}
