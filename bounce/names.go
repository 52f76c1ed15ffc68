package bounce

import (
	"fmt"
	"slices"
)

var (
	scopeNames   = []string{"unknown", "recipient", "message", "source", "sender-domain", "site"}
	actionNames  = []string{"none", "suppress", "retry", "pause", "fail", "fix"}
	outcomeNames = []string{"soft", "hard", "block"}
)

// String returns the name, such as "sender-domain".
func (s Scope) String() string { return nameOf("scope", scopeNames, s) }

// MarshalText gives the name, or an error if s is no scope.
func (s Scope) MarshalText() ([]byte, error) { return marshalName("scope", scopeNames, s) }

// UnmarshalText takes exactly what MarshalText gives.
func (s *Scope) UnmarshalText(text []byte) error { return unmarshalName("scope", scopeNames, text, s) }

// String returns the name, such as "suppress".
func (a Action) String() string { return nameOf("action", actionNames, a) }

// MarshalText gives the name, or an error if a is no action.
func (a Action) MarshalText() ([]byte, error) { return marshalName("action", actionNames, a) }

// UnmarshalText takes exactly what MarshalText gives.
func (a *Action) UnmarshalText(text []byte) error {
	return unmarshalName("action", actionNames, text, a)
}

// String returns the name: "soft", "hard" or "block".
func (o Outcome) String() string { return nameOf("outcome", outcomeNames, o) }

// MarshalText gives the name, or an error if o is no outcome.
func (o Outcome) MarshalText() ([]byte, error) { return marshalName("outcome", outcomeNames, o) }

// UnmarshalText takes exactly what MarshalText gives.
func (o *Outcome) UnmarshalText(text []byte) error {
	return unmarshalName("outcome", outcomeNames, text, o)
}

// MarshalText gives the name, which is empty for StageNone, or an error if s
// is no stage.
func (s Stage) MarshalText() ([]byte, error) { return marshalName("stage", stageNames[:], s) }

// UnmarshalText takes exactly what MarshalText gives.
func (s *Stage) UnmarshalText(text []byte) error {
	return unmarshalName("stage", stageNames[:], text, s)
}

func nameOf[T ~uint8](kind string, names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", kind, uint8(v))
}

func marshalName[T ~uint8](kind string, names []string, v T) ([]byte, error) {
	if int(v) >= len(names) {
		return nil, fmt.Errorf("bounce: no %s has the value %d", kind, uint8(v))
	}
	return []byte(names[v]), nil
}

func unmarshalName[T ~uint8](kind string, names []string, text []byte, v *T) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("bounce: unknown %s %q", kind, text)
	}
	*v = T(i)
	return nil
}
