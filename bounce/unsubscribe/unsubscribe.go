package unsubscribe

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/mail"
	"net/url"
	"strings"
	"time"
)

// Config sets up an Unsubscriber. URL, Secrets and Unsubscribe must be given.
type Config struct {
	// URL is where the Unsubscriber is reached, such as
	// "https://shop.example/unsubscribe". Tokens are added as its last element.
	// RFC 8058 §3.1 demands https.
	URL string

	// Mailto is an address for those whose mail program knows no other way
	// (RFC 2369 §3.2); the token stands in the subject, where Keyring.Find finds
	// it. "" = none.
	Mailto string

	// Secrets are as for NewKeyring.
	Secrets [][]byte

	// Lifetime is how long links work; 0 = for ever, which is best: some laws
	// demand months, and people keep mail for years.
	Lifetime time.Duration

	// Unsubscribe does it. It is called again when a recipient clicks twice.
	// After an error the recipient is asked to try again later.
	Unsubscribe func(ctx context.Context, r Request) error

	// Page shows the pages, from a Page as data. nil = a plain one in English.
	Page *template.Template

	// Policy is the Content-Security-Policy of the pages. "" = nothing but
	// inline styles and the page's own form. Own pages may need more.
	Policy string

	// Contact is shown where something went wrong: an address or a sentence.
	Contact string

	// Logger gets what Unsubscribe and Page fail with. nil = silent.
	Logger *slog.Logger
}

// Request is a recipient's wish.
type Request struct {
	Token
	Time     time.Time
	OneClick bool // by the mail provider's button (RFC 8058), else by the page's
}

// Unsubscriber makes the header fields of mails and handles the requests that
// they lead to. It may be used by many goroutines at once.
type Unsubscriber struct {
	cfg  Config
	keys *Keyring
	base string // URL with a slash at its end
}

// New makes an Unsubscriber. The error names all mistakes in cfg.
func New(cfg Config) (*Unsubscriber, error) {
	keys, err := NewKeyring(cfg.Secrets...)
	errs := []error{err, checkURL(cfg.URL), checkMailto(cfg.Mailto)}
	if cfg.Unsubscribe == nil {
		errs = append(errs, errors.New("unsubscribe: Unsubscribe is missing"))
	}
	if cfg.Lifetime < 0 {
		errs = append(errs, fmt.Errorf("unsubscribe: Lifetime %v is negative", cfg.Lifetime))
	}
	if strings.ContainsAny(cfg.Policy, "\r\n") {
		errs = append(errs, errors.New("unsubscribe: Policy has a line break"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Page == nil {
		cfg.Page = defaultPage
	}
	if cfg.Policy == "" {
		cfg.Policy = defaultPolicy
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Unsubscriber{cfg: cfg, keys: keys, base: strings.TrimSuffix(cfg.URL, "/") + "/"}, nil
}

// The bounds of the URLs' parts beside the token, in bytes: no line of the
// header may have more than 998 (RFC 5322 §2.1.1).
const (
	maxURL    = 300
	maxMailto = 254
)

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.ContainsAny(s, "#<>,\" ") || len(s) > maxURL || !isPrintable(s) {
		return fmt.Errorf("unsubscribe: URL %q: give an https URL without query and fragment, such as https://shop.example/unsubscribe", s)
	}
	return nil
}

func checkMailto(s string) error {
	if s == "" {
		return nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > maxMailto || !isPrintable(s) || strings.ContainsAny(s, "<>,\" ") {
		return fmt.Errorf("unsubscribe: Mailto %q: give a plain address, such as unsubscribe@shop.example", s)
	}
	return nil
}

// isPrintable reports whether s is printable ASCII.
func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Links are the ways to unsubscribe that one mail offers.
type Links struct {
	URL    string // for List-Unsubscribe, and for the link that people see in the mail
	Mailto string // mailto: URL, "" if Config.Mailto is
}

// Links makes those of a mail of a stream to a recipient. A stream "" ends all
// mail. The time starts Config.Lifetime.
func (u *Unsubscriber) Links(recipient, stream string, now time.Time) (Links, error) {
	t := Token{Address: recipient, Stream: stream}
	if u.cfg.Lifetime > 0 {
		t.Expires = now.Add(u.cfg.Lifetime)
	}
	text, err := u.keys.Seal(t)
	if err != nil {
		return Links{}, err
	}
	l := Links{URL: u.base + text}
	if u.cfg.Mailto != "" {
		l.Mailto = "mailto:" + strings.ReplaceAll(url.PathEscape(u.cfg.Mailto), "&", "%26") + "?subject=" + subjectWord + "%20" + text
	}
	return l, nil
}

// The names of the header fields, and the value of the second.
const (
	FieldUnsubscribe     = "List-Unsubscribe"           // RFC 2369 §3.2, RFC 8058 §3.1
	FieldUnsubscribePost = "List-Unsubscribe-Post"      // RFC 8058 §3.1
	OneClick             = "List-Unsubscribe=One-Click" // RFC 8058 §3.1
)

// Value is the value of the List-Unsubscribe field, on one line. The URL comes
// first: it is what senders prefer (RFC 2369 §3).
func (l Links) Value() string {
	if l.Mailto == "" {
		return "<" + l.URL + ">"
	}
	return "<" + l.URL + ">, <" + l.Mailto + ">"
}

// Headers gives both fields, folded and each ended by CRLF, to be put into the
// header of a mail as they are.
func (l Links) Headers() string {
	return FieldUnsubscribe + ": " + strings.ReplaceAll(l.Value(), ">, <", ">,\r\n <") + "\r\n" +
		FieldUnsubscribePost + ": " + OneClick + "\r\n"
}

// subjectWord is what the subject of a mail to Config.Mailto begins with.
const subjectWord = "unsubscribe"
