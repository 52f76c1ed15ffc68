package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/template"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/letter"
)

// composer makes the mail of each recipient. It does not change: many mails are
// written at once.
type composer struct {
	list       *list
	letter     *letter.Letter
	link       *template.Template // for one-click unsubscription, nil = none
	returnPath string
	listPrint  string // tells this list from others
	mailPrint  string // tells these templates from others
}

// The template of all messages, in Config.Templates.
const mailTemplate = "mail"

// unsubscribeField is the name of the link among the fields of a recipient.
const unsubscribeField = "unsubscribe"

// newComposer compiles the templates. The one of Unsubscribe has the fields of
// the row, all others have the link that it gives beside them.
func newComposer(l *list, returnPath string, cfg letter.Config) (*composer, error) {
	c := &composer{list: l, returnPath: returnPath, listPrint: l.print()}
	cfg.To = "{{." + emailColumn + "}}"
	c.mailPrint = fingerprint(cfg, returnPath)
	var errs [2]error
	if cfg.Unsubscribe != "" {
		c.link, _, errs[0] = newText("-list-unsubscribe", cfg.Unsubscribe)
		cfg.Unsubscribe = "{{." + unsubscribeField + "}}"
	}
	c.letter, errs[1] = letter.New(cfg)
	return c, errors.Join(errs[:]...)
}

// fingerprint is a short hash of values that JSON can write.
func fingerprint(values ...any) string {
	hash := sha256.New()
	for _, v := range values {
		if err := json.NewEncoder(hash).Encode(v); err != nil {
			panic(err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)[:6])
}

// id names the campaign: this list with these templates.
func (c *composer) id() string { return c.listPrint + "-" + c.mailPrint }

// message returns the envelope and the data of a recipient's mail. The mail
// itself is written when a connection is ready for it.
func (c *composer) message(i int) *sender.Message {
	data, _ := c.data(i) // tryAll has told of errors; the Letter refuses to write without the link
	return &sender.Message{
		ID:       c.id() + "/" + strconv.Itoa(c.list.number(i)),
		Campaign: c.id(),
		From:     c.returnPath,
		To:       []string{c.list.address(i)},
		Template: mailTemplate,
		Data:     data,
	}
}

// index returns the place in the list of a message that message made.
func (c *composer) index(m *sender.Message) (int, error) {
	campaign, number, _ := strings.Cut(m.ID, "/")
	n, err := strconv.Atoi(number)
	i := n - c.list.number(0)
	if err != nil || campaign != c.id() || i < 0 || i >= len(c.list.rows) {
		return 0, fmt.Errorf("a result of %q, which is no message of this campaign", m.ID)
	}
	return i, nil
}

// data returns the fields of a row and the link.
func (c *composer) data(i int) (map[string]string, error) {
	data := c.list.fields(i)
	if c.link == nil {
		return data, nil
	}
	var b strings.Builder
	err := c.link.Execute(&b, data)
	data[unsubscribeField] = strings.TrimSpace(b.String())
	if err != nil {
		data[unsubscribeField] = ""
		return data, templateError(err)
	}
	return data, nil
}

// compose writes the mail of a row.
func (c *composer) compose(w io.Writer, i int) error {
	data, err := c.data(i)
	if err != nil {
		return err
	}
	return c.letter.Execute(w, data)
}

// rendered returns the mail of a row.
func (c *composer) rendered(i int) ([]byte, error) {
	var b bytes.Buffer
	err := c.compose(&b, i)
	return b.Bytes(), err
}
