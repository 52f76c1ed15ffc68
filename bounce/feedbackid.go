package bounce

import (
	"fmt"
	"strings"
)

// FeedbackID is the field of that name, by which Gmail and others group the
// complaints of a sender: up to three names that he chooses and one for himself.
// Gmail shows only names that many messages share, so a recipient's key does not
// belong here; for that there is CFBL-Feedback-ID (RFC 9477 §3.2).
type FeedbackID struct {
	Names  [3]string // such as campaign, stream and customer; "" to leave one out
	Sender string    // the same in all mail, 5 to 15 characters
}

// String returns the value of the field: "campaign:stream::sender".
func (f FeedbackID) String() string {
	return strings.Join(f.Names[:], ":") + ":" + f.Sender
}

// Check returns an error if the field would not be understood: a name has a
// colon, a blank or a character that is not ASCII, or Sender has another length.
func (f FeedbackID) Check() error {
	for _, n := range append(f.Names[:], f.Sender) {
		for i := range len(n) {
			if n[i] <= ' ' || n[i] >= 0x7f || n[i] == ':' {
				return fmt.Errorf("bounce: name %q can't stand in a Feedback-ID", n)
			}
		}
	}
	if len(f.Sender) < 5 || len(f.Sender) > 15 {
		return fmt.Errorf("bounce: sender %q of a Feedback-ID has %d characters, want 5 to 15", f.Sender, len(f.Sender))
	}
	return nil
}

// ParseFeedbackID reads the field. The last of the parts is the sender; it
// reports false if there are more than four, or none.
func ParseFeedbackID(value string) (FeedbackID, bool) {
	parts := strings.Split(strings.TrimSpace(value), ":")
	n := len(parts) - 1
	if n > 3 || parts[n] == "" {
		return FeedbackID{}, false
	}
	f := FeedbackID{Sender: parts[n]}
	copy(f.Names[:], parts[:n])
	return f, true
}
