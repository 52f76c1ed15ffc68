package smtp

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

// What can't or needn't be asked is settled without a word on the wire.
func TestLocal(t *testing.T) {
	set := func(f func(*Transaction)) *Transaction {
		tx := message(text1, "x@example.com")
		f(tx)
		return tx
	}
	tests := []struct {
		name   string
		tx     *Transaction
		status bounce.Status
		text   string
	}{
		{"size", message(strings.Repeat("x", 100)+"\r\n", "x@example.com"), bounce.Status{5, 3, 4}, "message has 102 octets, the server takes 100"},
		{"8bit", message("caf\xc3\xa9\r\n", "x@example.com"), bounce.Status{5, 6, 3}, "message has 8-bit octets, the server does not take them"},
		{"utf8", set(func(tx *Transaction) { tx.UTF8 = true }), bounce.Status{5, 6, 7}, "message needs SMTPUTF8, the server does not offer it"},
		{"sender", set(func(tx *Transaction) { tx.From = "a@b>\r\nDATA" }), bounce.Status{5, 1, 7}, "sender address can't be sent"},
		{"recipient", set(func(tx *Transaction) { tx.Rcpts[0].Addr = "a@b>\r\nDATA" }), bounce.Status{5, 1, 3}, "recipient address can't be sent"},
		{"no recipient", set(func(tx *Transaction) { tx.Rcpts[0].Addr = "" }), bounce.Status{5, 1, 3}, "recipient address can't be sent"},
		{"8-bit recipient", set(func(tx *Transaction) { tx.Rcpts[0].Addr = "é@b" }), bounce.Status{5, 1, 3}, "recipient address can't be sent"},
		{"notify", set(func(tx *Transaction) { tx.Rcpts[0].Notify = "NEVER X=1" }), bounce.Status{5, 5, 4}, "DSN parameter can't be sent"},
		{"envid", set(func(tx *Transaction) { tx.EnvID = "a\r\n" }), bounce.Status{5, 5, 4}, "DSN parameter can't be sent"},
		{"no end", message("hi\n", "x@example.com"), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
		{"empty", message("", "x@example.com"), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
		{"no body", set(func(tx *Transaction) { tx.Body = nil }), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
		{"no headroom", set(func(tx *Transaction) { tx.Body.Start-- }), bounce.Status{5, 6, 0}, "message does not end in CRLF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, hello("SIZE 100")+"C: QUIT\nS: 221 bye\neof", func(conn net.Conn) {
				s, err := run(t, conn, options(), tt.tx)
				require.NoError(t, err)
				s.Quit(context.Background())
				want := bounce.Reply{Stage: bounce.StageLocal, Status: tt.status, Text: tt.text, Host: "mx.example"}
				assert.Equal(t, []Rcpt{{Addr: tt.tx.Rcpts[0].Addr, Notify: tt.tx.Rcpts[0].Notify, Fate: Refused, Reply: want, state: rcptSettled}}, tt.tx.Rcpts)
				assert.Equal(t, WireNothing, tt.tx.Wire)
			})
		})
	}
}

func TestParameters(t *testing.T) {
	tx := message("caf\xc3\xa9\r\n", "é@example.com", "y@example.com")
	tx.From, tx.UTF8, tx.Ret, tx.EnvID = "", true, "HDRS", "QQ1"
	tx.Rcpts[0].Notify, tx.Rcpts[0].ORcpt = "SUCCESS,FAILURE", "utf-8;x"
	play(t, hello("SIZE", "8BITMIME", "SMTPUTF8", "DSN", "LIMITS RCPTMAX=1")+`
		C: MAIL FROM:<> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ1
		S: 250 ok
		C: RCPT TO:<é@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;x
		S: 250 ok
		C: DATA
		S: 354 go
		C: café
		C: .
		S: 250 ok
		C: QUIT
		S: 221 bye
		eof`, func(conn net.Conn) {
		s, err := run(t, conn, options(), tx)
		require.NoError(t, err)
		s.Quit(context.Background())
		require.Equal(t, "sent, not sent 0 local", fates(tx))
		require.Equal(t, bounce.Status{4, 5, 3}, tx.Rcpts[1].Reply.Status)
		require.Equal(t, 1, s.MaxRcpts())
	})
	// DSN is not asked of a server that does not know it (RFC 3461 §4.1).
	tx = message(text1, "x@example.com")
	tx.Ret, tx.EnvID, tx.Rcpts[0].Notify, tx.Rcpts[0].ORcpt = "FULL", "1", "NEVER", "rfc822;x"
	play(t, hello("PIPELINING")+groupOf1+"S: 250 ok\nS: 550 no\nS: 503 no\neof", func(conn net.Conn) {
		s, err := run(t, conn, options(), tx)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}

// A transaction with more recipients than a group may have goes in groups, not
// chained.
func TestManyRecipients(t *testing.T) {
	many := message(text1)
	for range 300 {
		many.Rcpts = append(many.Rcpts, Rcpt{Addr: "x@example.com"})
	}
	script := hello("PIPELINING", "CHUNKING") + "C: MAIL~\nC: RCPT~\nS: 250 ok\nS: 250 ok\nC: BDAT~\nC: Subject: x\nC:\nC: hi\n--\nS: 250 ok\nC: MAIL~\n"
	replies := transcript("S: 250 ok\n")
	for i := range 300 {
		if i == maxGroup-1 || i == 2*maxGroup-1 {
			script += "--\n" + replies
			replies = ""
		}
		script += "C: RCPT~\n"
		replies += "S: 250 ok\n"
	}
	script += "--\n" + replies + "C: BDAT~\nC: Subject: x\nC:\nC: hi\nS: 250 ok\neof"
	play(t, script, func(conn net.Conn) {
		o := options()
		o.Memory.Form = FormChained
		s, err := run(t, conn, o, message(text1, "x@example.com"), many)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		for i := range many.Rcpts {
			require.Equal(t, Sent, many.Rcpts[i].Fate)
		}
	})
}

// A transaction that was taken for the chain and settled at once still comes
// back in its turn.
func TestLocalInChain(t *testing.T) {
	play(t, hello("PIPELINING", "CHUNKING")+"C: MAIL~\nC: RCPT~\nS: 250 ok\nS: 250 ok\nC: BDAT~\nC: Subject: x\nC:\nC: hi\n--\nS: 250 ok\neof", func(conn net.Conn) {
		o := options()
		o.Memory.Form = FormChained
		bad := message(text1, "<>")
		s, err := run(t, conn, o, message(text1, "x@example.com"), bad, &Transaction{Body: body(text1)})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.Equal(t, "refused 0 local", fates(bad))
	})
}
