package letter_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/letter"
)

var _ sender.Template = (*letter.Letter)(nil)

// plain is the least that a Letter needs.
func plain() letter.Config {
	return letter.Config{From: netmail.Address{Address: "news@shop.example"}, To: "{{.email}}", Subject: "News", Text: "Hello\n"}
}

func render(t *testing.T, cfg letter.Config, data any) (string, *netmail.Message) {
	t.Helper()
	l, err := letter.New(cfg)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, l.Execute(&b, data))
	m, err := netmail.ReadMessage(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	return b.String(), m
}

func TestTranscript(t *testing.T) {
	cfg := plain()
	cfg.From.Name = "Shop, Inc."
	cfg.ReplyTo = netmail.Address{Address: "help@shop.example"}
	cfg.ToName = "{{.first}}"
	cfg.Subject = "News  for {{.first}}"
	cfg.Text = "Hello {{.first}},\n{{.n}} of {{.total}}\n"
	cfg.HTML = "<p>{{.first}}\n"
	cfg.Unsubscribe = "https://shop.example/u/{{.token}}"
	cfg.UnsubscribeMailto = "mailto:u@shop.example?subject={{.token}}"
	cfg.Header = map[string]string{"X-Empty": "{{.none}}", "Feedback-ID": "{{.n}}:news:shop"}
	raw, _ := render(t, cfg, map[string]any{"email": "ann@example.com", "first": "Ann & Bob", "token": "t0", "n": int64(7), "total": 9.5, "none": nil})
	i := strings.Index(raw, "boundary=")
	require.Positive(t, i)
	require.Equal(t, strings.ReplaceAll(`Feedback-ID: 7:news:shop
List-Unsubscribe: <https://shop.example/u/t0>,
 <mailto:u@shop.example?subject=t0>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
MIME-Version: 1.0
Subject: News for Ann & Bob
From: "Shop, Inc." <news@shop.example>
To: "Ann & Bob" <ann@example.com>
Reply-To: <help@shop.example>
Content-Type: multipart/alternative;
 boundary=BOUNDARY

--BOUNDARY
Content-Transfer-Encoding: quoted-printable
Content-Type: text/plain; charset=UTF-8

Hello Ann & Bob,
7 of 9.5

--BOUNDARY
Content-Transfer-Encoding: quoted-printable
Content-Type: text/html; charset=UTF-8

<p>Ann &amp; Bob

--BOUNDARY--
`, "\n", "\r\n"), strings.ReplaceAll(raw, raw[i+9:i+49], "BOUNDARY"))
}

func TestNotASCII(t *testing.T) {
	cfg := plain()
	cfg.From = netmail.Address{Name: "Zoë's Shop", Address: "news@bücher.example"}
	cfg.ToName = "{{.first}}"
	cfg.Subject = "Grüße für {{.first}}, and a long subject that needs more than one line in the header of the mail"
	cfg.Header = map[string]string{"X-City": "{{.city}}"}
	raw, m := render(t, cfg, map[string]any{"email": "änn@Straße.example", "first": "Änn", "city": "Zürich"})
	require.Equal(t, "<änn@xn--strae-oqa.example>", raw[strings.Index(raw, "<änn"):][:len("<änn@xn--strae-oqa.example>")])
	decode := new(mime.WordDecoder)
	for name, want := range map[string]string{"Subject": "Grüße für Änn, and a long subject that needs more than one line in the header of the mail", "X-City": "Zürich"} {
		got, err := decode.DecodeHeader(m.Header.Get(name))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	from, err := m.Header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, []*netmail.Address{{Name: "Zoë's Shop", Address: "news@xn--bcher-kva.example"}}, from)
	to, err := m.Header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, "Änn", to[0].Name)
	for line := range strings.SplitSeq(raw, "\r\n") {
		require.LessOrEqual(t, len(line), 78)
	}
}

