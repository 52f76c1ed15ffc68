package unsubscribe

import (
	"context"
	"net/mail"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func never(context.Context, Request) error { panic("not asked for") }

func config() Config {
	return Config{URL: "https://shop.example/u", Mailto: "unsubscribe@shop.example", Secrets: [][]byte{secret(1)}, Unsubscribe: never}
}

func newUnsubscriber(t testing.TB, cfg Config) *Unsubscriber {
	t.Helper()
	u, err := New(cfg)
	require.NoError(t, err)
	return u
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Config{Lifetime: -1, Policy: "a\r\nb", Mailto: "x"})
	for _, want := range []string{"secret", "URL", "Mailto", "Unsubscribe is missing", "Lifetime", "Policy"} {
		require.ErrorContains(t, err, want)
	}
	for _, bad := range []string{"http://shop.example/u", "https:///u", "https://shop.example/u?x=1", "https://shop.example/u?", "https://shop.example/u#x", "https://me@shop.example/",
		"https://shop.example/a b", "https://shop.example/>,<", "https://shop.example/ü", "shop.example/u", "https://shop.example/" + strings.Repeat("x", 300)} {
		cfg := config()
		cfg.URL = bad
		_, err := New(cfg)
		require.ErrorContains(t, err, "URL", bad)
	}
	for _, bad := range []string{"Shop <u@shop.example>", "u@shop.example>", "u", "u@shop.example\r\nX: y", "ü@shop.example", `"a b"@shop.example`} {
		cfg := config()
		cfg.Mailto = bad
		_, err := New(cfg)
		require.ErrorContains(t, err, "Mailto", bad)
	}
}

func TestLinks(t *testing.T) {
	for _, base := range []string{"https://shop.example", "https://shop.example/u/", "https://shop.example:8443/a/b"} {
		cfg := config()
		cfg.URL = base
		cfg.Lifetime = time.Hour
		u := newUnsubscriber(t, cfg)
		l, err := u.Links("ann@example.com", "news", noon)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(l.URL, strings.TrimSuffix(base, "/")+"/"))
		parsed, err := url.Parse(l.URL)
		require.NoError(t, err)
		token, err := u.keys.Open(parsed.Path[strings.LastIndexByte(parsed.Path, '/')+1:], noon)
		require.NoError(t, err)
		require.Equal(t, Token{Address: "ann@example.com", Stream: "news", Expires: noon.Add(time.Hour)}, token)

		mailto, err := url.Parse(l.Mailto)
		require.NoError(t, err)
		require.Equal(t, "mailto", mailto.Scheme)
		require.Equal(t, "unsubscribe@shop.example", mailto.Opaque)
		subject := mailto.Query().Get("subject")
		require.True(t, strings.HasPrefix(subject, "unsubscribe "))
		for _, s := range []string{subject, "Re: " + subject, "Fwd: [list] " + subject + " please"} {
			found, err := u.keys.Find(s, noon)
			require.NoError(t, err)
			require.Equal(t, token, found)
		}
		_, err = u.keys.Find(subject, noon.Add(time.Hour))
		require.ErrorIs(t, err, ErrExpired)
		_, err = u.keys.Find("unsubscribe", noon)
		require.ErrorIs(t, err, ErrToken)
	}
	_, err := newUnsubscriber(t, config()).Links("", "", noon)
	require.Error(t, err)
}

func TestHeaders(t *testing.T) {
	cfg := config()
	cfg.URL = "https://shop.example/" + strings.Repeat("x", 270)
	cfg.Mailto = strings.Repeat("u", 64) + "@" + strings.Repeat("d", 60) + ".example"
	l, err := newUnsubscriber(t, cfg).Links(strings.Repeat("a", 308)+"@example.com", strings.Repeat("s", 100), noon)
	require.NoError(t, err)
	headers := l.Headers()
	for _, line := range strings.SplitAfter(headers, "\n") {
		require.LessOrEqual(t, len(line), 998)
		require.True(t, line == "" || strings.HasSuffix(line, "\r\n"))
	}
	m, err := mail.ReadMessage(strings.NewReader(headers + "\r\n"))
	require.NoError(t, err)
	require.Equal(t, "<"+l.URL+">, <"+l.Mailto+">", m.Header.Get(FieldUnsubscribe))
	require.Equal(t, l.Value(), m.Header.Get(FieldUnsubscribe))
	require.Equal(t, "List-Unsubscribe=One-Click", m.Header.Get(FieldUnsubscribePost))

	cfg.Mailto = ""
	l, err = newUnsubscriber(t, cfg).Links("ann@example.com", "", noon)
	require.NoError(t, err)
	require.Empty(t, l.Mailto)
	require.Equal(t, "List-Unsubscribe: <"+l.URL+">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", l.Headers())
}

func TestDefaultPage(t *testing.T) {
	for _, s := range []State{Ask, Done, Invalid, Expired, Failed, Misused} {
		var b strings.Builder
		require.NoError(t, defaultPage.Execute(&b, Page{State: s, Address: `<b>"ann"&`, Stream: "<i>news", Contact: "call <us>"}))
		page := b.String()
		require.NotContains(t, page, "<b>")
		require.NotContains(t, page, "<i>")
		require.NotContains(t, page, "<us>")
		require.Equal(t, s == Ask || s == Failed, strings.Contains(page, "<form"), s)
		require.Equal(t, s != Ask && s != Done, strings.Contains(page, "call &lt;us&gt;"), s)
		require.Contains(t, page, `<html lang="en">`)
		require.Equal(t, 1, strings.Count(page, "<h1>"))
		require.NotContains(t, page, "<script")
	}
}
