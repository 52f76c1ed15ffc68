package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// RecordProblem says what is wrong with a published key record.
type RecordProblem uint8

// The problems of a record.
const (
	RecordLookup    RecordProblem = iota + 1 // the lookup failed: nothing is known
	RecordMissing                            // there is none
	RecordSeveral                            // more than one TXT record: receivers may take any, or none (RFC 6376 §3.6.2.2)
	RecordMalformed                          // not a list of tags, no p=, or a key that can't be read
	RecordVersion                            // v= is not DKIM1, or not first
	RecordRevoked                            // p= is empty: the key was withdrawn (RFC 6376 §3.6.1)
	RecordKeyType                            // k= names another kind of key
	RecordOtherKey                           // p= is another key
	RecordNoSHA256                           // h= forbids sha256
	RecordNoEmail                            // s= forbids email
	RecordStrict                             // t=s forbids an identity (i=) in a subdomain
	RecordTesting                            // t=y: usable, but receivers may ignore the signature
)

var recordProblems = [...]string{
	RecordLookup:    "lookup failed",
	RecordMissing:   "no record",
	RecordSeveral:   "several TXT records",
	RecordMalformed: "malformed record",
	RecordVersion:   "wrong version",
	RecordRevoked:   "the key is revoked",
	RecordKeyType:   "wrong type of key",
	RecordOtherKey:  "another key is published",
	RecordNoSHA256:  "SHA-256 is not allowed",
	RecordNoEmail:   "not for email",
	RecordStrict:    "the identity is in a subdomain",
	RecordTesting:   "marked as a test",
}

func (p RecordProblem) String() string {
	if int(p) < len(recordProblems) && recordProblems[p] != "" {
		return recordProblems[p]
	}
	return fmt.Sprintf("RecordProblem(%d)", uint8(p))
}

// RecordError says how a published record differs from what the key needs.
type RecordError struct {
	Name    string // of the record; "" from CheckRecord
	Problem RecordProblem
	Detail  string // what was found and the remedy, for people; may be empty
	Err     error  // cause, may be nil
}

func (e *RecordError) Error() string {
	s := "dkim: "
	if e.Name != "" {
		s += e.Name + ": "
	}
	s += e.Problem.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// Usable reports whether signatures verify in spite of the problem.
func (e *RecordError) Usable() bool { return e.Problem == RecordTesting }

// CheckRecord checks that the TXT records found at a selector publish key, an
// *rsa.PublicKey or ed25519.PublicKey, for use in mail (RFC 6376 §3.6.1). Each
// element of txts is one record with its strings put together, as
// net.Resolver.LookupTXT gives them. A difference is a *RecordError: the
// gravest one if there are several.
func CheckRecord(txts []string, key crypto.PublicKey) error {
	_, err := checkRecord(txts, key)
	return asError(err)
}

// asError keeps a nil *RecordError from becoming an error that is not nil.
func asError(e *RecordError) error {
	if e == nil {
		return nil
	}
	return e
}

func checkRecord(txts []string, key crypto.PublicKey) (tags map[string]string, err *RecordError) {
	switch len(txts) {
	case 0:
		return nil, &RecordError{Problem: RecordMissing}
	case 1:
	default:
		return nil, &RecordError{Problem: RecordSeveral, Detail: fmt.Sprintf("%d, want one", len(txts))}
	}
	txt := txts[0]
	tags, err = parseTags(txt)
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(txt, "=")
	if v, ok := tags["v"]; ok && (v != "DKIM1" || strings.Trim(first, fws) != "v") { // RFC 6376 §3.6.1
		return nil, &RecordError{Problem: RecordVersion, Detail: "want v=DKIM1 at the beginning, have v=" + quote(v)}
	}
	if err := checkPublished(tags, key); err != nil {
		return nil, err
	}
	if h, ok := tags["h"]; ok && !slices.Contains(splitList(h), "sha256") {
		return nil, &RecordError{Problem: RecordNoSHA256, Detail: "h=" + quote(h) + "; remove the tag"}
	}
	if s, ok := tags["s"]; ok && !slices.Contains(splitList(s), "*") && !slices.Contains(splitList(s), "email") {
		return nil, &RecordError{Problem: RecordNoEmail, Detail: "s=" + quote(s) + "; remove the tag"}
	}
	if slices.Contains(splitList(tags["t"]), "y") {
		return tags, &RecordError{Problem: RecordTesting, Detail: "remove y from t= when all is well"}
	}
	return tags, nil
}

// checkPublished compares k= and p= with key.
func checkPublished(tags map[string]string, key crypto.PublicKey) *RecordError {
	p, ok := tags["p"]
	if !ok {
		return &RecordError{Problem: RecordMalformed, Detail: "there is no p="}
	}
	if p == "" {
		return &RecordError{Problem: RecordRevoked, Detail: "p= is empty"}
	}
	want := algorithm(key)
	if want == "" {
		return &RecordError{Problem: RecordKeyType, Detail: fmt.Sprintf("DKIM knows no %T", key)}
	}
	k, ok := tags["k"]
	if !ok {
		k = algRSA // RFC 6376 §3.6.1
	}
	if k != want {
		return &RecordError{Problem: RecordKeyType, Detail: "k=" + quote(k) + " is published, want k=" + want}
	}
	raw, err := base64.StdEncoding.DecodeString(withoutSpace(p))
	if err != nil {
		return &RecordError{Problem: RecordMalformed, Detail: "p=", Err: err}
	}
	published, err := parsePublic(k, raw)
	if err != nil {
		return &RecordError{Problem: RecordMalformed, Detail: "p=", Err: err}
	}
	if !published.Equal(key) {
		return &RecordError{Problem: RecordOtherKey, Detail: "publish p=" + publicText(key)}
	}
	return nil
}

type publicKey interface{ Equal(crypto.PublicKey) bool }

func parsePublic(algorithm string, raw []byte) (publicKey, error) {
	if algorithm == algEd25519 {
		if len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%d octets, an Ed25519 key has %d (RFC 8463 §4)", len(raw), ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(raw), nil
	}
	if key, err := x509.ParsePKCS1PublicKey(raw); err == nil { // erratum 3017 to RFC 6376
		return key, nil
	}
	key, err := x509.ParsePKIXPublicKey(raw)
	if err != nil {
		return nil, err
	}
	rsaKey, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T, though k= says rsa", key)
	}
	return rsaKey, nil
}