// What looks like an encoded-word is shown as it is.
func TestEncodedWord(t *testing.T) {
	cfg := plain()
	cfg.Subject = "{{.first}}"
	first := "=?utf-8?q?a=0D=0ABcc:_x@y.example?= " + strings.Repeat("Änn ", 30)
	_, m := render(t, cfg, map[string]any{"email": "ann@example.com", "first": first})
	got, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(first), got)
}

func TestNullAndMissing(t *testing.T) {
	cfg := plain()
	cfg.Subject = "News{{.first}}"
	cfg.Text = `Hello {{.first}}{{or (index . "nick") "you"}}{{if .first}}!{{end}}`
	cfg.HTML = `Hello {{.first}}{{or (index . "nick") "you"}}{{if .first}}!{{end}}`
	check := func(data any) {
		_, m := render(t, cfg, data)
		require.Equal(t, "News", m.Header.Get("Subject"))
		for _, p := range parts(t, m) {
			require.Equal(t, "Hello you", p.body)
		}
	}
	check(map[string]any{"email": "ann@example.com", "first": nil})
	cfg.AllowMissing = true
	check(map[string]any{"email": "ann@example.com"})
}

type bodyPart struct{ kind, body string }

func parts(t *testing.T, m *netmail.Message) []bodyPart {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	if kind != "multipart/alternative" {
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		require.NoError(t, err)
		return []bodyPart{{kind, string(body)}}
	}
	var out []bodyPart
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextPart() // undoes quoted-printable
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		require.NoError(t, err)
		body, err := io.ReadAll(p)
		require.NoError(t, err)
		out = append(out, bodyPart{kind, string(body)})
	}
}

func TestOnePart(t *testing.T) {
	cfg := plain()
	_, m := render(t, cfg, map[string]any{"email": "ann@example.com"})
	require.Equal(t, []bodyPart{{"text/plain", "Hello\r\n"}}, parts(t, m))
	cfg.Text, cfg.HTML = "", `<a href="https://shop.example/?q={{.q}}" title="{{.q}}">{{.q}}</a>`
	_, m = render(t, cfg, map[string]any{"email": "ann@example.com", "q": `"><script>`})
	require.Equal(t, []bodyPart{{"text/html", `<a href="https://shop.example/?q=%22%3e%3cscript%3e" title="&#34;&gt;&lt;script&gt;">&#34;&gt;&lt;script&gt;</a>`}}, parts(t, m))
}

func TestFuncs(t *testing.T) {
	cfg := plain()
	funcs := map[string]any{"shout": strings.ToUpper}
	cfg.Funcs, cfg.Subject, cfg.Text, cfg.HTML = funcs, "{{shout .email}}", "{{shout .email}}", "{{shout .email}}"
	_, m := render(t, cfg, map[string]any{"email": "ann@example.com"})
	require.Equal(t, "ANN@EXAMPLE.COM", m.Header.Get("Subject"))
	require.Equal(t, []bodyPart{{"text/plain", "ANN@EXAMPLE.COM"}, {"text/html", "ANN@EXAMPLE.COM"}}, parts(t, m))
}

