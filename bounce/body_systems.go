package bounce

import "strings"

// implied are what mailers write, in lower case, where others give a status.
var implied = []struct {
	words  string
	status Status
	source string // mailer
}{
	{"mailbox is full", Status{5, 2, 2}, "several, also before \"retry timeout exceeded\""},
	{"groups.google.com/support", Status{5, 7, 2}, "Google Groups, in many languages: no such list, or not open to all"},
	{"not listed in domino directory", Status{5, 1, 1}, "Domino"},
	{"not listed in public name & address book", Status{5, 1, 1}, "Notes"},
	{"no valid recipients for this mm", Status{5, 1, 1}, "MMSC"},
	{"mx or srv record indicated no smtp service", StatusNullMX, "Exim"},
	{"no mx record found for domain", StatusNoDomain, "Yahoo"},
	{"domain does not exist", StatusNoDomain, "OpenSMTPD"},
	{"name was not found at the remote site", Status{5, 1, 1}, "Interchange"},
	{"recipient name is not recognized", Status{5, 1, 1}, "Exchange 5.5"},
	{"envelope expired", StatusExpired, "OpenSMTPD"},
	{"retry timeout exceeded", StatusExpired, "Exim"},
	{"could not find a gateway for", Status{4, 4, 4}, "CommuniGate and others"},
	{"address couldn't be found", Status{5, 1, 1}, "Gmail"},
	{"address wasn't found at the destination", Status{5, 1, 10}, "Exchange"},
	{"couldn't be found or is unable to receive", Status{5, 1, 1}, "Gmail"},
}

// impliedStatus returns the status that a text stands for, zero if none.
func impliedStatus(text string) Status {
	lower := strings.ToLower(text)
	for _, i := range implied {
		if strings.Contains(lower, i.words) {
			return i.status
		}
	}
	return Status{}
}