// parseTags parses a list of tags (RFC 6376 §3.2).
func parseTags(s string) (map[string]string, *RecordError) {
	malformed := func(detail string) (map[string]string, *RecordError) {
		return nil, &RecordError{Problem: RecordMalformed, Detail: detail}
	}
	if strings.HasPrefix(s, `"`) || strings.Contains(s, `" "`) || strings.Contains(s, `\;`) {
		return malformed("it has the quotation marks or backslashes of a zone file in it; publish it without")
	}
	tags := make(map[string]string)
	specs := strings.Split(s, ";")
	for i, spec := range specs {
		spec = strings.Trim(spec, fws)
		if spec == "" && i == len(specs)-1 { // a final ";" is allowed
			break
		}
		name, value, ok := strings.Cut(spec, "=")
		name = strings.TrimRight(name, fws)
		if !ok || name == "" {
			return malformed("want tag=value, have " + quote(spec))
		}
		if _, ok := tags[name]; ok {
			return malformed("the tag " + quote(name) + " occurs twice")
		}
		tags[name] = strings.TrimLeft(value, fws)
	}
	return tags, nil
}

const fws = " \t\r\n"

func splitList(s string) []string {
	list := strings.Split(s, ":")
	for i := range list {
		list[i] = strings.Trim(list[i], fws)
	}
	return list
}

func withoutSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(fws, r) {
			return -1
		}
		return r
	}, s)
}

// Check looks up the record of each signature and checks that it publishes the
// Signer's key. lookupTXT returns one string for each TXT record of name, with
// its character-strings put together; net.Resolver.LookupTXT will do. The
// error joins one *RecordError for each record that is wrong.
func (s *Signer) Check(ctx context.Context, lookupTXT func(ctx context.Context, name string) ([]string, error)) error {
	var errs []error
	for _, sig := range s.sigs {
		name := recordName(sig.selector, sig.domain)
		txts, err := lookupTXT(ctx, name)
		if e := sig.checkAnswer(txts, err); e != nil {
			e.Name = name
			errs = append(errs, e)
		}
	}
	return errors.Join(errs...)
}

func (s *signature) checkAnswer(txts []string, err error) *RecordError {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return &RecordError{Problem: RecordMissing, Err: err}
	}
	if err != nil {
		return &RecordError{Problem: RecordLookup, Err: err}
	}
	tags, e := checkRecord(txts, s.public)
	if e != nil && !e.Usable() {
		return e
	}
	inDomain := s.identity == "" || strings.HasSuffix(s.identity, "@"+s.domain)
	if !inDomain && slices.Contains(splitList(tags["t"]), "s") { // RFC 6376 §3.6.1, t=
		return &RecordError{Problem: RecordStrict, Detail: "i=" + s.identity + "; remove s from t="}
	}
	return e
}
