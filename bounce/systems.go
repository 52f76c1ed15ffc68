package bounce

import "strings"

// System is a mail system that has names of its own for the reasons of failures.
type System string

// The systems whose names Translate knows.
const (
	SES       System = "ses"       // Amazon SES: "bounceType/bounceSubType", such as "Permanent/NoEmail"
	SparkPost System = "sparkpost" // SparkPost and Momentum: classification code ("10") or name ("Invalid Recipient")
	PowerMTA  System = "powermta"  // PowerMTA: dlvrBounceCat of the accounting file, such as "bad-mailbox"
	KumoMTA   System = "kumomta"   // KumoMTA: bounce_classification, such as "InvalidRecipient"
	Sisimai   System = "sisimai"   // sisimai: reason, such as "userunknown", of version 5 and before
)

// Translate returns the category that a name of another system stands for, so
// that its history can be read with ours. Case, blanks, hyphens, dots and
// underscores do not matter. It returns false for a name it does not know and
// for one that is no failure to deliver (auto-replies, feedback, deliveries).
func Translate(s System, name string) (Category, bool) {
	c, ok := systems[s][foldName(name)]
	return c, ok
}

var nameFolder = strings.NewReplacer(" ", "", "-", "", "_", "", ".", "")

func foldName(name string) string { return nameFolder.Replace(strings.ToLower(name)) }

// systems holds each system's names, folded by foldName. Where a name covers
// more than one of our categories it gets the one that harms least if wrong.
var systems = map[System]map[string]Category{
	SES: {
		"undetermined":                       Unknown,
		"undetermined/undetermined":          Unknown,
		"permanent/general":                  Unknown,
		"permanent/noemail":                  InvalidMailbox,
		"permanent/suppressed":               Suppressed,
		"permanent/onaccountsuppressionlist": Suppressed,
		"permanent/unsubscribedrecipient":    Suppressed,
		"transient/general":                  Unknown,
		"transient/mailboxfull":              MailboxFull,
		"transient/messagetoolarge":          MessageTooLarge,
		"transient/contentrejected":          ContentRejected,
		"transient/attachmentrejected":       ContentRejected,
		"transient/customtimeoutexceeded":    Expired,
	},
	SparkPost: {
		"1": Unknown, "undetermined": Unknown,
		"10": InvalidMailbox, "invalidrecipient": InvalidMailbox,
		"20": Unknown, "softbounce": Unknown,
		"21": DNSFailure, "dnsfailure": DNSFailure,
		"22": MailboxFull, "mailboxfull": MailboxFull,
		"23": MessageTooLarge, "toolarge": MessageTooLarge,
		"24": Expired, "timeout": Expired,
		"25": PolicyBlock, "adminfailure": PolicyBlock,
		"26": Suppressed, "smartsendsuppression": Suppressed,
		"30": InvalidMailbox, "genericbounce:norcpt": InvalidMailbox,
		"40": Unknown, "genericbounce": Unknown,
		"50": PolicyBlock, "mailblock": PolicyBlock,
		"51": ReputationBlock, "spamblock": ReputationBlock,
		"52": SpamContent, "spamcontent": SpamContent,
		"53": ContentRejected, "prohibitedattachment": ContentRejected,
		"54": RelayDenied, "relayingdenied": RelayDenied,
		"70": RemoteSystemError, "transientfailure": RemoteSystemError,
	},
	PowerMTA: {
		"badmailbox":       InvalidMailbox,
		"baddomain":        InvalidDomain,
		"inactivemailbox":  MailboxDisabled,
		"quotaissues":      MailboxFull,
		"messageexpired":   Expired,
		"noanswerfromhost": ConnectionFailure,
		"badconnection":    ConnectionFailure,
		"routingerrors":    ConnectionFailure,
		"badconfiguration": RemoteSystemError,
		"protocolerrors":   ProtocolError,
		"invalidsender":    SenderRejected,
		"spamrelated":      SpamContent,
		"virusrelated":     Virus,
		"policyrelated":    PolicyBlock,
		"contentrelated":   ContentRejected,
		"relayingissues":   RelayDenied,
		"other":            Unknown,
	},
	KumoMTA: {
		"invalidrecipient":     InvalidMailbox,
		"baddomain":            InvalidDomain,
		"inactivemailbox":      MailboxDisabled,
		"quotaissues":          MailboxFull,
		"messageexpired":       Expired,
		"noanswerfromhost":     ConnectionFailure,
		"badconnection":        ConnectionFailure,
		"routingerrors":        ConnectionFailure,
		"dnsfailure":           DNSFailure,
		"badconfiguration":     RemoteSystemError,
		"transientfailure":     RemoteSystemError,
		"protocolerrors":       ProtocolError,
		"invalidsender":        SenderRejected,
		"authenticationfailed": AuthFailure,
		"spamblock":            ReputationBlock,
		"spamcontent":          SpamContent,
		"spamrelated":          SpamContent,
		"virusrelated":         Virus,
		"policyrelated":        PolicyBlock,
		"contentrelated":       ContentRejected,
		"relayingissues":       RelayDenied,
		"uncategorized":        Unknown,
	},
	Sisimai: {
		"authfailure":     AuthFailure,
		"badreputation":   ReputationBlock,
		"blocked":         ReputationBlock,
		"contenterror":    ContentRejected,
		"emailtoolarge":   MessageTooLarge,
		"exceedlimit":     MessageTooLarge,
		"expired":         Expired,
		"failedstarttls":  TLSFailure,
		"filtered":        PolicyBlock,
		"hasmoved":        MailboxDisabled,
		"hostunknown":     InvalidDomain,
		"mailboxfull":     MailboxFull,
		"mailererror":     RemoteSystemError,
		"mesgtoobig":      MessageTooLarge,
		"networkerror":    ConnectionFailure,
		"norelaying":      RelayDenied,
		"notaccept":       InvalidDomain,
		"notcompliantrfc": ContentRejected,
		"onhold":          Unknown,
		"policyviolation": PolicyBlock,
		"ratelimited":     RateLimited,
		"rejected":        SenderRejected,
		"requireptr":      ReputationBlock,
		"securityerror":   PolicyBlock,
		"spamdetected":    SpamContent,
		"speeding":        RateLimited,
		"suppressed":      Suppressed,
		"suspend":         MailboxDisabled,
		"suspended":       MailboxDisabled,
		"syntaxerror":     ProtocolError,
		"systemerror":     RemoteSystemError,
		"systemfull":      RemoteSystemError,
		"toomanyconn":     RateLimited,
		"undefined":       Unknown,
		"userunknown":     InvalidMailbox,
		"virusdetected":   Virus,
	},
}
