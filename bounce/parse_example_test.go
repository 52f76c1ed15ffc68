package bounce_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce"
)

func ExampleParse() {
	report, err := bounce.Parse(strings.NewReader(`From: MAILER-DAEMON@mx.example.net
To: bounces@example.com
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; jo@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <jo@example.org>: User unknown

--b
Content-Type: text/rfc822-headers

Message-ID: <4711@example.com>

--b--
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Class, report.ReportingMTA, report.MessageID)
	for _, rc := range report.Recipients {
		fmt.Println(rc.Address, rc.Status, rc.Reply.Code, rc.Class.Category, rc.Class.Action)
	}
	// Output:
	// bounce mx.example.net <4711@example.com>
	// jo@example.org 5.1.1 550 invalid-mailbox suppress
}

func ExampleParser_Parse() {
	parser := bounce.Parser{MaxSize: 1 << 20}
	report, err := parser.Parse(strings.NewReader(`From: jo@example.org
Subject: Automatic reply: Spring offers
Auto-Submitted: auto-replied

I am out of the office until Monday.
`))
	fmt.Println(report.Class, err)
	// Output: vacation <nil>
}

func ExampleHeader_Get() {
	h := bounce.Header{{Name: "Message-ID", Value: "<4711@example.com>"}}
	fmt.Println(h.Get("message-id"))
	// Output: <4711@example.com>
}

func ExampleFeedback_Unwanted() {
	fmt.Println((&bounce.Feedback{Type: "abuse"}).Unwanted(), (&bounce.Feedback{Type: "not-spam"}).Unwanted())
	// Output: true false
}

var (
	key = []byte("a secret of 16 octets or more")
	now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func ExampleNewCodec() {
	_, err := bounce.NewCodec(bounce.CodecConfig{Keys: [][]byte{[]byte("too short")}, Domain: "example.com"})
	fmt.Println(err)
	// Output: bounce: CodecConfig.Keys[0] has 9 octets, want 16 or more
}

func ExampleCodec_ReturnPath() {
	codec, err := bounce.NewCodec(bounce.CodecConfig{Keys: [][]byte{key}, Domain: "example.com", Streams: []string{"news"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := codec.ReturnPath(bounce.Ref{Campaign: "4711", Recipient: "83886", Stream: "news"}, now)
	fmt.Println(path, err)
	ref, err := codec.Open(path, now)
	fmt.Println(ref.Campaign, ref.Recipient, ref.Stream, err)
	_, err = codec.Open(path, now.AddDate(0, 3, 0))
	fmt.Println(err)
	// Output:
	// bounces+biiacuqsm4aupluomqnr6um6takjsjy@example.com <nil>
	// 4711 83886 news <nil>
	// bounce: token has expired
}

func ExampleCodec_Find() {
	codec, err := bounce.NewCodec(bounce.CodecConfig{Keys: [][]byte{key}, Domain: "example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := codec.Token(bounce.Ref{Campaign: "4711", Recipient: "83886"}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	// A complaint with every address redacted.
	report, err := bounce.Parse(strings.NewReader(`From: fbl@example.net
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
Version: 1

--b
Content-Type: text/rfc822-headers

CFBL-Feedback-ID: ` + token + `
To: redacted

--b--
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	ref, ok := codec.Find(report, now)
	fmt.Println(report.Class, len(report.Recipients), ref.Campaign, ref.Recipient, ok)
	// Output: complaint 0 4711 83886 true
}

func ExampleEncodeVERP() {
	path, _ := bounce.EncodeVERP("bounces@example.com", "jo@example.org")
	to, _ := bounce.DecodeVERP("bounces@example.com", path)
	fmt.Println(path, to)
	// Output: bounces+jo=example.org@example.com jo@example.org
}

func ExampleParseFeedbackID() {
	f, ok := bounce.ParseFeedbackID("autumn:news::volley1")
	fmt.Println(f.Names[0], f.Names[1], f.Sender, ok)
	// Output: autumn news volley1 true
}
