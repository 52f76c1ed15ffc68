package letter

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"maps"
	netmail "net/mail"
	"slices"
	"strings"
	texttemplate "text/template"
	"text/template/parse"

	"github.com/wneessen/go-mail"
)

// New makes a Letter. The error names all mistakes in cfg.
func New(cfg Config) (*Letter, error) {
	cfg.Funcs = maps.Clone(cfg.Funcs)
	c := compiler{cfg: &cfg}
	l := &Letter{from: c.address("From", cfg.From)}
	if cfg.ReplyTo != (netmail.Address{}) {
		l.replyTo = c.address("ReplyTo", cfg.ReplyTo)
	}
	c.checkFuncs()
	l.to = c.required("To", cfg.To, `a template of the recipient's address, such as "{{.email}}"`)
	l.toName = c.text("ToName", cfg.ToName)
	l.subject = c.required("Subject", cfg.Subject, "a template, such as \"News for {{.first}}\"")
	c.body(l)
	l.unsubscribe = c.url("Unsubscribe", cfg.Unsubscribe, "https")
	l.unsubscribeMailto = c.url("UnsubscribeMailto", cfg.UnsubscribeMailto, "mailto")
	c.header(l)
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	return l, nil
}

// compiler compiles templates and collects what is wrong.
type compiler struct {
	cfg  *Config
	errs []error
}

func (c *compiler) bad(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("letter: Config."+format, args...))
}

func (c *compiler) address(name string, a netmail.Address) *netmail.Address {
	checked, err := address(a)
	if err != nil {
		c.bad("%s: %w", name, err)
	}
	return checked
}

// checkFuncs turns the panic of text/template over a function into an error, and
// drops that one.
func (c *compiler) checkFuncs() {
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Funcs)) {
		func() {
			defer func() {
				if p := recover(); p != nil {
					c.bad("Funcs[%q]: %v: give a function with a name like an identifier that returns one value, or a value and an error", name, p)
					delete(c.cfg.Funcs, name)
				}
			}()
			texttemplate.New("").Funcs(texttemplate.FuncMap{name: c.cfg.Funcs[name]})
		}()
	}
}

func (c *compiler) option() string {
	if c.cfg.AllowMissing {
		return "missingkey=default"
	}
	return "missingkey=error"
}

// text compiles a plain template, nil for "".
func (c *compiler) text(name, source string) tmpl {
	if source == "" {
		return nil
	}
	t, err := texttemplate.New(name).Option(c.option()).Funcs(c.cfg.Funcs).Parse(source)
	if err != nil {
		c.bad("%s: %w", name, err)
		return nil
	}
	return t
}

func (c *compiler) required(name, source, remedy string) tmpl {
	if strings.TrimSpace(source) == "" {
		c.bad("%s is missing: give %s", name, remedy)
	}
	return c.text(name, source)
}

// body compiles the parts.
func (c *compiler) body(l *Letter) {
	if strings.TrimSpace(c.cfg.Text) == "" && strings.TrimSpace(c.cfg.HTML) == "" {
		c.bad("Text and HTML are missing: give one, or both")
	}
	if t := c.text("Text", c.cfg.Text); t != nil {
		l.parts = append(l.parts, part{mail.TypeTextPlain, t})
	}
	if c.cfg.HTML == "" {
		return
	}
	t, err := htmltemplate.New("HTML").Option(c.option()).Funcs(c.cfg.Funcs).Parse(c.cfg.HTML)
	if err == nil {
		err = escapes(t)
	}
	if err != nil {
		c.bad("HTML: %w", err)
	}
	l.parts = append(l.parts, part{mail.TypeTextHTML, t})
}

// escapes tells what html/template says only when a template is executed: that
// it cannot escape it. The execution stops at a first octet that it cannot write.
func escapes(t *htmltemplate.Template) error {
	t, err := t.Clone()
	if err != nil || t.Tree == nil {
		return err
	}
	first := &parse.TextNode{NodeType: parse.NodeText, Text: []byte("\n")}
	t.Tree.Root.Nodes = slices.Insert(t.Tree.Root.Nodes, 0, parse.Node(first))
	if e, ok := errors.AsType[*htmltemplate.Error](t.Execute(full{}, nil)); ok {
		return e
	}
	return nil
}

// full has no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// url compiles a template of a URL and checks what stands before its first field.
func (c *compiler) url(name, source, scheme string) tmpl {
	t, ok := c.text(name, source).(*texttemplate.Template)
	if !ok {
		return nil
	}
	first := ""
	if nodes := t.Root.Nodes; len(nodes) > 0 {
		if text, ok := nodes[0].(*parse.TextNode); ok {
			first = strings.TrimSpace(string(text.Text))
		}
	}
	if first != "" && !strings.HasPrefix(first, scheme+":") {
		c.bad("%s is %q: it must be a URL that begins with %s:", name, source, scheme)
	}
	return t
}

// taken are the fields that the Letter itself writes, or the Sender, or that
// must not go out. Those that begin with Content- and Resent- are too.
var taken = []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "MIME-Version",
	"List-Unsubscribe", "List-Unsubscribe-Post", "Return-Path", "Received", "DKIM-Signature"}

func (c *compiler) header(l *Letter) {
	var seen []string
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Header)) {
		lower := strings.ToLower(name)
		switch {
		case !isFieldName(name):
			c.bad("Header[%q]: a field's name has letters, digits and hyphens, up to 64", name)
			continue
		case contains(taken, name) || strings.HasPrefix(lower, "content-") || strings.HasPrefix(lower, "resent-"):
			c.bad("Header[%q]: leave it out: the Letter or the Sender writes this field, or it must not go out", name)
		case contains(seen, name):
			c.bad("Header[%q] is there twice, in different case", name)
		}
		seen = append(seen, name)
		if t := c.text(fmt.Sprintf("Header[%q]", name), c.cfg.Header[name]); t != nil {
			l.header = append(l.header, field{name, t})
		}
	}
}

// isFieldName is stricter than RFC 5322 §3.6.8.
func isFieldName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// contains compares without case.
func contains(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}
