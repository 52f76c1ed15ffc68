package notice

import (
	"bytes"
	"flag"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

var update = flag.Bool("update", false, "write testdata anew")

var (
	born = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	now  = born.Add(26 * time.Hour)
)

const original = "From: Shop <shop@sender.example>\r\nTo: u@a.example\r\nSubject: Your order\r\n" +
	"Message-ID: <42@sender.example>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\nThank you.\r\n.\r\n--\r\nShop\r\n"

func report(action Action) *Report {
	return &Report{
		ID: "1a2b.notice@mail.sender.example", From: "postmaster@mail.sender.example", To: "bounces+42@sender.example", Date: now,
		Host: "mail.sender.example", EnvelopeID: "order 42+x=y", Arrival: born,
		Recipient: "u@a.example", Original: "u@a.example", Action: action, Tried: now,
		Mail: []byte(original), MaxReturn: 64 << 10,
	}
}

// refusal is a reply as the engine has it, with its class.
func refusal(r *Report, stage bounce.Stage, text string) *Report {
	r.Reply = bounce.ParseReply(text)
	r.Reply.Stage, r.Reply.Host = stage, "mx1.a.example"
	r.Class = bounce.Classify(r.Reply)
	return r
}

func local(r *Report, stage bounce.Stage, status bounce.Status, text string) *Report {
	r.Reply = bounce.Local(stage, status, text)
	r.Class = bounce.Classify(r.Reply)
	return r
}

// reports are those of testdata, by the names of the files.
func reports() map[string]*Report {
	full := refusal(report(Failed), bounce.StageBody, "552 5.3.4 message too big\n552 5.3.4 see https://a.example/help")
	full.Full = true
	eight := refusal(report(Failed), bounce.StageBody, "554 5.7.1 spam")
	eight.Full = true
	eight.Mail = []byte("From: Büro <shop@sender.example>\r\nMessage-ID: <42@sender.example>\r\n\r\nGrüße\r\n")
	delayed := refusal(report(Delayed), bounce.StageRcpt, "451 4.7.1 Greylisted, please try again in 300 seconds")
	delayed.RetryUntil = born.Add(5 * 24 * time.Hour)
	relayed := report(Relayed)
	relayed.Reply = bounce.Reply{Stage: bounce.StageBody, Code: 250, Status: bounce.Status{2, 0, 0}, Text: "queued as 1234", Host: "mx1.a.example"}
	utf8 := refusal(report(Failed), bounce.StageRcpt, "550 5.1.1 <jürgen+x@a.example> gibt es nicht")
	utf8.Recipient, utf8.Original = "jürgen+x@xn--bcher-kva.example", "jürgen+x@bücher.example"
	utf8.To, utf8.Mail = "büro@sender.example", []byte("From: büro@sender.example\r\nSubject: Grüße\r\nMessage-ID: <42@sender.example>\r\n\r\n")
	domain := local(report(Failed), bounce.StageDNS, bounce.StatusNoDomain, "no such domain")
	domain.Recipient, domain.Original = "u@xn--bcher-kva.example", "u@bücher.example"
	unsure := local(report(Failed), bounce.StageBody, bounce.StatusLost, "connection lost")
	unsure.Unsure, unsure.Reply.Host = true, "192.0.2.1"
	expired := refusal(report(Failed), bounce.StageRcpt, "452 4.2.2 mailbox full")
	expired.GivenUp, expired.Mail, expired.EnvelopeID = true, nil, ""
	return map[string]*Report{
		"refused":   refusal(report(Failed), bounce.StageRcpt, "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 Please try double-checking the recipient's email address."),
		"code-only": refusal(report(Failed), bounce.StageRcpt, "550"),
		"full":      full, "eight-bit": eight, "delayed": delayed, "relayed": relayed,
		"utf8": utf8, "no-domain": domain, "unsure": unsure, "expired": expired,
		"hostile": refusal(report(Failed), bounce.StageRcpt, "550 5.7.1 no\r\n\r\nFinal-Recipient: rfc822;victim@b.example\r\nAction: delivered\r\n"+
			"--=_x\r\n\x00\x1b[2J\u202e \xff\xfe "+strings.Repeat("y", 1500)+" Status: 2.0.0 Status : 2.0.0"),
	}
}

func TestGolden(t *testing.T) {
	for name, r := range reports() {
		got := r.Compose()
		file := filepath.Join("testdata", name+".eml")
		if *update {
			require.NoError(t, os.WriteFile(file, got, 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), name)
		require.Equal(t, got, r.Compose(), "the same each time")
	}
}

// TestParsedBack reads each notice with the parser of those who get it.
func TestParsedBack(t *testing.T) {
	for name, r := range reports() {
		t.Run(name, func(t *testing.T) { checkParsed(t, r) })
	}
}

// checkParsed compares what package bounce reads with what was to be said.
func checkParsed(t *testing.T, r *Report) {
	t.Helper()
	msg := r.Compose()
	rep, err := bounce.Parse(bytes.NewReader(msg))
	require.NoError(t, err)
	want := map[Action]bounce.ReportClass{Failed: bounce.Bounce, Delayed: bounce.Delayed, Relayed: bounce.Delivered}[r.Action]
	require.Equal(t, want, rep.Class)
	require.Equal(t, r.From, rep.From)
	require.Equal(t, []string{r.To}, rep.SentTo)
	require.Equal(t, r.Host, rep.ReportingMTA)
	require.Equal(t, r.EnvelopeID, rep.EnvelopeID)
	require.True(t, rep.ArrivalDate.Equal(r.Arrival))
	require.Equal(t, originalID(r.Mail), rep.MessageID)
	require.Len(t, rep.Recipients, 1)
	require.Empty(t, rep.Others)
	rc := rep.Recipients[0]
	require.Equal(t, r.Recipient, rc.Address)
	if r.Original != r.Recipient {
		require.Equal(t, r.Original, rc.Original)
	}
	fates := map[Action]bounce.Fate{Failed: bounce.FateFailed, Delayed: bounce.FateDelayed, Relayed: bounce.FateRelayed}
	require.Equal(t, fates[r.Action], rc.Fate)
	require.Equal(t, r.status(), rc.Status)
	require.Equal(t, r.diagnostic(), rc.Diagnostic)
	require.True(t, rc.LastAttempt.Equal(r.Tried))
	require.True(t, rc.WillRetryUntil.Equal(r.RetryUntil))
	require.Equal(t, r.Reply.Host, strings.Trim(rc.RemoteMTA, "[]"))
	if r.Action == Relayed {
		return
	}
	require.Equal(t, r.Reply.Code, rc.Reply.Code)
	require.Equal(t, r.Class.Category, rc.Class.Category)
	require.Equal(t, r.Class.Outcome(), rc.Class.Outcome())
}

// TestOtherReaders takes the notices apart with a strict MIME parser.
func TestOtherReaders(t *testing.T) {
	for name, r := range reports() {
		t.Run(name, func(t *testing.T) { checkMIME(t, r) })
	}
}

func checkMIME(t *testing.T, r *Report) {
	t.Helper()
	msg := r.Compose()
	checkWire(t, msg)
	_, err := mail.ReadMessage(bytes.NewReader(msg))
	require.NoError(t, err)
	e, err := message.Read(bytes.NewReader(msg))
	require.NoError(t, err)
	kind, params, err := e.Header.ContentType()
	require.NoError(t, err)
	require.Equal(t, "multipart/report", kind)
	require.Equal(t, "delivery-status", params["report-type"])
	require.Equal(t, "auto-replied", e.Header.Get("Auto-Submitted"))
	require.Equal(t, originalID(r.Mail), e.Header.Get("In-Reply-To"))
	var kinds, bodies []string
	for mr := e.MultipartReader(); ; {
		p, err := mr.NextPart()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		kind, _, err := p.Header.ContentType()
		require.NoError(t, err)
		body, err := io.ReadAll(p.Body)
		require.NoError(t, err)
		kinds, bodies = append(kinds, kind), append(bodies, string(body))
	}
	require.Equal(t, "text/plain", kinds[0])
	require.Contains(t, []string{"message/delivery-status", "message/global-delivery-status"}, kinds[1])
	require.Equal(t, 1, strings.Count(bodies[1], "\nFinal-Recipient: "))
	require.Equal(t, 1, strings.Count(bodies[1], "\nStatus: "))
	require.Equal(t, 1, strings.Count(strings.TrimRight(bodies[1], "\r\n"), "\r\n\r\n"), "one recipient")
	if len(r.Mail) == 0 {
		require.Len(t, kinds, 2)
		return
	}
	require.Len(t, kinds, 3)
	want := map[bool]string{true: string(r.Mail), false: string(headerOf(r.Mail))}[r.whole()]
	require.Equal(t, want, bodies[2])
}

// checkWire holds what must be true of a mail on the wire.
func checkWire(t *testing.T, msg []byte) {
	t.Helper()
	require.True(t, bytes.HasSuffix(msg, []byte("\r\n")))
	require.Equal(t, bytes.Count(msg, []byte("\n")), bytes.Count(msg, []byte("\r\n")))
	require.Equal(t, bytes.Count(msg, []byte("\r")), bytes.Count(msg, []byte("\r\n")))
	for line := range bytes.Lines(msg) {
		require.LessOrEqual(t, len(line), 1000)
		for _, c := range bytes.TrimSuffix(line, []byte("\r\n")) {
			require.True(t, c >= ' ' && c != 0x7f || c == '\t', "%q", line)
		}
	}
}

func TestReturned(t *testing.T) {
	big := original + strings.Repeat("x\r\n", 200)
	long := "From: a@b.example\r\nX-Long: " + strings.Repeat("y", 900) + "\r\n"
	huge := strings.Repeat(long, 10)
	for name, tt := range map[string]struct {
		mail, want, kind string
		change           func(*Report)
	}{
		"header by default":         {original, string(headerOf([]byte(original))), "text/rfc822-headers", nil},
		"whole if asked":            {original, original, "message/rfc822", func(r *Report) { r.Full = true }},
		"too large":                 {big, string(headerOf([]byte(original))), "text/rfc822-headers", func(r *Report) { r.Full, r.MaxReturn = true, 300 }},
		"large enough":              {big, big, "message/rfc822", func(r *Report) { r.Full, r.MaxReturn = true, len(big) }},
		"header of a delayed one":   {original, string(headerOf([]byte(original))), "text/rfc822-headers", func(r *Report) { r.Full, r.Action = true, Delayed }},
		"header of a delivered one": {original, string(headerOf([]byte(original))), "text/rfc822-headers", func(r *Report) { r.Full, r.Action = true, Relayed }},
		"long header, whole fields": {huge + "\r\nx\r\n", strings.Repeat(long, 4) + "From: a@b.example\r\n", "text/rfc822-headers", func(r *Report) { r.MaxReturn = 100 }},
		"no empty line":             {"From: a@b.example\r\n", "From: a@b.example\r\n", "text/rfc822-headers", nil},
	} {
		r := report(Failed)
		r.Mail = []byte(tt.mail)
		if tt.change != nil {
			tt.change(r)
		}
		part := r.mailPart()
		header, body, _ := strings.Cut(string(part), "\r\n\r\n")
		require.Equal(t, tt.want, body, name)
		require.Contains(t, header, "Content-Type: "+tt.kind+"\r\n", name)
	}
}

func TestOriginalID(t *testing.T) {
	for header, want := range map[string]string{
		"Message-ID: <a@b>\r\n":     "<a@b>",
		"message-id:\r\n <a@b>\r\n": "<a@b>",
		"X: y\r\n":                  "",
		"Message-ID: a@b\r\n":       "",
		"Message-ID: <a@b\r\n":      "",
		"Message-ID: <a b@c>\r\n":   "",
		"Message-ID: <ä@b>\r\n":     "",
		"Message-ID: <>\r\n":        "",
		"Message-ID: <" + strings.Repeat("a", 300) + ">\r\n": "",
		"no header": "",
	} {
		require.Equal(t, want, originalID([]byte(header+"\r\nMessage-ID: <body@b>\r\n")), header)
	}
}

func TestBoundaryIsNotInTheMail(t *testing.T) {
	r := report(Failed)
	r.Full = true
	first := r.boundary(nil)
	r.Mail = append(r.Mail, "--"+first+"\r\n"...)
	require.NotContains(t, string(r.header(r.boundary([][]byte{r.Mail}))), first)
	checkMIME(t, r)
}

func TestStatusDerived(t *testing.T) {
	for _, tt := range []struct {
		action         Action
		unsure, given  bool
		code           int
		status, wanted bounce.Status
	}{
		{action: Failed, code: 550, status: bounce.Status{5, 1, 1}, wanted: bounce.Status{5, 1, 1}},
		{action: Failed, code: 550, wanted: bounce.Status{5, 0, 0}},
		{action: Failed, code: 550, status: bounce.Status{2, 1, 1}, wanted: bounce.Status{5, 0, 0}},
		{action: Failed, code: 451, given: true, wanted: bounce.Status{4, 0, 0}},
		{action: Failed, given: true, wanted: bounce.StatusExpired},
		{action: Failed, unsure: true, wanted: bounce.StatusLost},
		{action: Failed, wanted: bounce.Status{5, 0, 0}},
		{action: Delayed, wanted: bounce.Status{4, 0, 0}},
		{action: Delayed, code: 421, wanted: bounce.Status{4, 0, 0}},
		{action: Relayed, code: 250, wanted: bounce.Status{2, 0, 0}},
		{action: Relayed, code: 250, status: bounce.Status{2, 1, 5}, wanted: bounce.Status{2, 1, 5}},
	} {
		r := Report{Action: tt.action, Unsure: tt.unsure, GivenUp: tt.given, Reply: bounce.Reply{Code: tt.code, Status: tt.status}}
		require.Equal(t, tt.wanted, r.status(), "%+v", tt)
	}
}

func TestRemote(t *testing.T) {
	for host, want := range map[string]string{
		"mx.a.example": "dns; mx.a.example", "192.0.2.1": "dns; [192.0.2.1]", "2001:db8::1": "dns; [IPv6:2001:db8::1]",
		"": "", "mx a": "", "mx\r\nX: y": "", "fe80::1%eth0": "", "mx;x": "",
	} {
		require.Equal(t, want, remote(host))
	}
}

func TestTyped(t *testing.T) {
	for _, tt := range []struct {
		addr   string
		global bool
		want   string
	}{
		{"u+x@a.example", false, "rfc822; u+x@a.example"},
		{"u@bücher.example", false, `utf-8; u@b\x{FC}cher.example`},
		{`ü+"\x=@a.example`, true, `utf-8; ü\x{2B}"\x{5C}x\x{3D}@a.example`},
		{"ü\r\n x@a", true, `utf-8; ü\x{0D}\x{0A}\x{20}x@a`},
		{"a\r\nb", false, "rfc822; a b"},
	} {
		require.Equal(t, tt.want, typed(tt.addr, tt.global))
	}
	require.Equal(t, "rfc822; "+strings.Repeat("?+", 106)+"?...", typed(strings.Repeat("ü+", 200), false), "longer than a line when encoded")
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		in    string
		first int
		want  []string
	}{
		{"", 10, []string{""}},
		{"one two", 10, []string{"one two"}},
		{"one two three", 8, []string{"one two", "three"}},
		{"one Status: three", 4, []string{"one Status:", "three"}},
		{"one Status : three", 4, []string{"one Status :", "three"}},
		{strings.Repeat("x: ", 500) + "end", 10, []string{strings.TrimSpace(strings.Repeat("x: ", 300))}},
	} {
		require.Equal(t, tt.want, fold(tt.in, tt.first), tt.in)
	}
}

func FuzzCompose(f *testing.F) {
	for _, r := range reports() {
		f.Add(r.Recipient, r.Original, r.Reply.Text, r.Reply.Host, r.EnvelopeID, r.Reply.Code, uint8(0))
	}
	f.Fuzz(func(t *testing.T, recipient, orig, text, host, envID string, code int, how uint8) {
		r := report([]Action{Failed, Delayed, Relayed}[how%3])
		r.Recipient, r.Original, r.EnvelopeID = recipient, orig, envID
		r.Reply = bounce.Reply{Code: code % 600, Text: text, Host: host}
		r.Unsure, r.GivenUp, r.Full = how&4 != 0, how&8 != 0, how&16 != 0
		checkMIME(t, r)
		rep, err := bounce.Parse(bytes.NewReader(r.Compose()))
		require.NoError(t, err)
		require.LessOrEqual(t, len(rep.Recipients)+len(rep.Others), 1)
		require.Equal(t, "<42@sender.example>", rep.MessageID)
		require.Equal(t, r.Host, rep.ReportingMTA)
		if _, err := mail.ParseAddress(recipient); err != nil || len(rep.Recipients) == 0 {
			return // without an address the parser looks for one in the words
		}
		fates := map[Action]bounce.Fate{Failed: bounce.FateFailed, Delayed: bounce.FateDelayed, Relayed: bounce.FateRelayed}
		require.Equal(t, fates[r.Action], rep.Recipients[0].Fate)
	})
}
