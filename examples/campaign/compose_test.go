package main

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/letter"
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
		})
	}
}

func TestTemplateErrors(t *testing.T) {
	_, _, err := newText("-html mail.html", "line\n{{nonsense}}")
	require.ErrorContains(t, err, "-html mail.html:2")
	require.NotContains(t, err.Error(), "template: ")
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

func testComposer(t *testing.T, l *list, cfg letter.Config) *composer {
	t.Helper()
	cfg.From = netmail.Address{Name: "The Shop", Address: "news@shop.example"}
	c, err := newComposer(l, "bounces@shop.example", cfg)
	require.NoError(t, err)
	return c
}

// mailOf has that as its text.
func mailOf(text string) letter.Config { return letter.Config{Subject: "News", Text: text} }

func TestCompose(t *testing.T) {
	l := testList(t, "email,first,token", "ann@example.com,Änn <b>,a b&c")
	c := testComposer(t, l, letter.Config{Subject: "Hello {{.first}}", HTML: `<a href="{{.unsubscribe}}">stop</a>`,
		Text: "Hello {{.first}}, {{.unsubscribe}}\n", Unsubscribe: "https://shop.example/u?t={{urlquery .token}}"})
	mail, err := c.rendered(0)
	require.NoError(t, err)
	m, err := netmail.ReadMessage(bytes.NewReader(mail))
	require.NoError(t, err)
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "Hello Änn <b>", subject)
	require.Equal(t, "<ann@example.com>", m.Header.Get("To"))
	require.Equal(t, "<https://shop.example/u?t=a+b%26c>", m.Header.Get("List-Unsubscribe"))
	require.Equal(t, "List-Unsubscribe=One-Click", m.Header.Get("List-Unsubscribe-Post"))

	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{"Hello Änn <b>, https://shop.example/u?t=a+b%26c", `<a href="https://shop.example/u?t=a&#43;b%26c">stop</a>`} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		body, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(string(body)))
	}
}

// A result leads back to its row, in another process too.
func TestIndex(t *testing.T) {
	l := testList(t, "email,first", "ann@example.com,Ann", "bob@example.com,Bob")
	c := testComposer(t, l, letter.Config{Subject: "Hello", Text: "Hello"})
	again := testComposer(t, l, letter.Config{Subject: "Hello", Text: "Hello"})
	i, err := again.index(c.message(1))
	require.NoError(t, err)
	require.Equal(t, 1, i)
	for _, other := range []*composer{
		testComposer(t, l, letter.Config{Subject: "Hello you", Text: "Hello"}),
		testComposer(t, testList(t, "email,first", "ann@example.com,An", "nbob@example.com,Bob"), letter.Config{Subject: "Hello", Text: "Hello"}),
	} {
		_, err = other.index(c.message(1))
		require.Error(t, err)
	}
	for _, id := range []string{"", "x", c.id(), c.id() + "/", c.id() + "/1", c.id() + "/4", c.id() + "/x"} {
		_, err = c.index(&sender.Message{ID: id})
		require.ErrorContains(t, err, strconv.Quote(id))
	}
}

// A field that can't stand where the templates put it is told of beforehand.
func TestTryAll(t *testing.T) {
	for _, tc := range []struct{ name, subject, unsubscribe, field, want string }{
		{"subject", "Hello {{.x}}", "", "Ann\r\nBcc: all@example.com", "Subject"},
		{"empty subject", "{{.x}}", "", " ", "Subject"},
		{"link", "Hello", "https://shop.example/{{.x}}", "\nX-Evil: 1", "Unsubscribe"},
		{"second link", "Hello", "https://shop.example/{{.x}}", ">, <https://evil.example/", "urlquery"},
		{"no https", "Hello", "{{.x}}", "http://shop.example/", "https:"},
		{"template of the link fails", "Hello", "https://shop.example/{{slice .x 5}}", "abc", "-list-unsubscribe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &list{name: "list.csv", columns: []string{"email", "x"}, rows: []row{{"ann@example.com", tc.field}}}
			c := testComposer(t, l, letter.Config{Subject: tc.subject, Text: "Hello\n", Unsubscribe: tc.unsubscribe})
			err := c.tryAll(t.Context())
			require.ErrorContains(t, err, "row 2 (ann@example.com)")
			require.ErrorContains(t, err, tc.want)
			require.Error(t, c.letter.Execute(io.Discard, c.message(0).Data), "nor is it sent")
		})
	}
}
