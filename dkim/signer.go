package dkim

import (
	"crypto"
	"errors"
	"strings"
	"time"
)

// DefaultExpiry is the life of a signature unless Options says otherwise.
const DefaultExpiry = 72 * time.Hour

// Options of one signature. The zero value is right for most mail.
type Options struct {
	// Identity is the user or agent on whose behalf the domain signs, tag i=
	// (RFC 6376 §3.5): "@news.example.com" or "news@example.com". Its domain is
	// the signing domain or below it. Empty leaves the tag out, which means
	// "@" and the signing domain.
	Identity string

	// Expiry is how long after it is made a signature stays valid, tag x=
	// (RFC 6376 §3.5), in whole seconds. 0 means DefaultExpiry; a negative
	// value means that signatures never expire.
	//
	// It bounds how long the mail can be replayed. It must outlast the time
	// from signing to the last check: minutes if each delivery attempt is
	// signed anew, but up to the queue's lifetime (usually 5 days) if a relay
	// host takes the mail and delivers it later.
	Expiry time.Duration

	// Headers are the names of the fields to sign, every instance of them, if
	// the message has them. nil means [DefaultHeaders]. From (RFC 6376 §5.4),
	// List-Unsubscribe and List-Unsubscribe-Post (RFC 8058 §4) are signed
	// always. Fields that change on the way (Received, Return-Path, Bcc ...)
	// are refused.
	Headers []string

	// Oversign are the names of the fields of which no further instance may be
	// added after signing. They are signed even if Headers lacks them. nil
	// means those of [DefaultOversign] that are signed; to oversign none, give
	// an empty list that is not nil.
	Oversign []string

	// AllowWeakKey admits RSA keys of 1024 to 2047 bits, below what RFC 8301
	// §3.2 says signers SHOULD use. Shorter keys are refused always.
	AllowWeakKey bool
}

// Signer signs messages. It is immutable and safe for concurrent use. Make one
// with New, or Join several.
type Signer struct {
	sigs []*signature
}

// signature is what a Signer knows of one signature. Nothing in it changes.
type signature struct {
	signKey
	domain   string // d=, lower case, A-labels
	selector string // s=
	identity string // i=, or ""
	expiry   int64  // seconds from t= to x=, 0 = no x=
	headers  headerList
	intro    []byte // the header field up to and without t=
}

// New returns a Signer that makes one signature: by key, for domain (d=), its
// public half published at selector._domainkey.domain. IDNs may be given in
// Unicode or as A-labels. A nil opts means the zero Options.
//
// The key is RSA, 2048 to 4096 bits (1024 and up with Options.AllowWeakKey), or
// Ed25519: an *rsa.PrivateKey, an ed25519.PrivateKey or any crypto.Signer with
// such a public key, for instance one that stands for a key in a KMS or HSM.
// Receivers that don't know Ed25519 (RFC 8463) see such a message as unsigned:
// use it beside an RSA signature, with Join.
//
// All mistakes are reported together: an *OptionError for each name or option,
// a *KeyError for the key.
func New(domain, selector string, key crypto.Signer, opts *Options) (*Signer, error) {
	if opts == nil {
		opts = &Options{}
	}
	s := new(signature)
	var errs [6]error
	s.domain, errs[0] = signingDomain(domain)
	s.selector, errs[1] = selectorName(selector, s.domain)
	s.signKey, errs[2] = newSignKey(key, opts.AllowWeakKey)
	s.identity, errs[3] = identity(opts.Identity, s.domain)
	s.expiry, errs[4] = expirySeconds(opts.Expiry)
	s.headers, errs[5] = newHeaderList(opts.Headers, opts.Oversign)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	s.intro = s.makeIntro()
	return &Signer{sigs: []*signature{s}}, nil
}

// Join returns a Signer that makes the signatures of all signers, in their
// order, reading the message only once. A nil Signer adds none; without any
// signature, Sign returns nothing.
func Join(signers ...*Signer) *Signer {
	joined := new(Signer)
	for _, s := range signers {
		if s != nil {
			joined.sigs = append(joined.sigs, s.sigs...)
		}
	}
	return joined
}

// OptionError is a mistake in an argument of New.
type OptionError struct {
	Name   string // "domain", "selector", "Options.Identity" ...
	Value  string // as it was given
	Reason string // what is wrong with it
}

func (e *OptionError) Error() string {
	return "dkim: " + e.Name + " " + quote(e.Value) + ": " + e.Reason
}

func expirySeconds(d time.Duration) (int64, error) {
	switch {
	case d == 0:
		d = DefaultExpiry
	case d < 0:
		return 0, nil
	case d < time.Second: // x= must be after t= (RFC 6376 §3.5)
		return 0, &OptionError{"Options.Expiry", d.String(), "less than a second"}
	}
	return int64(d / time.Second), nil
}

// identity checks the tag i= (RFC 6376 §3.5).
func identity(s, domain string) (string, error) {
	if s == "" {
		return "", nil
	}
	bad := func(reason string) (string, error) {
		return "", &OptionError{"Options.Identity", s, reason}
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return bad("has no @")
	}
	local, host := s[:at], s[at+1:]
	if !isLocalPart(local) {
		return bad("the local part must be plain: letters, digits and !#$%&'*+-/?^_`{|}~ with single dots between")
	}
	host, reason := domainName(host)
	if reason != "" {
		return bad(reason)
	}
	if domain != "" && host != domain && !strings.HasSuffix(host, "."+domain) {
		return bad("is not in the signing domain " + domain)
	}
	return local + "@" + host, nil
}

// isLocalPart reports whether s is empty or a dot-atom (RFC 5321 §4.1.2) that
// needs no encoding in a tag value. ("=" would need it, RFC 6376 §2.11.)
func isLocalPart(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > 64 { // RFC 5321 §4.5.3.1.1
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for _, c := range []byte(atom) {
			if !isLetterDigit(c) && !strings.ContainsRune("!#$%&'*+-/?^_`{|}~", rune(c)) {
				return false
			}
		}
	}
	return true
}
