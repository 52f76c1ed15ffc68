package livepack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// header begins the first line of a signed pack: a comment of TOML, with the
// Ed25519 signature (RFC 8032) of all bytes after the line, in base64.
const header = "# volley-signature: ed25519 "

// Sign returns the pack with a signature on its first line, which to TOML is a
// comment. One that is there is replaced. With OpenSSL instead of this function:
//
//	openssl genpkey -algorithm ed25519 -out key.pem
//	openssl pkey -in key.pem -pubout -out public.pem
//	openssl pkeyutl -sign -rawin -inkey key.pem -in pack.toml -out pack.sig
//	(printf '# volley-signature: ed25519 %s\n' "$(base64 -w0 pack.sig)"; cat pack.toml) > signed.toml
func Sign(pack []byte, key ed25519.PrivateKey) []byte {
	if _, body, ok := split(pack); ok {
		pack = body
	}
	signature := base64.StdEncoding.EncodeToString(ed25519.Sign(key, pack))
	return append([]byte(header+signature+"\n"), pack...)
}

// Verify returns the pack without the line of its signature, if that is by one of
// keys; else an *[Error] with Unsigned or BadSignature.
func Verify(signed []byte, keys ...ed25519.PublicKey) ([]byte, error) {
	signature, body, ok := split(signed)
	if !ok {
		return nil, &Error{Reason: Unsigned}
	}
	for _, key := range keys {
		if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, body, signature) {
			return body, nil
		}
	}
	return nil, &Error{Reason: BadSignature}
}

// split parts the signature from what is signed.
func split(signed []byte) (signature, body []byte, ok bool) {
	line, body, ok := bytes.Cut(signed, []byte("\n"))
	text, has := bytes.CutPrefix(line, []byte(header))
	if !ok || !has {
		return nil, nil, false
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSuffix(text, []byte("\r"))))
	return signature, body, err == nil && len(signature) == ed25519.SignatureSize
}

// ParsePublicKey reads an Ed25519 key in PEM, as "openssl pkey -pubout" writes it
// (RFC 8410), or its 32 bytes in base64.
func ParsePublicKey(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, errors.New("livepack: neither PEM nor 32 bytes in base64")
		}
		return raw, nil
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("livepack: public key: %w", err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("livepack: public key: a %T is not an Ed25519 key", key)
	}
	return public, nil
}

// ParsePrivateKey reads an Ed25519 key in PEM (PKCS #8), as "openssl genpkey
// -algorithm ed25519" writes it.
func ParsePrivateKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("livepack: private key: no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("livepack: private key: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("livepack: private key: a %T is not an Ed25519 key", key)
	}
	return private, nil
}
