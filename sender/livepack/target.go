package livepack

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/volleymail/volley/throttle"
)

// Target is what packs replace: [Profiles], [Rules], or something of the user's.
type Target struct {
	Name string // for events: "profiles", "rules"
	Base string // version of the built-in pack; nothing that is not above it is adopted

	// Prepare reads a pack, without its signature, and checks it as a whole. The
	// error is an *[Error], or the pack is refused as Invalid. Nothing changes
	// before Apply.
	Prepare func(pack []byte) (Pack, error)

	// Reset puts the built-in pack in place. It is not called by two goroutines at
	// once, nor while an Apply runs.
	Reset func()
}

// Pack is a pack ready to be put in place.
type Pack struct {
	Version string // numbers with "." or "-" between, compared from the left: "2026-11-21.1"
	Apply   func() // puts it in place at once; may be called again, to go back to it
}

// Profiles returns the Target of a policy's downloaded layer. c says how far a
// download may go beyond the built-in profiles: what goes further is held to it
// when a destination's limits are looked up, see [throttle.Clamp]. The user's own
// profiles stand above the download in any case.
func Profiles(policy *throttle.ProfilePolicy, c throttle.Clamp) Target {
	return Target{
		Name: "profiles",
		Base: throttle.DefaultProfiles().Version(),
		Prepare: func(data []byte) (Pack, error) {
			pack, err := throttle.LoadProfiles(bytes.NewReader(data))
			if err != nil {
				return Pack{}, err
			}
			if found := pack.Check(throttle.DefaultProfiles()); len(found) > 0 {
				return Pack{}, &Error{Reason: Invalid, Version: pack.Version(), Err: flaws(found)}
			}
			return Pack{pack.Version(), func() { policy.SetDownloaded(pack, c) }}, nil
		},
		Reset: func() { policy.SetDownloaded(nil, c) },
	}
}

// FlawsError is what the checker of the profiles or rules found.
type FlawsError struct {
	Flaws []fmt.Stringer // throttle.Finding or bounce.Finding, at least one
}

// maxShown bounds how many flaws the text of an error shows.
const maxShown = 10

func (e *FlawsError) Error() string {
	lines := []string{fmt.Sprintf("the checker found %d flaws:", len(e.Flaws))}
	for i, f := range e.Flaws {
		if i == maxShown {
			lines = append(lines, "...")
			break
		}
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n\t")
}

func flaws[T fmt.Stringer](found []T) *FlawsError {
	e := &FlawsError{}
	for _, f := range found {
		e.Flaws = append(e.Flaws, f)
	}
	return e
}
