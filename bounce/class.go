package bounce

import "time"

// Category says why a recipient was not delivered.
type Category uint8

// The categories. Outcome says what each means for the address.
const (
	Unknown           Category = iota // a failure with no recognisable cause
	InvalidMailbox                    // user unknown, bad address syntax
	InvalidDomain                     // host or domain unknown, null MX, domain takes no mail
	MailboxDisabled                   // disabled, suspended, inactive, moved away
	Suppressed                        // never sent: on a suppression list
	MailboxFull                       // over quota
	MessageTooLarge                   // size limit of mailbox, server or relay
	RateLimited                       // too many messages, connections or recipients
	Greylisted                        // deliberate first-contact deferral
	DNSFailure                        // resolver failure, SERVFAIL, MX lookup problem
	ConnectionFailure                 // refused, timed out, lost, unroutable, loop
	RemoteSystemError                 // the receiver's own error
	Expired                           // gave up after the lifetime
	SpamContent                       // content judged spam or phishing
	ContentRejected                   // not spam but unacceptable: malformed, banned attachment
	Virus                             // malware found
	ReputationBlock                   // IP or domain blocklist, bad reputation, no PTR
	PolicyBlock                       // recipient or site policy, access denied
	SenderRejected                    // envelope or header sender, or its domain, refused
	AuthFailure                       // SPF, DKIM, DMARC failed, or sender unauthenticated
	RelayDenied                       // relaying not permitted, SMTP AUTH required
	TLSFailure                        // STARTTLS failed, TLS, MTA-STS or DANE policy
	ProtocolError                     // bad command, sequence or parameter
)

// Scope says whom a failure is about.
type Scope uint8

// The scopes.
const (
	ScopeUnknown      Scope = iota
	ScopeRecipient          // this address
	ScopeMessage            // this message or its content
	ScopeSource             // our IP address, EHLO name or connection
	ScopeSenderDomain       // our From, return-path or DKIM domain
	ScopeSite               // the destination as a whole
)

// Action is what Volley advises, and what the Sender does.
type Action uint8

// The actions.
const (
	ActionNone     Action = iota
	ActionSuppress        // never mail this address again
	ActionRetry           // try this recipient again, after RetryAfter if given
	ActionPause           // slow down or hold the whole destination, then try again
	ActionFail            // give this recipient up, but do not hold it against the address
	ActionFix             // give up and tell the operator: it will not work until something is mended
)

// Outcome is what a category means for the address.
type Outcome uint8

// The outcomes.
const (
	Soft  Outcome = iota // about this recipient or moment: the address may live
	Hard                 // the address is dead: suppress it
	Block                // about the sender: never held against the address
)

// Class is a reply understood. The zero Class is an unknown, soft failure; it
// is also what a positive reply gives, for which there is nothing to explain.
type Class struct {
	Category   Category
	Scope      Scope
	Permanent  bool          // trying the same again cannot succeed; may contradict the reply's first digit
	Action     Action        // advised
	RetryAfter time.Duration // the wait that the reply asks for, else what its provider advises, else 0; at most 24 hours
	Rule       string        // id of the rule that decided, "" if none did
	Confidence float32       // 0 to 1: how much of the reply the rule looked at, see Rule
}

// Outcome says what the class means for the address: that of its category,
// except that a failure which may pass is never Hard. A "450 user unknown" is
// Soft: some servers say so while their directory is away.
func (c Class) Outcome() Outcome {
	if o := c.Category.Outcome(); o != Hard || c.Permanent {
		return o
	}
	return Soft
}
