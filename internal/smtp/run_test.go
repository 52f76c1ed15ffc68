package smtp

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// talk is a whole session: transactions in, what is said on the wire, fates out.
type talk struct {
	name   string
	memory Memory
	txs    []*Transaction
	script transcript
	fates  []string
	want   Memory
	fails  string // text of Run's error
}

const quit = "C: QUIT\nS: 221 bye\neof"

func (tt *talk) run(t *testing.T) {
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
}

// The forms, and how the session goes from one to the other.
func TestForms(t *testing.T) {
	for _, tt := range []talk{
		{
			name: "command by command without PIPELINING",
			txs:  []*Transaction{message(text1, "x@example.com", "y@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")},
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
			txs:    []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")},
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
			txs:    []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com")},
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
			txs:    []*Transaction{message(text1, "x@example.com", "y@example.com")},
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
			name: "BDAT not known: close, DATA from then on",
			txs:  []*Transaction{message(text1, "x@example.com")},
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
			name:   "chained form on trial, server closes: stepped down",
			txs:    []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")},
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
	} {
		t.Run(tt.name, tt.run)
	}
}
