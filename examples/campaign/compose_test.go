package main

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFieldUse(t *testing.T) {
	for _, tc := range []struct {
		name, source string
		want         fieldUse
	}{
		{"none", "Hello", fieldUse{}},
		{"plain", "{{.a}} {{ .b | printf \"%s\" }}", fieldUse{"a": true, "b": true}},
		{"argument", `{{printf "%s" .a}} {{urlquery (printf "%s" .b)}}`, fieldUse{"a": true, "b": true}},
		{"if", "{{if .a}}{{.a}} {{.b}}{{else}}{{.c}}{{end}}", fieldUse{"a": false, "b": true, "c": true}},
		{"else if", "{{if .a}}{{.a}}{{else if .b}}{{.b}}{{end}}", fieldUse{"a": false, "b": false}},
		{"with", "{{with .a}}{{.}} {{$.b}}{{end}}", fieldUse{"a": false, "b": true}},
		{"or", `{{or .a "friend"}}`, fieldUse{"a": false}},
		{"if or", `{{if and .a (not .b)}}{{.a}}{{end}}`, fieldUse{"a": false, "b": false}},
		{"both", "{{if .a}}yes{{end}} {{.a}}", fieldUse{"a": true}},
		{"variable", "{{$x := .a}}{{$x}}", fieldUse{"a": true}},
		{"range", "{{range $i, $c := .a}}{{$i}}{{end}}", fieldUse{"a": true}},
		{"define", `{{define "x"}}{{.a}}{{end}}{{template "x" .}}`, fieldUse{"a": true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, use, err := newText("test", tc.source)
			require.NoError(t, err)
			require.Equal(t, tc.want, use)
			_, use, err = newHTML("test", tc.source)
			require.NoError(t, err)
			require.Equal(t, tc.want, use)
		})
	}
}

func TestTemplateErrors(t *testing.T) {
	for _, parse := range []func(name, source string) (template, fieldUse, error){newText, newHTML} {
		_, _, err := parse("-html mail.html", "line\n{{nonsense}}")
		require.ErrorContains(t, err, "-html mail.html:2")
		require.NotContains(t, err.Error(), "template: ")
	}
}

func testList(t *testing.T, lines ...string) *list {
	t.Helper()
	l, err := parseList("list.csv", strings.NewReader(strings.Join(lines, "\n")+"\n"), 0)
	require.NoError(t, err)
	require.NoError(t, l.check())
	return l
}

func TestCheckFields(t *testing.T) {
	l := testList(t, "email,first,city", "a@example.com,Ann,", "b@example.com,  ,Rome", "c@example.com,Cleo,Rome")
	require.NoError(t, l.checkFields(map[string]fieldUse{"-subject": {"email": true, "first": false, "city": false}}))
	err := l.checkFields(map[string]fieldUse{
		"-subject":        {"first": true, "nick": false},
		"-html mail.html": {"city": true},
	})
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 3, err)
	require.Contains(t, lines[0], "row 2 (a@example.com): city is empty, but -html mail.html needs it")
	require.Contains(t, lines[1], "row 3 (b@example.com): first is empty, but -subject needs it")
	require.Contains(t, lines[2], "-subject uses {{.nick}}, but list.csv has no such column, it has: email, first, city")
}

// testComposer makes a composer out of template sources; "" = none.
func testComposer(t *testing.T, l *list, subject, html, text, unsubscribe string) *composer {
	t.Helper()
	c := &composer{list: l, from: &netmail.Address{Name: "Zoë's Shop", Address: "news@shop.example"}, returnPath: "bounces@shop.example",
		date: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), id: "campaign1"}
	set := func(to *template, source string, parse func(name, source string) (template, fieldUse, error)) {
		if source == "" {
			return
		}
		var err error
		*to, _, err = parse("test", source)
		require.NoError(t, err)
	}
	set(&c.subject, subject, newText)
	set(&c.html, html, newHTML)
	set(&c.text, text, newText)
	set(&c.unsubscribe, unsubscribe, newText)
	return c
}

