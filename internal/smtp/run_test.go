package smtp

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each case is a whole session: transactions in, what is said on the wire,
// fates out.
func TestRun(t *testing.T) {
	const quit = "C: QUIT\nS: 221 bye\neof"
	msg := "Subject: x\r\n\r\nhi\r\n"
	tests := []struct {
		name   string
		memory Memory
		txs    []*Transaction
		script transcript
		fates  []string
		want   Memory
		fails  string // text of Run's error
	}{
		{
			name: "command by command without PIPELINING",
			txs:  []*Transaction{message(msg, "x@example.com", "y@example.com")},
			script: hello() + `
				C: MAIL FROM:<a@client.example>
				--
				S: 250 ok
				C: RCPT TO:<x@example.com>
				--
				S: 250 ok
				C: RCPT TO:<y@example.com>
				--
				S: 250 ok
				C: DATA
				--
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				--
				S: 250 2.0.0 queued as 17
				` + quit,
			fates: []string{"sent, sent"},
		},
		{
			name: "group, then raised to the chained form",
			txs:  []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com"), message(msg, "z@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				--
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				--
				S: 250 ok
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				C: DATA
				--
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<z@example.com>
				C: DATA
				--
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				--
				S: 250 ok
				` + quit,
			fates: []string{"sent", "sent", "sent"},
			want:  Memory{Form: FormChained},
		},
		{
			name: "BDAT, then chained",
			txs:  []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com"), message(msg, "z@example.com")},
			script: hello("PIPELINING", "CHUNKING", "SIZE 1000") + `
				C: MAIL FROM:<a@client.example> SIZE=18
				C: RCPT TO:<x@example.com>
				--
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				--
				S: 250 ok
				C: MAIL FROM:<a@client.example> SIZE=18
				C: RCPT TO:<y@example.com>
				--
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				C: MAIL FROM:<a@client.example> SIZE=18
				C: RCPT TO:<z@example.com>
				--
				S: 250 ok
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				--
				S: 250 ok
				` + quit,
			fates: []string{"sent", "sent", "sent"},
			want:  Memory{Form: FormChained},
		},
		{
			name:   "chained from the start, all refused in the middle of the chain",
			memory: Memory{Form: FormChained},
			txs:    []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com"), message(msg, "z@example.com")},
			script: hello("PIPELINING", "CHUNKING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				--
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				--
				S: 250 ok
				S: 250 ok
				S: 550 5.1.1 no such user
				C: RSET
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<z@example.com>
				--
				S: 250 ok
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				--
				S: 250 ok
				` + quit,
			fates: []string{"sent", "refused 550 rcpt", "sent"},
			want:  Memory{Form: FormChained},
		},
		{
			name:   "503 to what is chained behind the message, as Haraka",
			memory: Memory{Form: FormChained},
			txs:    []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com"), message(msg, "z@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				C: DATA
				S: 250 ok
				S: 503 bad sequence
				S: 503 bad sequence
				S: 503 bad sequence
				C: RSET
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<z@example.com>
				C: DATA
				--
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				--
				S: 250 ok
				` + quit,
			fates: []string{"sent", "not sent 503 mail", "sent"},
			want:  Memory{Form: FormGrouped, Settled: true},
		},
		{
			name: "503 to DATA of a group: command by command from then on",
			txs:  []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 503 5.5.1 slower
				C: RSET
				--
				S: 250 ok
				C: MAIL FROM:<a@client.example>
				--
				S: 250 ok
				C: RCPT TO:<y@example.com>
				--
				S: 250 ok
				C: DATA
				--
				S: 503 5.5.1 never
				` + quit,
			fates: []string{"not sent 503 data", "refused 503 data"},
			want:  Memory{Form: FormSerial, Settled: true},
		},
		{
			name:   "503 to each RCPT of a group steps down once",
			memory: Memory{Form: FormChained},
			txs:    []*Transaction{message(msg, "x@example.com", "y@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: RCPT TO:<y@example.com>
				C: DATA
				S: 250 ok
				S: 503 what
				S: 503 what
				S: 503 what
				` + quit,
			fates: []string{"not sent 503 rcpt, not sent 503 rcpt"},
			want:  Memory{Form: FormGrouped, Settled: true},
		},
		{
			name: "354 though all are refused: lone dot",
			txs:  []*Transaction{message(msg, "x@example.com", "y@example.com"), message(msg, "z@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: RCPT TO:<y@example.com>
				C: DATA
				S: 250 ok
				S: 550 5.1.1 unknown
				S: 450 4.2.1 busy
				S: 354 go
				C: .
				--
				S: 554 5.5.1 no recipients
				C: RSET
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<z@example.com>
				C: DATA
				S: 250 ok
				S: 550 5.7.1 no sender like this
				S: 503 RCPT first
				S: 503 RCPT first
				` + quit,
			fates: []string{"refused 550 rcpt, refused 450 rcpt", "refused 550 mail"},
		},
		{
			name: "some refused: the message goes to the others",
			txs:  []*Transaction{message(msg, "x@example.com", "y@example.com", "z@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: RCPT TO:<y@example.com>
				C: RCPT TO:<z@example.com>
				C: DATA
				S: 250 ok
				S: 550 5.1.1 unknown
				S: 251 will forward
				S: 450 4.2.0 greylisted
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				S: 250 ok
				` + quit,
			fates: []string{"refused 550 rcpt, sent, refused 450 rcpt"},
		},
		{
			name: "too many recipients",
			txs:  []*Transaction{message(msg, "a@e.example", "b@e.example", "c@e.example", "d@e.example", "e@e.example", "f@e.example")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<a@e.example>
				C: RCPT TO:<b@e.example>
				C: RCPT TO:<c@e.example>
				C: RCPT TO:<d@e.example>
				C: RCPT TO:<e@e.example>
				C: RCPT TO:<f@e.example>
				C: DATA
				S: 250 ok
				S: 452 4.3.1 short of disk
				S: 250 ok
				S: 452 4.5.3 too many
				S: 552 too many
				S: 452 4.2.2 mailbox full
				S: 451 4.5.3 too many
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				S: 250 ok
				` + quit,
			fates: []string{"refused 452 rcpt, sent, not sent 452 rcpt, not sent 552 rcpt, refused 452 rcpt, not sent 451 rcpt"},
		},
		{
			name: "DATA refused",
			txs:  []*Transaction{message(msg, "x@example.com", "y@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: RCPT TO:<y@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 550 no
				S: 451 4.7.1 later
				` + quit,
			fates: []string{"refused 451 data, refused 550 rcpt"},
		},
		{
			name:   "message refused, the next envelope is chained behind and wants RSET",
			memory: Memory{Form: FormChained},
			txs:    []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com"), message(msg, "z@example.com")},
			script: hello("PIPELINING", "CHUNKING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				S: 554 5.7.1 spam
				S: 503 nested MAIL
				S: 503 nested MAIL
				C: RSET
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<z@example.com>
				S: 250 ok
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				S: 250 ok
				` + quit,
			fates: []string{"refused 554 body", "not sent 503 mail", "sent"},
			want:  Memory{Form: FormChained},
		},
		{
			name:   "message refused, the next envelope is chained behind and accepted: no RSET",
			memory: Memory{Form: FormChained},
			txs:    []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com"), message(msg, "z@example.com")},
			script: hello("PIPELINING", "CHUNKING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				S: 554 5.7.1 spam
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<z@example.com>
				S: 250 ok
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				S: 500 5.5.2 this one not, though BDAT is known
				` + quit,
			fates: []string{"refused 554 body", "sent", "refused 500 body"},
			want:  Memory{Form: FormChained},
		},
		{
			name: "503 to MAIL that is not chained",
			txs:  []*Transaction{message(msg, "x@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 503 5.5.1 AUTH first
				S: 503 5.5.1 MAIL first
				S: 503 5.5.1 MAIL first
				` + quit,
			fates: []string{"refused 503 mail"},
		},
		{
			name: "message refused: RSET before the next",
			txs:  []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				S: 550 5.7.1 spam
				C: RSET
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				S: 250 ok
				` + quit,
			fates: []string{"refused 550 body", "sent"},
		},
		{
			name: "BDAT not known: close, DATA from then on",
			txs:  []*Transaction{message(msg, "x@example.com")},
			script: hello("PIPELINING", "CHUNKING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				S: 500 5.5.2 unknown command
				eof`,
			fates: []string{"not sent 500 body"},
			want:  Memory{NoBDAT: true},
			fails: "mx.example: body: 500 5.5.2 unknown command: server breaks the protocol (after the end of the message)",
		},
		{
			name:   "NoBDAT from memory",
			memory: Memory{NoBDAT: true},
			txs:    []*Transaction{message(".\r\n..x\r\nhi\r\n", "x@example.com")},
			script: hello("CHUNKING", "PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: ..
				C: ...x
				C: hi
				C: .
				S: 250 ok
				` + quit,
			fates: []string{"sent"},
			want:  Memory{NoBDAT: true},
		},
		{
			name: "421 to RCPT",
			txs:  []*Transaction{message(msg, "x@example.com", "y@example.com", "z@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: RCPT TO:<y@example.com>
				C: RCPT TO:<z@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 421 4.7.0 too fast
				C: QUIT
				eof`,
			fates: []string{"not sent 421 rcpt, refused 421 rcpt, not sent 421 rcpt"},
			fails: "mx.example: rcpt: 421 4.7.0 too fast (after RCPT)",
		},
		{
			name:   "421 to the message: it is refused, what is chained behind is not sent",
			memory: Memory{Form: FormChained},
			txs:    []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com")},
			script: hello("PIPELINING", "CHUNKING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				S: 421 4.3.2 shutting down
				C: QUIT
				eof`,
			fates: []string{"refused 421 body", "not sent 421 body"},
			want:  Memory{Form: FormChained},
			fails: "mx.example: body: 421 4.3.2 shutting down (after RCPT)",
		},
		{
			name: "421 right behind the answer to the message",
			txs:  []*Transaction{message(msg, "x@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				S: 250 ok
				S: 421 enough on this connection
				C: QUIT
				eof`,
			fates: []string{"sent"},
			fails: "mx.example: reset: 421 enough on this connection (before MAIL)",
		},
		{
			name: "RSET refused",
			txs:  []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com")},
			script: hello() + `
				C: MAIL FROM:<a@client.example>
				S: 250 ok
				C: RCPT TO:<x@example.com>
				S: 550 no
				C: RSET
				S: 502 what
				C: QUIT
				eof`,
			fates: []string{"refused 550 rcpt", "not sent 502 reset"},
			fails: "mx.example: reset: 502 what (before MAIL)",
		},
		{
			name: "2yz to DATA",
			txs:  []*Transaction{message(msg, "x@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 250 ok
				eof`,
			fates: []string{"not sent 250 data"},
			fails: "mx.example: data: 250 ok: server breaks the protocol (after RCPT)",
		},
		{
			name: "354 to the message: nobody knows",
			txs:  []*Transaction{message(msg, "x@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				S: 354 go
				eof`,
			fates: []string{"unknown 354 body"},
			fails: "mx.example: body: 354 go: server breaks the protocol (after the end of the message)",
		},
		{
			name: "replies out of turn before the message: it does not go",
			txs:  []*Transaction{message(msg, "x@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 354 go
				S: 250 queued
				eof`,
			fates: []string{"not sent 250 reset"},
			fails: "mx.example: reset: 250 queued: server speaks out of turn (after RCPT)",
		},
		{
			name: "codes differ within a reply",
			txs:  []*Transaction{message(msg, "x@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: DATA
				S: 250-ok
				S: 550 not ok
				eof`,
			fates: []string{"not sent 0 mail"},
			fails: "mx.example: mail: 4.5.0 server breaks the protocol: reply with codes 250 and 550 (after RCPT)",
		},
		{
			name: "server closes instead of answering the message",
			txs:  []*Transaction{message(msg, "x@example.com", "y@example.com")},
			script: hello("PIPELINING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				C: RCPT TO:<y@example.com>
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 550 5.1.1 unknown
				S: 354 go
				C: Subject: x
				C:
				C: hi
				C: .
				close`,
			fates: []string{"unknown 0 body, refused 550 rcpt"},
			fails: "mx.example: body: 4.4.2 server closed the connection (after the end of the message)",
		},
		{
			name:   "chained form on trial, server closes: stepped down",
			txs:    []*Transaction{message(msg, "x@example.com"), message(msg, "y@example.com"), message(msg, "z@example.com")},
			memory: Memory{},
			script: hello("PIPELINING", "CHUNKING") + `
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<x@example.com>
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				S: 250 ok
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<y@example.com>
				S: 250 ok
				S: 250 ok
				C: BDAT 18 LAST
				C: Subject: x
				C:
				C: hi
				C: MAIL FROM:<a@client.example>
				C: RCPT TO:<z@example.com>
				S: 250 ok
				close`,
			fates: []string{"sent", "sent", "not sent 0 mail"},
			want:  Memory{Form: FormGrouped, Settled: true},
			fails: "mx.example: mail: 4.4.2 server closed the connection (after RCPT)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.script, func(conn net.Conn) {
				o := options()
				o.Memory = tt.memory
				s, err := run(t, conn, o, tt.txs...)
				if tt.fails == "" {
					require.NoError(t, err)
				} else {
					require.EqualError(t, err, tt.fails)
				}
				s.Quit(context.Background())
				var got []string
				for _, tx := range tt.txs {
					got = append(got, fates(tx))
				}
				assert.Equal(t, tt.fates, got)
				assert.Equal(t, tt.want, s.Memory())
			})
		})
	}
}
