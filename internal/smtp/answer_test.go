package smtp

import "testing"

// What each answer means for the recipients and for what is said next.
func TestAnswers(t *testing.T) {
	for _, tt := range []talk{
		{
			name: "354 though all are refused: lone dot",
			txs:  []*Transaction{message(text1, "x@example.com", "y@example.com"), message(text1, "z@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com", "y@example.com", "z@example.com")},
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
			txs:  []*Transaction{message(text1, "a@e.example", "b@e.example", "c@e.example", "d@e.example", "e@e.example", "f@e.example")},
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
			txs:  []*Transaction{message(text1, "x@example.com", "y@example.com")},
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
			txs:    []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")},
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
			txs:    []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com"), message(text1, "z@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com")},
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
			txs:  []*Transaction{message(text1, "x@example.com"), message(text1, "y@example.com")},
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
	} {
		t.Run(tt.name, tt.run)
	}
}
