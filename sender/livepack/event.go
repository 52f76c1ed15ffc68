package livepack

import "fmt"

// EventKind says what happened.
type EventKind uint8

// The kinds.
const (
	Adopted    EventKind = iota + 1 // a pack was put in place
	Unchanged                       // the source has nothing new
	Refused                         // a pack, or the source: the running pack stays
	RolledBack                      // Rollback put an earlier pack in place
	Restored                        // New put the pack of the cache in place
	NotCached                       // the cache could not be written: a restart will not know
)

var kindNames = [...]string{"", "adopted", "unchanged", "refused", "rolled back", "restored", "not cached"}

// String returns the name, such as "rolled back".
func (k EventKind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return "unknown event"
}

// Reason says why a pack was refused.
type Reason uint8

// The reasons.
const (
	Unreachable  Reason = iota + 1 // the source gave no pack in time
	Truncated                      // it broke off
	TooLarge                       // the pack is larger than Config.MaxSize
	Unsigned                       // the first line is no signature
	BadSignature                   // no key's, or the pack was changed or cut since
	Older                          // its version is not above the newest that was in place
	Invalid                        // it does not load, or the checker finds flaws
	Clamped                        // it goes further than the clamps allow
)

var reasonNames = [...]string{"", "unreachable", "truncated", "too large", "unsigned", "bad signature", "older", "invalid", "clamped"}

// String returns the name, such as "bad signature".
func (r Reason) String() string {
	if int(r) < len(reasonNames) && r > 0 {
		return reasonNames[r]
	}
	return "unknown reason"
}

// Event is something that happened.
type Event struct {
	Kind    EventKind
	Target  string // Target.Name
	Version string // of the pack that the event is about, "" if it is not known
	Running string // in place after the event
	Err     error  // of Refused an *[Error], of NotCached the file system's; else nil
}

// String says it on one line.
func (e Event) String() string {
	s := fmt.Sprintf("%s: %v", e.Target, e.Kind)
	if e.Version != "" {
		s += " " + e.Version
	}
	if e.Err != nil {
		s += fmt.Sprintf(": %v", e.Err)
	}
	if e.Version != e.Running {
		s += fmt.Sprintf(" (running: %s)", e.Running)
	}
	return s
}

// Error is why a pack was refused.
type Error struct {
	Reason  Reason
	Version string // of the pack, "" if it was not read so far
	Err     error  // what is behind it, nil if the reason says all
}

func (e *Error) Error() string {
	s := "livepack: " + e.Reason.String()
	if e.Version != "" {
		s += fmt.Sprintf(" (version %s)", e.Version)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns what is behind it.
func (e *Error) Unwrap() error { return e.Err }
