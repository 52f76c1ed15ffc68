package sender

// SplitRecipient takes an address apart as a Queue needs it: domain is that of
// its Line, and two addresses are the same recipient if both parts are equal.
// A malformed address is all local, with the domain "".
func SplitRecipient(addr string) (local, domain string) {
	m, err := parseMailbox(addr)
	if err != nil {
		return addr, ""
	}
	return m.local, m.domain
}
