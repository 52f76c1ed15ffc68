package spool

import "crypto/sha256"

// pairKey is what a message's id and a recipient, taken apart, are known by.
func pairKey(message, local, domain string) []byte {
	var buf [256]byte
	b := append(buf[:0], message...)
	b = append(b, 0)
	b = append(b, local...)
	b = append(b, 0)
	b = append(b, domain...)
	sum := sha256.Sum256(b)
	return sum[:16]
}
