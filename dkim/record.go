package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
)

// Record is a DNS TXT record that publishes a key.
type Record struct {
	Name  string // "selector._domainkey.example.com", without final dot
	Value string // "v=DKIM1; k=rsa; p=..."
}

// Records returns the record to publish for each signature (RFC 6376 §3.6.1).
func (s *Signer) Records() []Record {
	records := make([]Record, len(s.sigs))
	for i, sig := range s.sigs {
		records[i] = Record{
			Name:  recordName(sig.selector, sig.domain),
			Value: "v=DKIM1; k=" + sig.algorithm + "; p=" + publicText(sig.public),
		}
	}
	return records
}

// Strings returns Value cut into the character-strings of a TXT record, at most
// 255 octets each (RFC 1035 §3.3). Receivers put them together without a space
// (RFC 6376 §3.6.2.2).
func (r Record) Strings() []string {
	const most = 255
	var parts []string
	rest := r.Value
	for len(rest) > most {
		parts = append(parts, rest[:most])
		rest = rest[most:]
	}
	return append(parts, rest)
}

// Zone returns the record as a line of a zone file (RFC 1035 §5.1), without TTL
// and line break.
func (r Record) Zone() string {
	return r.Name + `. IN TXT ( "` + strings.Join(r.Strings(), `" "`) + `" )`
}

// publicText returns the value of p=: RSA as SubjectPublicKeyInfo (RFC 6376
// §3.6.1 and erratum 3017), Ed25519 as its 32 octets (RFC 8463 §4).
func publicText(key crypto.PublicKey) string {
	var raw []byte
	switch key := key.(type) {
	case ed25519.PublicKey:
		raw = key
	case *rsa.PublicKey:
		raw, _ = x509.MarshalPKIXPublicKey(key) // fails for unknown types only
	}
	return base64.StdEncoding.EncodeToString(raw)
}