// The data of one recipient cannot make an error of another's mail.
func TestErrors(t *testing.T) {
	ann := map[string]any{"email": "ann@example.com", "first": "Ann", "link": "https://shop.example/u", "mailto": "mailto:u@shop.example"}
	for _, tt := range []struct {
		name  string
		field string // of the data
		value any
		err   string
	}{
		{"missing", "first", nil, `letter: template: Text:1:8: executing "Text" at <.first>: map has no entry for key "first"`},
		{"line break in the subject", "first", "Ann\r\nBcc: all@example.com", `letter: Subject: "Ann\r\nBcc: all@example.com" has a line break or control character: a header field is one line`},
		{"lone CR", "first", "A\rB", `letter: Subject: "A\rB" has a line break or control character: a header field is one line`},
		{"NUL", "first", "A\x00B", `letter: Subject: "A\x00B" has a line break or control character: a header field is one line`},
		{"empty subject", "first", " ", "letter: Subject: it is empty"},
		{"not UTF-8", "first", "\xff", `letter: Subject: "\xff" is not valid UTF-8`},
		{"two addresses", "email", "ann@example.com, bob@example.com", `letter: To: "ann@example.com, bob@example.com" is no address: it must be like ann@example.com, and nothing else`},
		{"a name", "email", "Ann <ann@example.com>", `letter: To: "Ann <ann@example.com>" is no address: it must be like ann@example.com, and nothing else`},
		{"no address", "email", "", `letter: To: "" is no address: it must be like ann@example.com, and nothing else`},
		{"bad domain", "email", "ann@ex\u00adample\u2488.com", ""},
		{"http", "link", "http://shop.example", `letter: Unsubscribe: "http://shop.example": it must be a URL that begins with https: (RFC 8058 §3.1, RFC 2369 §3.2)`},
		{"no host", "link", "https:u", `letter: Unsubscribe: "https:u": it must be a URL that begins with https: (RFC 8058 §3.1, RFC 2369 §3.2)`},
		{"end of the brackets", "link", "https://shop.example/>,<http://evil.example", `letter: Unsubscribe: "https://shop.example/>,<http://evil.example": a URL has no such characters: write {{urlquery .field}} to encode a field`},
		{"URL not ASCII", "link", "https://shop.example/ä", `letter: Unsubscribe: "https://shop.example/ä": a URL has no such characters: write {{urlquery .field}} to encode a field`},
		{"long URL", "link", "https://shop.example/" + strings.Repeat("x", 900), ""},
		{"mailto", "mailto", "https://shop.example", `letter: UnsubscribeMailto: "https://shop.example": it must be a URL that begins with mailto: (RFC 8058 §3.1, RFC 2369 §3.2)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := plain()
			cfg.Subject, cfg.Text, cfg.Unsubscribe, cfg.UnsubscribeMailto = "{{.first}}", "Hello {{.first}}", "{{.link}}", "{{.mailto}}"
			l, err := letter.New(cfg)
			require.NoError(t, err)
			data := map[string]any{}
			for k, v := range ann {
				data[k] = v
			}
			require.NoError(t, l.Execute(io.Discard, data))
			if data[tt.field] = tt.value; tt.value == nil {
				delete(data, tt.field)
			}
			var b bytes.Buffer
			err = l.Execute(&b, data)
			require.Error(t, err)
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
			}
			require.Zero(t, b.Len())
		})
	}
}

func TestMistakes(t *testing.T) {
	_, err := letter.New(letter.Config{})
	require.EqualError(t, err, `letter: Config.From: "" is no address: it must be like ann@example.com, and nothing else
letter: Config.To is missing: give a template of the recipient's address, such as "{{.email}}"
letter: Config.Subject is missing: give a template, such as "News for {{.first}}"
letter: Config.Text and HTML are missing: give one, or both`)
	_, err = letter.New(letter.Config{
		From:              netmail.Address{Name: "Shop\r\nBcc: x", Address: "news@shop.example"},
		ReplyTo:           netmail.Address{Name: "Shop"},
		Funcs:             map[string]any{"n": 7, "a-b": strings.ToUpper},
		To:                "{{.email",
		ToName:            "{{nofunc}}",
		Subject:           "{{if}}",
		Text:              "{{end}}",
		Unsubscribe:       "http://shop.example/{{.token}}",
		UnsubscribeMailto: "u@shop.example",
		Header: map[string]string{"subject": "x", "Content-Language": "en", "X: y\r\nBcc": "z", "": "z", "X-A": "1", "x-a": "2",
			"X-B": "{{", "DKIM-Signature": "x"},
	})
	require.EqualError(t, err, `letter: Config.From: "Shop\r\nBcc: x" has a line break or control character: a header field is one line
letter: Config.ReplyTo: "" is no address: it must be like ann@example.com, and nothing else
letter: Config.Funcs["a-b"]: function name "a-b" is not a valid identifier: give a function with a name like an identifier that returns one value, or a value and an error
letter: Config.Funcs["n"]: value for n not a function: give a function with a name like an identifier that returns one value, or a value and an error
letter: Config.To: template: To:1: unclosed action
letter: Config.ToName: template: ToName:1: function "nofunc" not defined
letter: Config.Subject: template: Subject:1: missing value for if
letter: Config.Text: template: Text:1: unexpected {{end}}
letter: Config.Unsubscribe is "http://shop.example/{{.token}}": it must be a URL that begins with https:
letter: Config.UnsubscribeMailto is "u@shop.example": it must be a URL that begins with mailto:
letter: Config.Header[""]: a field's name has letters, digits and hyphens, up to 64
letter: Config.Header["Content-Language"]: leave it out: the Letter or the Sender writes this field, or it must not go out
letter: Config.Header["DKIM-Signature"]: leave it out: the Letter or the Sender writes this field, or it must not go out
letter: Config.Header["X-B"]: template: Header["X-B"]:1: unclosed action
letter: Config.Header["X: y\r\nBcc"]: a field's name has letters, digits and hyphens, up to 64
letter: Config.Header["subject"]: leave it out: the Letter or the Sender writes this field, or it must not go out
letter: Config.Header["x-a"] is there twice, in different case`)
}

// What html/template says only when it is executed, New says; nothing is executed.
func TestHTMLMistakes(t *testing.T) {
	cfg := plain()
	cfg.Funcs = map[string]any{"called": func() string { t.Error("called"); return "" }}
	cfg.HTML = `{{called}}<a href="{{.x}}`
	_, err := letter.New(cfg)
	require.ErrorContains(t, err, "letter: Config.HTML: html/template:HTML: ends in a non-text context")
	cfg.HTML = `{{called}}{{define "x"}}{{called}}{{end}}{{template "x"}}`
	_, err = letter.New(cfg)
	require.NoError(t, err)
	cfg.HTML = `{{template "none"}}`
	_, err = letter.New(cfg)
	require.ErrorContains(t, err, `letter: Config.HTML: html/template:HTML:1:11: no such template "none"`)
	cfg.HTML = `{{end}}`
	_, err = letter.New(cfg)
	require.ErrorContains(t, err, `letter: Config.HTML: template: HTML:1: unexpected {{end}}`)
}

// Many goroutines, one Letter, the same bytes.
func TestSameBytes(t *testing.T) {
	cfg := plain()
	cfg.HTML, cfg.Header = "<p>{{.first}}", map[string]string{"X-1": "{{.first}}", "X-2": "b", "X-3": "c", "X-4": "d"}
	data := map[string]any{"email": "ann@example.com", "first": "Ann"}
	want, _ := render(t, cfg, data)
	l, err := letter.New(cfg)
	require.NoError(t, err)
	var wait sync.WaitGroup
	var got [16]bytes.Buffer
	var errs [16]error
	for i := range got {
		wait.Go(func() { errs[i] = l.Execute(&got[i], data) })
	}
	wait.Wait()
	for i := range got {
		require.NoError(t, errs[i])
		require.Equal(t, want, got[i].String())
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	l, err := letter.New(plain())
	require.NoError(t, err)
	for after := range 2 {
		require.ErrorIs(t, l.Execute(&failing{after}, map[string]any{"email": "ann@example.com"}), io.ErrClosedPipe)
	}
}

// FuzzInjection: whatever the data, the mail has the fields and parts of the
// templates, and the data where it belongs.
func FuzzInjection(f *testing.F) {
	cfg := plain()
	cfg.ToName, cfg.Subject, cfg.Header = "{{.a}}", "{{.a}}", map[string]string{"X-A": "{{.a}}"}
	cfg.Text, cfg.HTML = "{{.b}}", "<p>{{.b}}"
	cfg.Unsubscribe = "https://shop.example/{{urlquery .a}}"
	l, err := letter.New(cfg)
	require.NoError(f, err)
	f.Add("ann@example.com", "Ann", "Hello")
	f.Add("ann@example.com\r\nBcc: x", "Ann\nX-B: 1", "\r\n--d6d5\r\n\r\n")
	f.Add(`"a\"b"@example.com`, `"Ann" <x@y>`, ".\r\n.\r\nQUIT")
	f.Add("ann@[192.0.2.1]", "=?utf-8?q?=0D=0A?=", "=3D=\r\n")
	f.Add("änn@bücher.example", strings.Repeat("Änn =?x ", 30), "\x00\r\r\n")
	f.Add("ann@example.com", " ", "<no value>")
	f.Fuzz(func(t *testing.T, email, a, b string) {
		data := map[string]any{"email": email, "a": a, "b": b}
		var out, again bytes.Buffer
		if l.Execute(&out, data) != nil {
			require.Zero(t, out.Len())
			return
		}
		require.NoError(t, l.Execute(&again, data))
		require.Equal(t, out.Bytes(), again.Bytes())
		m, err := netmail.ReadMessage(&out)
		require.NoError(t, err)
		allowed := map[string]bool{"From": true, "To": true, "Subject": true, "X-A": true, "Mime-Version": true,
			"Content-Type": true, "List-Unsubscribe": true, "List-Unsubscribe-Post": true}
		for name, values := range m.Header {
			require.True(t, allowed[name], name)
			require.Len(t, values, 1)
		}
		to, err := m.Header.AddressList("To")
		require.NoError(t, err)
		require.Len(t, to, 1)
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		require.NoError(t, err)
		require.Equal(t, shown(a), subject)
		got := parts(t, m)
		require.Len(t, got, 2)
		require.Equal(t, "text/plain", got[0].kind)
		require.Equal(t, "text/html", got[1].kind)
	})
}

// shown is what people see of a text in a header field.
func shown(s string) string {
	s = strings.TrimSpace(strings.ReplaceAll(s, "<no value>", ""))
	return strings.Join(strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == '\t' }), " ")
}

func BenchmarkExecute(b *testing.B) {
	cfg := plain()
	cfg.Subject = "News for {{.first}}"
	cfg.HTML = strings.Repeat(strings.Repeat("<p>This is a line of a mail of 30 kB in all.</p>\n", 50)+"<p>Hello {{.first}}</p>\n", 12)
	l, err := letter.New(cfg)
	require.NoError(b, err)
	data := map[string]any{"email": "ann@example.com", "first": "Ann"}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Execute(io.Discard, data); err != nil {
			b.Fatal(err)
		}
	}
}

