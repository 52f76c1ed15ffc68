// Package bounce understands why mail was not delivered.
//
// [ParseReply] takes an SMTP reply apart, as it came over the wire or as a
// report, a log or a sentence quotes it; [Classify] says what it means: a
// [Class] with its [Category], whom it is about, whether trying again can
// help, and what to do. The knowledge lies in a pack of rules, rules.toml,
// which is embedded; [LoadRules] reads another one, and [Rules.Check] finds the
// mistakes in it.
//
// A reply is judged by provider, stage and codes first, and its text refines
// that. Three things always hold, whatever a text says:
//
//   - An address is [Hard] only if the reply is permanent and about the
//     address, and never for a bare 550, a 5.7.1 or an "access denied".
//   - A block of our IP address or domain never marks a recipient bad.
//   - A reply that came before RCPT is never about a recipient.
//
// [Parse] reads the mails that come back later: delivery reports, bounces of
// every other form, complaints, automatic replies. A [Codec] makes return paths
// and identifiers by which such a report finds its recipient again.
//
// What happened without a server's reply (a connection that failed, a name
// that does not exist, a lifetime that is over) is a Reply too: see [Local].
package bounce
