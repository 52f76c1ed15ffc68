// Package unsubscribe lets recipients end mail with one click (RFC 8058), as
// large receivers demand of bulk mail.
//
// An [Unsubscriber] makes the List-Unsubscribe and List-Unsubscribe-Post
// fields of each mail, and is the http.Handler that their URL leads to. Who
// unsubscribes from what lies in a [Token] in the URL: encrypted and
// authenticated (AES-256-GCM), so that it tells nothing in logs, cannot be
// guessed or changed, and needs no database.
//
// A mail provider's one-click POST unsubscribes at once. A GET, which is often
// a scanner that follows every link of a mail, only shows a page with a button.
//
// RFC 8058 §4 wants both fields covered by a valid DKIM signature; Volley's
// signer covers them.
package unsubscribe
