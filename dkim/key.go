package dkim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KeyProblem says why a key can't be used.
type KeyProblem uint8

// The problems of a key.
const (
	KeyMissing   KeyProblem = iota + 1 // nil
	KeyNotPEM                          // no PEM block found
	KeyEncrypted                       // protected by a passphrase
	KeyPublic                          // a public key or certificate instead of a private key
	KeyType                            // neither RSA nor Ed25519
	KeyWeak                            // RSA, too short
	KeyTooLong                         // RSA, longer than receivers must be able to verify
	KeyBroken                          // damaged, or its parts don't fit together
)

func (p KeyProblem) String() string {
	switch p {
	case KeyMissing:
		return "no private key given"
	case KeyNotPEM:
		return "no PEM block found"
	case KeyEncrypted:
		return "the private key is encrypted"
	case KeyPublic:
		return "not a private key"
	case KeyType:
		return "key type not usable for DKIM"
	case KeyWeak:
		return "RSA key too weak"
	case KeyTooLong:
		return "RSA key too long"
	case KeyBroken:
		return "damaged private key"
	}
	return fmt.Sprintf("KeyProblem(%d)", uint8(p))
}

// KeyError says why a key can't be used, and what to do about it.
type KeyError struct {
	Problem KeyProblem
	Detail  string // what was found and the remedy, for people; may be empty
	Err     error  // cause, may be nil
}

func (e *KeyError) Error() string {
	s := "dkim: " + e.Problem.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *KeyError) Unwrap() error { return e.Err }

const makeKey = `make one with "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"`

// The algorithms, as in a= and k= (RFC 6376 §3.5, RFC 8463 §3).
const (
	algRSA     = "rsa"
	algEd25519 = "ed25519"
)

// signKey is a private key that is fit for DKIM.
type signKey struct {
	key       crypto.Signer
	public    crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	algorithm string
	outside   bool // key is not one of the standard library's
}

func newSignKey(key crypto.Signer, allowWeak bool) (signKey, error) {
	k := signKey{key: key}
	switch key := key.(type) {
	case nil:
		return k, &KeyError{Problem: KeyMissing, Detail: makeKey}
	case *rsa.PrivateKey:
		own, err := precomputed(key)
		if err != nil {
			return k, err
		}
		k.key = own
	case ed25519.PrivateKey:
		if len(key) != ed25519.PrivateKeySize {
			return k, &KeyError{Problem: KeyBroken, Detail: fmt.Sprintf("Ed25519 key of %d octets, want %d", len(key), ed25519.PrivateKeySize)}
		}
		k.key = slices.Clone(key)
	default:
		k.outside = true
	}
	k.public = k.key.Public()
	k.algorithm = algorithm(k.public)
	if k.algorithm == "" {
		return k, wrongType(fmt.Sprintf("%T", k.public))
	}
	if pub, ok := k.public.(*rsa.PublicKey); ok {
		return k, checkStrength(pub, allowWeak)
	}
	return k, nil
}

// algorithm returns the value of k= for a public key, "" if DKIM has none.
func algorithm(key crypto.PublicKey) string {
	switch key.(type) {
	case *rsa.PublicKey:
		return algRSA
	case ed25519.PublicKey:
		return algEd25519
	}
	return ""
}

// precomputed returns a copy of key that is checked and has what makes signing
// fast: without it, each signature would compute it again.
func precomputed(key *rsa.PrivateKey) (*rsa.PrivateKey, error) {
	if key == nil {
		return nil, &KeyError{Problem: KeyMissing, Detail: makeKey}
	}
	own := &rsa.PrivateKey{PublicKey: key.PublicKey, D: key.D, Primes: key.Primes}
	own.Precompute()
	if err := own.Validate(); err != nil {
		return nil, &KeyError{Problem: KeyBroken, Err: err}
	}
	return own, nil
}

