// Package suppress keeps the list of addresses that must not be mailed, and
// decides who gets on it.
//
// A [List] is both what the Sender asks before each message (it fits
// sender.Config.Suppression) and what is told of bounces, complaints,
// unsubscriptions and deliveries. Its [Rules] say when a kind of failure
// suppresses: at once, after several in a period, or never. The entries lie in
// a [Store]: [NewMemory] or [NewSQL], or one of your own.
//
// An [Entry] is about an address, for one stream or for all, and has one
// [Cause]. The same address can be there for several causes; taking one away
// leaves the others, so that giving a bounced address another chance does not
// forget that its owner unsubscribed.
//
// [ReadCSV] and [WriteCSV] exchange lists with other systems.
package suppress
