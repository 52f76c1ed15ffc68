package throttle

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/BurntSushi/toml"
)

//go:embed profiles.toml
var defaultProfiles []byte

// DefaultProfiles returns the embedded pack: the known mailbox providers and a
// careful default for all others.
var DefaultProfiles = sync.OnceValue(func() *ProfilePack {
	pack, err := LoadProfiles(bytes.NewReader(defaultProfiles))
	if err != nil {
		panic(err) // a broken build: tests load the pack
	}
	return pack
})

// maxPack bounds the size of a pack.
const maxPack = 4 << 20

// ProfilePack is a set of profiles, as [LoadProfiles] reads it. It does not
// change and may be used by any number of goroutines.
type ProfilePack struct {
	version  string
	profiles map[string]*profile // by id; "default" applies to every destination
}

// defaultID is the profile that every destination falls back on.
const defaultID = "default"

// Version returns the version of the pack, such as "2026-11-21.1".
func (p *ProfilePack) Version() string { return p.version }

// IDs returns the profiles' ids in alphabetical order.
func (p *ProfilePack) IDs() []string { return slices.Sorted(maps.Keys(p.profiles)) }

// profile is one profile as the file has it: see the head of profiles.toml for
// what its keys mean. What is nil or empty is left to other profiles.
type profile struct {
	Domains []string `toml:"domains"`
	Sites   []string `toml:"sites"`
	MX      []string `toml:"mx"`

	limitValues
	Idle      *periodValue  `toml:"idle"`
	Messages  *int          `toml:"messages"`
	Burst     *int          `toml:"burst"`
	Shared    limitValues   `toml:"shared"`
	TLS       *tlsDemand    `toml:"tls"`
	Rollup    *bool         `toml:"rollup"`
	PerDomain *bool         `toml:"per_domain"`
	Triggers  []Trigger     `toml:"trigger"`
	Without   []string      `toml:"without"`
	Source    string        `toml:"source"`
	Samples   []destination `toml:"samples"`

	id    string
	sites []string // canonical form of Sites
}

type limitValues struct {
	Conns    *int   `toml:"conns"`
	Rates    []Rate `toml:"rates"`
	ConnRate *Rate  `toml:"conn_rate"`
}

// periodValue is a time.Duration in the notation of Rate: "30s", "5min", "1d".
type periodValue time.Duration

func (p *periodValue) UnmarshalText(text []byte) error {
	d, ok := parsePeriod(string(text))
	if !ok || d < 0 {
		return &Error{Field: "period", Value: string(text), Reason: "want a duration such as 30s, 5min or 1h"}
	}
	*p = periodValue(d)
	return nil
}

// tlsDemand is whether mail may go without TLS.
type tlsDemand bool

func (d *tlsDemand) UnmarshalText(text []byte) error {
	switch string(text) {
	case "required":
		*d = true
	case "opportunistic":
		*d = false
	default:
		return &Error{Field: "tls", Value: string(text), Reason: "want required or opportunistic"}
	}
	return nil
}

func (d tlsDemand) String() string {
	if d {
		return "required"
	}
	return "opportunistic"
}

// destination is a sample of what a profile is for: "example.com: mx1.example.net mx2.example.net".
type destination struct{ domain, mx string }

func (d *destination) UnmarshalText(text []byte) error {
	domain, mx, ok := strings.Cut(string(text), ": ")
	if !ok || !isName(domain) || hostsOf(mx) == nil {
		return &Error{Field: "sample", Value: string(text), Reason: `want "domain: host host"`}
	}
	*d = destination{domain, mx}
	return nil
}

func (d destination) String() string { return d.domain + ": " + d.mx }

// ProfilesError says what is wrong with a pack: everything at once.
type ProfilesError struct {
	Mistakes []ProfileMistake // at least one
}

// ProfileMistake is one mistake in a pack.
type ProfileMistake struct {
	Profile string // id, "" if the mistake belongs to none
	Trigger string // id, "" if the mistake belongs to none
	Err     error
}

func (m ProfileMistake) Error() string {
	switch {
	case m.Profile == "":
		return m.Err.Error()
	case m.Trigger == "":
		return fmt.Sprintf("profile %q: %v", m.Profile, m.Err)
	}
	return fmt.Sprintf("profile %q, trigger %q: %v", m.Profile, m.Trigger, m.Err)
}

// Unwrap returns what is wrong.
func (m ProfileMistake) Unwrap() error { return m.Err }

func (e *ProfilesError) Error() string {
	lines := []string{"throttle: bad profiles"}
	for _, m := range e.Mistakes {
		lines = append(lines, m.Error())
	}
	return strings.Join(lines, "\n\t")
}

// Unwrap returns the mistakes.
func (e *ProfilesError) Unwrap() []error {
	errs := make([]error, len(e.Mistakes))
	for i, m := range e.Mistakes {
		errs[i] = m
	}
	return errs
}

// LoadProfiles reads a pack in TOML, as described at the head of profiles.toml,
// of up to 4 MB. It takes the pack as a whole or not at all: the error, if not
// of reading r or of TOML syntax, is a *[ProfilesError] with every mistake. What
// a pack can have wrong beyond that, [ProfilePack.Check] tells.
func LoadProfiles(r io.Reader) (*ProfilePack, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPack+1))
	if err != nil {
		return nil, fmt.Errorf("throttle: reading profiles: %w", err)
	}
	if len(data) > maxPack {
		return nil, fmt.Errorf("throttle: profiles larger than %d bytes", maxPack)
	}
	var file struct {
		Version string              `toml:"version"`
		Default *profile            `toml:"default"`
		Profile map[string]*profile `toml:"profile"`
	}
	md, err := toml.Decode(string(data), &file)
	if err != nil {
		return nil, fmt.Errorf("throttle: profiles: %w", err)
	}
	l := &profileLoader{}
	for _, key := range md.Undecoded() {
		l.mistake("", "", fmt.Errorf("unknown key %q", key))
	}
	if file.Version == "" {
		l.mistake("", "", &Error{Field: "version", Reason: "is missing"})
	}
	pack := &ProfilePack{version: file.Version, profiles: file.Profile}
	if pack.profiles == nil {
		pack.profiles = map[string]*profile{}
	}
	l.load(pack, file.Default)
	if len(l.mistakes) > 0 {
		return nil, &ProfilesError{l.mistakes}
	}
	return pack, nil
}
