package sendertest

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The replies that are always the same.
var (
	okReply          = Answer("250 2.0.0 OK")
	byeReply         = Answer("221 2.0.0 Bye")
	startReply       = Answer("354 Go ahead, end with a dot on a line")
	readyReply       = Answer("220 2.0.0 Ready for TLS")
	badSequenceReply = Answer("503 5.5.1 Bad sequence of commands")
	badCommandReply  = Answer("500 5.5.1 Command unrecognized")
	badSyntaxReply   = Answer("501 5.5.4 Syntax error in parameters")
	badAddressReply  = Answer("501 5.1.3 Bad address syntax")
	badSenderReply   = Answer("501 5.1.7 Bad sender address syntax")
	unknownParam     = Answer("555 5.5.4 Parameter not recognized")
	needUTF8Reply    = Answer("553 5.6.7 Non-ASCII address without SMTPUTF8")
	noRcptReply      = Answer("554 5.5.1 No valid recipients")
	tooBigReply      = Answer("552 5.3.4 Message too big")
	tooManyRcpts     = Answer("452 4.5.3 Too many recipients")
	tooManyMessages  = Answer("421 4.7.0 Too many messages on this connection")
	slowDownReply    = Answer("421 4.7.0 Too many messages from your address, slow down")
	blockedReply     = Answer("550 5.7.1 Your address is blocked for sending too fast")
	greylistReply    = Answer("451 4.7.1 Greylisted, try again later")
	needAuthReply    = Answer("530 5.7.0 Authentication required")
	authOKReply      = Answer("235 2.7.0 Authentication successful")
	authFailedReply  = Answer("535 5.7.8 Wrong user or password")
)

// command carries out one command line.
func (c *conn) command(line string) {
	verb, args, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	c.checkGroup(verb)
	if c.refused && verb != "QUIT" {
		c.say(StageReset, line, badSequenceReply) // RFC 5321 §3.1
		return
	}
	switch verb {
	case "EHLO", "HELO":
		c.helloCommand(verb, args, line)
	case "STARTTLS":
		c.startTLSCommand(line)
	case "AUTH":
		c.authCommand(args, line)
	case "MAIL":
		c.mailCommand(args, line)
	case "RCPT":
		c.rcptCommand(args, line)
	case "DATA":
		c.dataCommand(args, line)
	case "BDAT":
		c.bdatCommand(args, line)
	case "RSET":
		c.tx = transaction{}
		c.say(StageReset, line, okReply)
	case "NOOP", "VRFY":
		c.say(StageReset, line, okReply)
	case "QUIT":
		c.say(StageReset, line, byeReply)
		c.closing = true
	default:
		c.violation(fmt.Sprintf("unknown command %.40q", line))
		c.say(StageReset, line, badCommandReply)
	}
}

// checkGroup notes commands that came before the client knew the answer and
// may not (RFC 2920 §3.1).
func (c *conn) checkGroup(verb string) {
	if c.r.Buffered() == 0 {
		return
	}
	switch verb {
	case "EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "NOOP", "VRFY", "QUIT":
		c.violation(verb + " is not the last of its group")
	case "BDAT": // its own bytes follow; RFC 3030 §4.2
	default:
		if !c.behavior().offers(Pipelining) || !c.esmtp {
			c.violation("commands are grouped without PIPELINING")
		}
	}
}

func (c *conn) helloCommand(verb, args, line string) {
	b := c.behavior()
	name := strings.TrimSpace(args)
	if name == "" {
		c.violation(verb + " without a name")
		c.say(StageHello, line, badSyntaxReply)
		return
	}
	if verb == "EHLO" && !b.offers(ESMTP) {
		c.say(StageHello, line, Answer("502 5.5.1 EHLO not implemented"))
		return
	}
	r := &Reply{Code: 250, Text: c.host.name}
	if verb == "EHLO" {
		r.Text = strings.Join(append([]string{c.host.name}, c.extensions(b)...), "\n")
	}
	if c.say(StageHello, line, r) {
		c.hello, c.esmtp = name, verb == "EHLO"
		c.tx = transaction{} // RFC 5321 §4.1.4
	}
}

