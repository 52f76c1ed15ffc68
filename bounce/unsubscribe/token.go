package unsubscribe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Token is what the URL of a mail says.
type Token struct {
	Address string
	Stream  string    // the stream to unsubscribe from, "" = all
	Expires time.Time // from when on it is refused, to the second; zero = never
}

// The errors of Open, besides which there are none.
var (
	ErrToken   = errors.New("unsubscribe: the token is not one of ours, or damaged")
	ErrExpired = errors.New("unsubscribe: the token has expired")
)

// The bounds of a token's parts, in bytes.
const (
	minSecret  = 32
	maxAddress = 320
	maxStream  = 100
	maxToken   = 800 // text of a sealed token
)

// A sealed token is base64url of: the version, a random salt, and the AES-256-GCM
// sealing of the plain token. The key is derived from secret and salt (HKDF,
// RFC 5869), and used only once; so the nonce can be zero, and the number of
// tokens of one secret has no bound that matters.
const (
	version  = 1
	saltSize = 16
	tagSize  = 16
)

// keyInfo binds derived keys to their use.
const keyInfo = "volley unsubscribe token v1"

// Keyring seals and opens tokens. It may be used by many goroutines at once.
type Keyring struct {
	secrets [][]byte // the first seals, all open
}

// NewKeyring makes a Keyring of secrets, each of 32 random bytes or more. The
// first seals; all are tried for opening. To change the secret, put a new one
// in front, and leave the old ones as long as their mails may be used, which
// is for months at least.
func NewKeyring(secrets ...[]byte) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, errors.New("unsubscribe: there is no secret")
	}
	k := &Keyring{}
	for i, s := range secrets {
		if len(s) < minSecret {
			return nil, fmt.Errorf("unsubscribe: secret %d has %d bytes: it must have %d random ones or more", i+1, len(s), minSecret)
		}
		k.secrets = append(k.secrets, append([]byte(nil), s...))
	}
	return k, nil
}

// Seal gives the text of a token: letters, digits, '-' and '_', about 4/3 of
// the lengths of address and stream plus 60. Two of the same Token differ.
func (k *Keyring) Seal(t Token) (string, error) {
	plain, err := t.encode()
	if err != nil {
		return "", err
	}
	sealed := make([]byte, 1+saltSize, 1+saltSize+len(plain)+tagSize)
	sealed[0] = version
	_, _ = rand.Read(sealed[1:]) // never fails
	aead, err := newAEAD(k.secrets[0], sealed[1:])
	if err != nil {
		return "", err
	}
	sealed = aead.Seal(sealed, make([]byte, aead.NonceSize()), plain, sealed[:1])
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Open gives back the token of a text. It fails with ErrToken or, if the token
// is genuine but its time is over, with ErrExpired and the token.
func (k *Keyring) Open(text string, now time.Time) (Token, error) {
	if len(text) > maxToken || strings.ContainsAny(text, "\r\n") { // which base64 would pass over
		return Token{}, ErrToken
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) < 1+saltSize+tagSize || sealed[0] != version {
		return Token{}, ErrToken
	}
	for _, secret := range k.secrets {
		aead, err := newAEAD(secret, sealed[1:1+saltSize])
		if err != nil {
			return Token{}, ErrToken
		}
		plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed[1+saltSize:], sealed[:1])
		if err != nil {
			continue
		}
		t, err := decode(plain)
		if err == nil && !t.Expires.IsZero() && !now.Before(t.Expires) {
			err = ErrExpired
		}
		return t, err
	}
	return Token{}, ErrToken
}

// Find finds the token in the subject of a mail that came to Config.Mailto,
// wherever in it it stands. It fails as Open does. Such a mail's sender may be
// forged; but whoever has the token has the mail that it was in.
func (k *Keyring) Find(subject string, now time.Time) (Token, error) {
	words := strings.Fields(subject)
	for _, w := range words[:min(len(words), maxWords)] {
		if t, err := k.Open(w, now); !errors.Is(err, ErrToken) {
			return t, err
		}
	}
	return Token{}, ErrToken
}

const maxWords = 50 // of a subject

func newAEAD(secret, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, salt, keyInfo, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// encode gives the plain token: seconds of Expires since 1970 or 0, length of
// the address, address, stream.
func (t Token) encode() ([]byte, error) {
	switch {
	case t.Address == "" || len(t.Address) > maxAddress:
		return nil, fmt.Errorf("unsubscribe: the address has %d bytes, not 1 to %d", len(t.Address), maxAddress)
	case len(t.Stream) > maxStream:
		return nil, fmt.Errorf("unsubscribe: the stream's name has %d bytes, more than %d", len(t.Stream), maxStream)
	}
	var expires uint64
	if !t.Expires.IsZero() {
		expires = uint64(max(1, t.Expires.Unix()))
	}
	b := binary.AppendUvarint(nil, expires)
	b = binary.AppendUvarint(b, uint64(len(t.Address)))
	return append(append(b, t.Address...), t.Stream...), nil
}

func decode(b []byte) (t Token, err error) {
	expires, n := binary.Uvarint(b)
	if n <= 0 {
		return t, ErrToken
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return t, ErrToken
	}
	b = b[n:]
	t.Address, t.Stream = string(b[:size]), string(b[size:])
	if expires != 0 {
		t.Expires = time.Unix(int64(expires), 0).UTC()
	}
	return t, nil
}