// A mail for each customer out of what the shop's database has.
func Example() {
	l, err := letter.New(letter.Config{
		From:        netmail.Address{Name: "The Shop", Address: "news@shop.example"},
		To:          "{{.email}}",
		ToName:      "{{.first}}",
		Subject:     "{{.first}}, your points: {{.points}}",
		Text:        "Hello {{.first}},\n\nyou have {{.points}} points.\n",
		Unsubscribe: "https://shop.example/unsubscribe/{{.token}}",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// sender.Config{Templates: map[string]sender.Template{"points": l}} gives it to
	// a Sender, and a Message names it: Template: "points", Data: customer.
	var customer map[string]any
	if err := json.Unmarshal([]byte(`{"email": "ann@example.com", "first": "Ann", "points": 120, "token": "k7d2"}`), &customer); err != nil {
		fmt.Println(err)
		return
	}
	var b strings.Builder
	if err := l.Execute(&b, customer); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.ReplaceAll(b.String(), "\r", ""))
	// Output:
	// List-Unsubscribe: <https://shop.example/unsubscribe/k7d2>
	// List-Unsubscribe-Post: List-Unsubscribe=One-Click
	// MIME-Version: 1.0
	// Subject: Ann, your points: 120
	// From: "The Shop" <news@shop.example>
	// To: "Ann" <ann@example.com>
	// Content-Transfer-Encoding: quoted-printable
	// Content-Type: text/plain; charset=UTF-8
	//
	// Hello Ann,
	//
	// you have 120 points.
}
