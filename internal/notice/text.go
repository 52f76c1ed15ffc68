package notice

import (
	"fmt"
	"strings"

	"github.com/volleymail/volley/bounce"
)

// textPart writes the part for people, who need not know what SMTP is. What
// others said is indented, so that it cannot pass for ours.
func (r *Report) textPart() []byte {
	var b strings.Builder
	say := func(format string, a ...any) {
		for _, line := range fold(fmt.Sprintf(format, a...), foldAt) {
			b.WriteString(line + "\r\n")
		}
		b.WriteString("\r\n")
	}
	quote := func(text string) {
		for _, line := range fold(text, foldAt-4) {
			b.WriteString("    " + line + "\r\n")
		}
		b.WriteString("\r\n")
	}
	say("This is a message from the mail system at %s.", r.Host)
	say("%s", r.opening())
	name := r.Original
	if name == "" {
		name = r.Recipient
	}
	quote(clean(cut(name, maxAddress)))
	if why := r.reason(); why != "" {
		say("%s", why)
	}
	say("%s", r.outlook())
	if text := clean(r.Reply.String()); text != "" {
		say("%s", r.speaker())
		quote(text)
	}
	switch {
	case len(r.Mail) == 0:
		say("The technical details are attached.")
	case r.whole():
		say("The technical details and your mail are attached.")
	default:
		say("The technical details and the header of your mail are attached.")
	}
	return part("text/plain; charset=utf-8", "Notification", []byte(strings.TrimSuffix(b.String(), "\r\n")))
}

func (r *Report) opening() string {
	switch {
	case r.Action == Relayed:
		return "Your mail was handed over to the mail server of:"
	case r.Action == Delayed:
		return "Your mail could not be delivered so far to:"
	case r.Unsure:
		return "It is not known whether your mail was delivered to:"
	}
	return "Your mail could not be delivered to:"
}

// outlook says what happens next, and what the reader should do.
func (r *Report) outlook() string {
	switch {
	case r.Action == Relayed:
		return "That server does not report what becomes of a mail: you may hear no more of it unless it cannot be delivered."
	case r.Action == Delayed && r.RetryUntil.IsZero():
		return "It will be tried again. You need not send it again."
	case r.Action == Delayed:
		return "It will be tried again until " + r.RetryUntil.Format(dateLayout) + ". You need not send it again."
	case r.Unsure:
		return "The connection was lost before the mail server confirmed it. It will not be sent again, because it could arrive twice: ask the recipient before you send it again."
	case r.GivenUp:
		return "It was tried again and again, and is now given up."
	}
	return "It will not be tried again."
}

// speaker says who said what comes next.
func (r *Report) speaker() string {
	switch {
	case r.Reply.Code == 0:
		return "The cause, in technical words:"
	case remote(r.Reply.Host) == "":
		return "The mail server said:"
	}
	return "The mail server " + r.Reply.Host + " said:"
}

// reason is the cause in plain words, "" if it is not known for sure.
func (r *Report) reason() string {
	dead := r.Class.Category.Outcome() == bounce.Hard
	if r.Action == Relayed || r.Unsure || dead && r.Class.Outcome() != bounce.Hard {
		return ""
	}
	return reasons[r.Class.Category]
}

// reasons are the causes in plain words, where they are known.
var reasons = map[bounce.Category]string{
	bounce.InvalidMailbox:    "There is no such mailbox. Please look for mistakes in the address.",
	bounce.InvalidDomain:     "There is no mail service at that address. Please look for mistakes in what stands after the @.",
	bounce.MailboxDisabled:   "The mailbox is not in use.",
	bounce.MailboxFull:       "The mailbox is full.",
	bounce.MessageTooLarge:   "The mail is larger than the recipient's mail server allows.",
	bounce.RateLimited:       "The recipient's mail server was offered more mail than it takes at a time.",
	bounce.Greylisted:        "The recipient's mail server makes unknown senders wait.",
	bounce.DNSFailure:        "The recipient's mail server could not be found.",
	bounce.ConnectionFailure: "There was no connection to the recipient's mail server.",
	bounce.RemoteSystemError: "The recipient's mail server has trouble of its own.",
	bounce.SpamContent:       "The recipient's mail server takes the mail for unwanted advertising.",
	bounce.ContentRejected:   "The content or the form of the mail was not accepted.",
	bounce.Virus:             "The mail was taken for harmful.",
	bounce.ReputationBlock:   "The recipient's mail server does not trust the server that sends your mail.",
	bounce.PolicyBlock:       "A rule of the recipient's mail server forbids the mail.",
	bounce.SenderRejected:    "The recipient's mail server does not accept the sender's address.",
	bounce.AuthFailure:       "The mail could not prove that it comes from the sender whom it names.",
	bounce.RelayDenied:       "The mail server that was asked does not take mail for that address.",
	bounce.TLSFailure:        "A connection that is safe from eavesdroppers could not be made.",
	bounce.ProtocolError:     "The two mail servers did not understand each other.",
}
