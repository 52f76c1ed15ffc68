package bounce

// categories holds name and outcome of each Category, by its value.
var categories = [...]struct {
	name    string
	outcome Outcome
}{
	Unknown:           {"unknown", Soft},
	InvalidMailbox:    {"invalid-mailbox", Hard},
	InvalidDomain:     {"invalid-domain", Hard},
	MailboxDisabled:   {"mailbox-disabled", Hard},
	Suppressed:        {"suppressed", Hard},
	MailboxFull:       {"mailbox-full", Soft},
	MessageTooLarge:   {"message-too-large", Soft},
	RateLimited:       {"rate-limited", Soft},
	Greylisted:        {"greylisted", Soft},
	DNSFailure:        {"dns-failure", Soft},
	ConnectionFailure: {"connection-failure", Soft},
	RemoteSystemError: {"remote-system-error", Soft},
	Expired:           {"expired", Soft},
	SpamContent:       {"spam-content", Block},
	ContentRejected:   {"content-rejected", Block},
	Virus:             {"virus", Block},
	ReputationBlock:   {"reputation-block", Block},
	PolicyBlock:       {"policy-block", Block},
	SenderRejected:    {"sender-rejected", Block},
	AuthFailure:       {"auth-failure", Block},
	RelayDenied:       {"relay-denied", Block},
	TLSFailure:        {"tls-failure", Block},
	ProtocolError:     {"protocol-error", Block},
}

var categoryNames = func() []string {
	names := make([]string, len(categories))
	for i, c := range categories {
		names[i] = c.name
	}
	return names
}()

// Categories returns all categories, in the order of their values.
func Categories() []Category {
	all := make([]Category, len(categories))
	for i := range all {
		all[i] = Category(i)
	}
	return all
}

// Outcome says what a permanent failure of the category means for the address.
// For a value that is no category it is Soft.
func (c Category) Outcome() Outcome {
	if int(c) < len(categories) {
		return categories[c].outcome
	}
	return Soft
}

// String returns the name, such as "invalid-mailbox".
func (c Category) String() string { return nameOf("category", categoryNames, c) }

// MarshalText gives the name, or an error if c is no category.
func (c Category) MarshalText() ([]byte, error) { return marshalName("category", categoryNames, c) }

// UnmarshalText takes exactly what MarshalText gives.
func (c *Category) UnmarshalText(text []byte) error {
	return unmarshalName("category", categoryNames, text, c)
}

// dead reports whether the category says that the address is dead.
func (c Category) dead() bool { return c.Outcome() == Hard }

// aboutUs reports whether the scope is the sending side: a failure that says
// nothing about any recipient.
func (s Scope) aboutUs() bool { return s == ScopeSource || s == ScopeSenderDomain }