func render(t *testing.T, c *composer, i int) (string, *netmail.Message) {
	t.Helper()
	var b bytes.Buffer
	_, err := c.message(i).Content.WriteTo(&b)
	require.NoError(t, err)
	m, err := netmail.ReadMessage(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	return b.String(), m
}

func TestLetter(t *testing.T) {
	l := testList(t, "email,first,token", "ann@bücher.example,Änn <b>,a b&c")
	c := testComposer(t, l, "Hello {{.first}}", `<p title="{{.first}}">{{.first}}</p><a href="{{.unsubscribe}}">stop</a>`,
		"Hello {{.first}}, {{.unsubscribe}}\n", "https://shop.example/u?t={{urlquery .token}}")
	raw, m := render(t, c, 0)
	again, _ := render(t, c, 0)
	require.Equal(t, raw, again, "each attempt sends the same mail")

	decode := new(mime.WordDecoder)
	subject, err := decode.DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "Hello Änn <b>", subject)
	require.Equal(t, "<ann@xn--bcher-kva.example>", m.Header.Get("To"))
	require.Equal(t, "<campaign1.2@shop.example>", m.Header.Get("Message-Id"))
	require.Equal(t, "Mon, 02 Mar 2026 09:00:00 +0000", m.Header.Get("Date"))
	require.Equal(t, "<https://shop.example/u?t=a+b%26c>", m.Header.Get("List-Unsubscribe"))
	require.Equal(t, "List-Unsubscribe=One-Click", m.Header.Get("List-Unsubscribe-Post"))
	from, err := m.Header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, "Zoë's Shop", from[0].Name)

	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(m.Body, params["boundary"])
	require.Equal(t, "Hello Änn <b>, https://shop.example/u?t=a+b%26c\n", nextPart(t, parts, "text/plain"))
	require.Equal(t, `<p title="Änn &lt;b&gt;">Änn &lt;b&gt;</p><a href="https://shop.example/u?t=a&#43;b%26c">stop</a>`, nextPart(t, parts, "text/html"))
	_, err = parts.NextPart()
	require.ErrorIs(t, err, io.EOF)
}

func nextPart(t *testing.T, parts *multipart.Reader, kind string) string {
	t.Helper()
	part, err := parts.NextRawPart()
	require.NoError(t, err)
	got, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, kind, got)
	require.Equal(t, "UTF-8", params["charset"])
	require.Equal(t, "quoted-printable", part.Header.Get("Content-Transfer-Encoding"))
	body, err := io.ReadAll(quotedprintable.NewReader(part))
	require.NoError(t, err)
	return strings.ReplaceAll(string(body), "\r\n", "\n")
}

func TestLetterOfOnePart(t *testing.T) {
	_, m := render(t, testComposer(t, testList(t, "email", "ann@example.com"), "Hello", "", "Hello\n", ""), 0)
	require.Equal(t, "text/plain; charset=UTF-8", m.Header.Get("Content-Type"))
	require.Empty(t, m.Header.Get("List-Unsubscribe"))
}

// No field of the list may add a header field, whatever is in it.
func TestHeaderInjection(t *testing.T) {
	for _, tc := range []struct{ name, subject, unsubscribe, field, want string }{
		{"subject", "Hello {{.x}}", "", "Ann\r\nBcc: all@example.com", "-subject"},
		{"subject, CR", "Hello {{.x}}", "", "Ann\rBcc: all@example.com", "-subject"},
		{"empty subject", "{{.x}}", "", " ", "-subject: it is empty"},
		{"link", "Hello", "https://shop.example/{{.x}}", "\nX-Evil: 1", "-list-unsubscribe"},
		{"second link", "Hello", "https://shop.example/{{.x}}", ">, <https://evil.example/", "-list-unsubscribe"},
		{"no https", "Hello", "{{.x}}", "http://shop.example/", "-list-unsubscribe"},
		{"no URL", "Hello", "{{.x}}", "https://", "-list-unsubscribe"},
		{"not ASCII", "Hello", "https://shop.example/{{.x}}", "ü", "urlquery"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &list{name: "list.csv", columns: []string{"email", "x"}, rows: []row{{"ann@example.com", tc.field}}}
			c := testComposer(t, l, tc.subject, "", "Hello\n", tc.unsubscribe)
			_, err := c.message(0).Content.WriteTo(io.Discard)
			require.ErrorContains(t, err, "row 2")
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, c.tryAll(t.Context()), "row 2 (ann@example.com)")
		})
	}
}

// FuzzHeader looks for a merge field that changes which header fields there are.
func FuzzHeader(f *testing.F) {
	f.Add("Ann")
	f.Add("Ann\r\nBcc: all@example.com")
	f.Add("=?utf-8?q?=0D=0ABcc:_x?=")
	f.Add(strings.Repeat("long ", 40) + "ü\u2028")
	f.Fuzz(func(t *testing.T, field string) {
		l := &list{name: "list.csv", columns: []string{"email", "x"}, rows: []row{{"ann@example.com", field}}}
		c := testComposer(t, l, "Hello {{.x}}", "", "Hello\n", "https://shop.example/{{urlquery .x}}")
		var b bytes.Buffer
		if _, err := c.message(0).Content.WriteTo(&b); err != nil {
			return
		}
		m, err := netmail.ReadMessage(&b)
		require.NoError(t, err)
		names := []string{"Content-Transfer-Encoding", "Content-Type", "Date", "From", "List-Unsubscribe", "List-Unsubscribe-Post", "Message-Id", "Mime-Version", "Subject", "To"}
		require.Equal(t, names, sortedKeys(m.Header))
	})
}
