// Package dkim signs mail with DKIM and makes and checks the DNS records that
// go with the signatures.
//
//   - RFC 6376: DomainKeys Identified Mail
//   - RFC 8301: algorithms and key sizes (no SHA-1, RSA of 1024 bits or more)
//   - RFC 8463: ed25519-sha256
//   - RFC 8058 §4: List-Unsubscribe and List-Unsubscribe-Post must be signed
//   - RFC 8616: internationalised domain names, written here as A-labels
//
// A [Signer] makes relaxed/relaxed signatures over the whole body (never with
// l=, RFC 6376 §8.2). [Join] makes one Signer of several, for mail that carries
// both the customer's and the sender's signature, or an RSA and an Ed25519 one.
//
// # Replay
//
// A signed message can be sent again by anyone who received it, to people who
// never asked for it, and the domain that signed pays with its reputation. So
// a header that is shown or acted upon is signed once more than it occurs
// ("oversigned", RFC 6376 §8.15): adding another one breaks the signature. And
// each signature expires, see [Options].Expiry. Sign for each delivery attempt,
// not once for all retries: then a short life is safe.
package dkim