// extensions lists the lines of the EHLO reply.
func (c *conn) extensions(b *Behavior) []string {
	var lines []string
	add := func(e Extension, line string) {
		if b.offers(e) {
			lines = append(lines, line)
		}
	}
	add(Pipelining, "PIPELINING")
	add(Chunking, "CHUNKING")
	add(EightBitMIME, "8BITMIME")
	add(SMTPUTF8, "SMTPUTF8")
	add(EnhancedStatusCodes, "ENHANCEDSTATUSCODES")
	add(Size, "SIZE "+strconv.Itoa(b.maxSize()))
	add(DSN, "DSN")
	limits := "LIMITS"
	if b.MaxMessages > 0 {
		limits += " MAILMAX=" + strconv.Itoa(b.MaxMessages)
	}
	if b.MaxRcpts > 0 {
		limits += " RCPTMAX=" + strconv.Itoa(b.MaxRcpts)
	}
	add(Limits, limits)
	if !c.tls {
		add(StartTLS, "STARTTLS")
	}
	if c.mayAuth(b) {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	return lines
}

func (c *conn) startTLSCommand(line string) {
	switch b := c.behavior(); {
	case !b.offers(StartTLS):
		c.say(StageTLS, line, Answer("502 5.5.1 STARTTLS not implemented"))
	case c.tls || !c.esmtp:
		c.violation("STARTTLS out of sequence")
		c.say(StageTLS, line, badSequenceReply)
	case c.say(StageTLS, line, readyReply):
		c.startTLS()
	}
}

func (c *conn) mayAuth(b *Behavior) bool {
	return b.Auth != nil && (c.tls || !b.offers(StartTLS))
}

// authCommand knows PLAIN (RFC 4616) and LOGIN.
func (c *conn) authCommand(args, line string) {
	b := c.behavior()
	if !c.mayAuth(b) || !c.esmtp || c.user != "" || c.tx.open {
		c.violation("AUTH out of sequence or not offered")
		c.say(StageAuth, line, badSequenceReply)
		return
	}
	mechanism, initial, _ := strings.Cut(args, " ")
	var user, password string
	var ok bool
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		var token string
		if token, ok = c.authToken(initial, ""); ok {
			parts := strings.Split(token, "\x00")
			if ok = len(parts) == 3; ok {
				user, password = parts[1], parts[2]
			}
		}
	case "LOGIN":
		if user, ok = c.authToken(initial, "Username:"); ok {
			password, ok = c.authToken("", "Password:")
		}
	default:
		c.say(StageAuth, line, Answer("504 5.5.4 Mechanism unknown"))
		return
	}
	switch {
	case c.closing:
	case !ok:
		c.say(StageAuth, line, badSyntaxReply)
	case !b.Auth(user, password):
		c.say(StageAuth, line, authFailedReply)
	case c.say(StageAuth, line, authOKReply):
		c.user = user
	}
}

// authToken decodes what the client sends, after asking for it if it is not here yet.
func (c *conn) authToken(sent, prompt string) (string, bool) {
	if sent == "" {
		c.write(&Reply{Code: 334, Text: base64.StdEncoding.EncodeToString([]byte(prompt))})
		line, err := c.readLine()
		if err != nil {
			c.giveUp(err)
			return "", false
		}
		sent = line
	}
	token, err := base64.StdEncoding.DecodeString(sent)
	return string(token), err == nil
}

func (c *conn) mailCommand(args, line string) {
	if r, slow := c.refuseMail(args); r != nil {
		a := c.decide(StageMail, line, r)
		c.count(a, slow)
		c.send(a)
		return
	}
	if !c.say(StageMail, line, Answer("250 2.1.0 Sender OK")) {
		return
	}
	from, params, _ := parsePath(args, "FROM:")
	c.tx = transaction{open: true, from: from, options: params}
	for _, p := range params {
		switch strings.ToUpper(p) {
		case "SMTPUTF8":
			c.tx.utf8 = true
		case "BODY=8BITMIME":
			c.tx.eightBit = true
		}
	}
	c.body = c.body[:0]
	c.begun++
}

