package bounce

import "strings"

// failureWords are parts of words by which a sentence tells of a failure, in
// lower case.
var failureWords = newPhrases(
	"deliver", "fail", "reject", "unknown", "not found", "wasn't found", "exist", "unavailable", "bounce", "invalid", "refus", "problem", "error", "couldn", "could not", "unable", "no such", "disabled", "quota", "full", "block", "not accept", "undeliver", "returned", "inactive", "denied", "expired", "no longer", "trouble", "duplicate", "loop", "not be sent", "unrout", "unreach",
	"zugestellt", "zustell", "unbekannt", "fehler", "entreg", "remis", "livr", "inconnu", "échec", "erreur", "consegn", "recapit", "sconosciut", "errore", "desconocid", "bezorg", "leverer", "levere", "ikke", "доставл", "ошибк", "неизвест", "送信", "配信", "届", "见つか", "投递", "送达", "退", "不存在", "拒",
)

// mentionsFailure reports whether a text tells of a failure.
func mentionsFailure(text string) bool { return failureWords.in(strings.ToLower(text)) }

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// Labels before an address.
const (
	labelRecipient = 1 + iota
	labelSender
)

var recipientLabels = []string{
	"recipient", "recipients", "recipient address", "recipient(s)", "rcpt to", "to", "failed recipient", "failed recipients", "failed address", "final recipient", "intended recipient", "original recipient", "address", "email address", "e-mail address", "e-mail", "user", "user name", "mailbox", "destination", "destination address", "addressee", "invalid receiver address", "receiver address", "receiver", "for", "sent to", "failed to", "could not be delivered to", "delivery failed to", "undeliverable to", "undelivered to", "not delivered to", "unable to deliver to", "delivery to", "user unknown", "unknown user", "unknown recipient", "invalid recipient", "bad recipient", "invalid address", "bad address", "address rejected", "no such user", "mailbox unavailable", "mailbox full", "user mailbox exceeds allowed size", "delivery failed", "recipient failed", "failed", "error for", "the following recipient", "the following address", "your message to",
	"empfänger", "empfängeradresse", "an", "adressat", "destinataire", "à", "adresse", "destinatario", "para", "destinatário", "dirección", "a", "ontvanger", "aan", "modtager", "mottagare", "mottaker", "till", "til", "vastaanottaja", "odbiorca", "adresat", "do", "příjemce", "címzett", "получатель", "кому", "адрес", "宛先", "受信者", "送信先", "收件人", "收件人地址", "收件者", "받는 사람", "수신자", "alıcı",
}

var senderLabels = []string{
	"sender", "sender address", "from", "mail from", "return-path", "return path", "reply-to", "reply to", "envelope sender", "envelope-from", "contact", "help", "postmaster", "originator", "cc", "bcc", "message-id", "message id", "in-reply-to", "references", "x-mailer", "sent by", "absender", "von", "expéditeur", "de", "remitente", "remetente", "mittente", "da", "afzender", "отправитель", "от", "差出人", "发件人", "寄件者", "보낸 사람",
}

var labels = func() map[string]int {
	m := map[string]int{}
	for _, l := range recipientLabels {
		m[l] = labelRecipient
	}
	for _, l := range senderLabels {
		m[l] = labelSender
	}
	return m
}()

// cutLabel removes a label of a recipient or sender: "Recipient address: ...".
func cutLabel(u string) (label int, rest string) {
	n := strings.IndexAny(u, ":：")
	if n < 1 || n > 48 {
		return 0, u
	}
	rest = strings.TrimLeft(u[n:], ":： \t")
	return labels[strings.ToLower(strings.Trim(u[:n], " \t\"'*"))], rest
}

// roles are local parts of those who write reports or are to be asked about
// them, and hardly ever of a failed recipient named without any mark.
var roles = []string{"postmaster", "mailer-daemon", "abuse", "hostmaster", "webmaster", "helpdesk", "support", "support-team", "admin", "administrator", "noc", "root", "security", "no-reply", "noreply", "info-postmaster"}

func isRole(address string) bool {
	local := strings.ToLower(address[:strings.LastIndexByte(address, '@')])
	for _, r := range roles {
		if local == r {
			return true
		}
	}
	return false
}
