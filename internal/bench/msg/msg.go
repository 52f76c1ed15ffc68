// Package msg makes the mail that the benchmarks send: a newsletter in HTML,
// about 30 KB, different for each recipient, to 20 domains in turn. Nothing in
// it is random: message i is the same in every run and for every sender.
package msg

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Domains is the number of recipient domains.
const Domains = 20

// From is the reverse-path and the author of every message.
const From = "news@sender.example"

// Size is about the size of a message in bytes.
const Size = 30_000

// story is one entry of the newsletter, the same for all.
const story = `<tr><td style="padding:12px;font-family:Helvetica,Arial,sans-serif;color:#222">` + "\r\n" +
	`<h2 style="font-size:18px;margin:0 0 8px">What the harbour looks like in winter</h2>` + "\r\n" +
	`<p style="font-size:14px;line-height:20px">Boats are on the hard, the cafes have their` + "\r\n" +
	`shutters down, and the only lights are those of the pilots. A walk in nine pictures,` + "\r\n" +
	`with a map, the times of the last ferry and a place that serves soup until ten.</p>` + "\r\n" +
	`<a href="https://click.sender.example/c/42/%d" style="color:#0a58ca">Read on</a></td></tr>` + "\r\n"

// stories is the part of the body that all messages share.
var stories = func() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < Size-1200; i++ {
		fmt.Fprintf(&b, story, i)
	}
	return b.Bytes()
}()

// Domain is the recipient domain of message i.
func Domain(i int) string {
	i %= Domains
	return "d" + string([]byte{'0' + byte(i/10), '0' + byte(i%10)}) + ".example"
}

// Rcpt is the recipient of message i.
func Rcpt(i int) string { return "user" + strconv.Itoa(i) + "@" + Domain(i) }

// Message is message i, rendered anew by each WriteTo: header and body, lines
// that end in CRLF, 7 bit, no line that begins with a dot.
type Message int

// head is the header and the personal opening, with %d for the number and %s
// for the recipient, written as few pieces to be cheap to fill.
var head = strings.Split("From: The Harbour Letter <"+From+">\r\n"+
	"To: <\x00>\r\n"+
	"Subject: Letter 42 for reader \x00\r\n"+
	"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n"+
	"Message-ID: <42.\x00@sender.example>\r\n"+
	"List-Unsubscribe: <https://sender.example/u/\x00>\r\n"+
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"+
	"MIME-Version: 1.0\r\n"+
	"Content-Type: text/html; charset=utf-8\r\n"+
	"Content-Transfer-Encoding: 7bit\r\n\r\n"+
	"<!doctype html>\r\n<html><body><table>\r\n<tr><td>Dear reader \x00,</td></tr>\r\n", "\x00")

// WriteTo renders the message.
func (m Message) WriteTo(w io.Writer) (int64, error) {
	i := int(m)
	var store [1024]byte
	b := store[:0]
	for k, piece := range head {
		switch k {
		case 0:
		case 1:
			b = append(b, "user"...)
			b = strconv.AppendInt(b, int64(i), 10)
			b = append(b, '@')
			b = append(b, Domain(i)...)
		default:
			b = strconv.AppendInt(b, int64(i), 10)
		}
		b = append(b, piece...)
	}
	n, err := w.Write(b)
	if err != nil {
		return int64(n), err
	}
	k, err := w.Write(stories)
	n += k
	if err != nil {
		return int64(n), err
	}
	b = append(store[:0], "</table><p>You get this as reader "...)
	b = strconv.AppendInt(b, int64(i), 10)
	b = append(b, ".</p></body></html>\r\n"...)
	k, err = w.Write(b)
	return int64(n + k), err
}
