package smtp

import "testing"

// How a session ends before its time.
func TestEnds(t *testing.T) {
	for _, tt := range []talk{
		{
			name: "421 to RCPT",
			txs:  []*Transaction{message(text1, "x@example.com", "y@example.com", "z@example.com")},
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
			txs:    []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com", "y@example.com")},
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
	} {
		t.Run(tt.name, tt.run)
	}
}