// refuseMail says why a MAIL command is not accepted; slow, if the client sends
// too much.
func (c *conn) refuseMail(args string) (r *Reply, slow bool) {
	b, now := c.behavior(), time.Now()
	c.host.noteMail(now)
	if c.hello == "" || c.tx.open {
		c.violation("MAIL out of sequence")
		return badSequenceReply, false
	}
	from, params, ok := parsePath(args, "FROM:")
	if !ok || from != "" && !isMailbox(from) {
		c.violation(fmt.Sprintf("bad syntax: MAIL %.80q", args))
		return badSenderReply, false
	}
	if r := c.checkMailParams(b, from, params); r != nil {
		return r, false
	}
	switch {
	case b.Auth != nil && c.user == "":
		return needAuthReply, false
	case b.MaxMessages > 0 && c.begun >= b.MaxMessages:
		return tooManyMessages, true
	}
	if r := c.host.pace(b.Rate, c.source, now); r != nil {
		return r, true
	}
	if b.Sender != nil {
		return b.Sender(from), false
	}
	return nil, false
}

// checkMailParams refuses parameters of extensions that were not offered
// (RFC 5321 §4.1.1.11), and senders and sizes that can't be.
func (c *conn) checkMailParams(b *Behavior, from string, params []string) *Reply {
	utf8 := false
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		var needs Extension
		switch strings.ToUpper(key) {
		case "SIZE":
			needs = Size
			if n, err := strconv.Atoi(value); err != nil || n < 0 {
				return badSyntaxReply
			} else if n > b.maxSize() && b.offers(Size) {
				return tooBigReply // RFC 1870 §6.1
			}
		case "BODY":
			needs = EightBitMIME
			if v := strings.ToUpper(value); v != "7BIT" && v != "8BITMIME" {
				return badSyntaxReply
			}
		case "SMTPUTF8":
			needs, utf8 = SMTPUTF8, true
		case "RET", "ENVID":
			needs = DSN
		case "AUTH":
			needs = ESMTP
		}
		if needs == 0 || !c.esmtp || !b.offers(needs) {
			c.violation(fmt.Sprintf("parameter not offered: MAIL %.80q", p))
			return unknownParam
		}
	}
	if !utf8 && !isASCII(from) {
		c.violation("non-ASCII sender without SMTPUTF8")
		return needUTF8Reply
	}
	return nil
}

func (c *conn) rcptCommand(args, line string) {
	if r := c.refuseRcpt(args); r != nil {
		c.say(StageRcpt, line, r)
		return
	}
	if c.say(StageRcpt, line, Answer("250 2.1.5 Recipient OK")) {
		to, params, _ := parsePath(args, "TO:")
		c.tx.rcpts = append(c.tx.rcpts, to)
		c.tx.rcptOptions = append(c.tx.rcptOptions, params)
	}
}

func (c *conn) refuseRcpt(args string) *Reply {
	b := c.behavior()
	if !c.tx.open || c.tx.chunked {
		return badSequenceReply // no violation: MAIL of the same group may have been refused
	}
	to, params, ok := parsePath(args, "TO:")
	if !ok || !isMailbox(to) && !strings.EqualFold(to, "postmaster") {
		c.violation(fmt.Sprintf("bad syntax: RCPT %.80q", args))
		return badAddressReply
	}
	for _, p := range params {
		key, _, _ := strings.Cut(p, "=")
		if key = strings.ToUpper(key); key != "NOTIFY" && key != "ORCPT" || !c.esmtp || !b.offers(DSN) {
			c.violation(fmt.Sprintf("parameter not offered: RCPT %.80q", p))
			return unknownParam
		}
	}
	switch {
	case !c.tx.utf8 && !isASCII(to):
		c.violation("non-ASCII recipient without SMTPUTF8")
		return needUTF8Reply
	case b.MaxRcpts > 0 && len(c.tx.rcpts) >= b.MaxRcpts:
		return tooManyRcpts
	case c.host.greylisted(b.Greylist, triplet{c.source, c.tx.from, to}, time.Now()):
		return greylistReply
	case b.Recipient != nil:
		return b.Recipient(to)
	}
	return nil
}