// checkStrength obeys RFC 8301 §3.2: signers MUST use 1024 bits or more and
// SHOULD use 2048; verifiers need not know more than 4096.
func checkStrength(pub *rsa.PublicKey, allowWeak bool) error {
	switch n := pub.N.BitLen(); {
	case n < 1024:
		return &KeyError{Problem: KeyWeak, Detail: fmt.Sprintf("%d bits, receivers refuse less than 1024; %s", n, makeKey)}
	case n < 2048 && !allowWeak:
		return &KeyError{Problem: KeyWeak, Detail: fmt.Sprintf("%d bits, 2048 are advised (RFC 8301); %s, or set Options.AllowWeakKey", n, makeKey)}
	case n > 4096:
		return &KeyError{Problem: KeyTooLong, Detail: fmt.Sprintf("%d bits, receivers need not verify more than 4096 (RFC 8301)", n)}
	}
	return nil
}

func wrongType(what string) error {
	return &KeyError{Problem: KeyType, Detail: what + "; DKIM knows RSA and Ed25519: " + makeKey}
}

// sign signs the SHA-256 of the header: an RSA key gets it as a digest, Ed25519
// signs it as the message (RFC 8463 §3).
func (k *signKey) sign(digest []byte) ([]byte, error) {
	hash := crypto.SHA256
	if k.algorithm == algEd25519 {
		hash = crypto.Hash(0)
	}
	sig, err := k.key.Sign(rand.Reader, digest, hash)
	if err != nil || !k.outside {
		return sig, err
	}
	// A key service may be set to another scheme (PSS, Ed25519ph) or another
	// key: better no mail than mail that fails DKIM.
	if !k.verifies(digest, sig) {
		return nil, errors.New("the signature doesn't fit the public key")
	}
	return sig, nil
}

func (k *signKey) verifies(digest, sig []byte) bool {
	switch pub := k.public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(pub, digest, sig)
	}
	return false
}

// ParseKey reads a private key from PEM: RSA in PKCS#1 ("RSA PRIVATE KEY") or
// PKCS#8 ("PRIVATE KEY"), Ed25519 in PKCS#8. The first private key counts;
// other blocks and text around it don't matter. Errors are *KeyError.
func ParseKey(data []byte) (crypto.Signer, error) {
	var found error
	for rest := data; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		key, err := parseBlock(block)
		if err == nil {
			return key, nil
		}
		if isPrivate(block) {
			return nil, err
		}
		if found == nil {
			found = err
		}
	}
	if found != nil {
		return nil, found
	}
	return nil, notPEM(data)
}

func isPrivate(b *pem.Block) bool { return strings.HasSuffix(b.Type, "PRIVATE KEY") }

func notPEM(data []byte) error {
	e := &KeyError{Problem: KeyNotPEM}
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		e.Detail = "the input is empty"
	case bytes.Contains(data, []byte(`-\n`)):
		e.Detail = `its line breaks are written as \n; turn them into real ones`
	case bytes.Contains(data, []byte("-----BEGIN ")):
		e.Detail = "there is a BEGIN line, but the block is damaged or cut off"
	default:
		e.Detail = `want a text that begins with "-----BEGIN PRIVATE KEY-----"; "openssl pkey -inform DER" converts binary keys`
	}
	return e
}

func parseBlock(b *pem.Block) (crypto.Signer, error) {
	if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, &KeyError{Problem: KeyEncrypted, Detail: `"openssl pkey -in KEY -out PLAIN" removes the passphrase`}
	}
	switch b.Type {
	case "RSA PRIVATE KEY":
		key, err := x509.ParsePKCS1PrivateKey(b.Bytes)
		if err != nil {
			return nil, &KeyError{Problem: KeyBroken, Err: err}
		}
		return key, nil
	case "PRIVATE KEY":
		return parsePKCS8(b.Bytes)
	case "EC PRIVATE KEY":
		return nil, wrongType("an elliptic curve (ECDSA) key")
	case "DSA PRIVATE KEY":
		return nil, wrongType("a DSA key")
	case "OPENSSH PRIVATE KEY":
		return nil, &KeyError{Problem: KeyType, Detail: "a key in the format of OpenSSH; " + makeKey}
	}
	return nil, &KeyError{Problem: KeyPublic, Detail: "found " + quote(b.Type) + ", want the file with the private key"}
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, &KeyError{Problem: KeyBroken, Err: err}
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return nil, wrongType("an elliptic curve (ECDSA) key")
	default:
		return nil, wrongType(fmt.Sprintf("%T", key))
	}
}
