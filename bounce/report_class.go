package bounce

// ReportClass says what kind of mail came back.
type ReportClass uint8

// The classes.
const (
	NotReport         ReportClass = iota // ordinary mail
	Bounce                               // failed delivery
	Delayed                              // warning: not delivered yet, still trying
	Delivered                            // positive delivery report, or a disposition notification (RFC 8098)
	Complaint                            // feedback loop: see Feedback.Unwanted
	Unsubscribe                          // somebody wants out: a mail to List-Unsubscribe, an ARF opt-out
	Vacation                             // out of office
	AutoReply                            // any other automatic answer
	ChallengeResponse                    // asks the sender to prove that he is human
)

var reportClassNames = []string{"not-a-report", "bounce", "delayed", "delivered", "complaint", "unsubscribe", "vacation", "auto-reply", "challenge-response"}

// String returns the name, such as "auto-reply".
func (c ReportClass) String() string { return nameOf("report class", reportClassNames, c) }

// MarshalText gives the name, or an error if c is no class.
func (c ReportClass) MarshalText() ([]byte, error) {
	return marshalName("report class", reportClassNames, c)
}

// UnmarshalText takes exactly what MarshalText gives.
func (c *ReportClass) UnmarshalText(text []byte) error {
	return unmarshalName("report class", reportClassNames, text, c)
}

// Fate is what a delivery report says became of a recipient: its Action field
// (RFC 3464 §2.3.3).
type Fate uint8

// The fates.
const (
	FateUnknown   Fate = iota // not a delivery report, or it does not say
	FateFailed                // given up
	FateDelayed               // still trying
	FateDelivered             // delivered
	FateRelayed               // handed to a server that does not report
	FateExpanded              // handed on to the members of a list
)

var fateNames = []string{"", "failed", "delayed", "delivered", "relayed", "expanded"}

// String returns the name, as in the Action field; it is empty for FateUnknown.
func (f Fate) String() string { return nameOf("fate", fateNames, f) }

// MarshalText gives the name, or an error if f is no fate.
func (f Fate) MarshalText() ([]byte, error) { return marshalName("fate", fateNames, f) }

// UnmarshalText takes exactly what MarshalText gives.
func (f *Fate) UnmarshalText(text []byte) error { return unmarshalName("fate", fateNames, text, f) }
