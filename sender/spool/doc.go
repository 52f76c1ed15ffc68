// Package spool keeps submitted mail in a file: what a Sender was given
// survives the process, the machine's restart and a deploy.
//
//	queue, err := spool.Open("/var/lib/campaigns/spool.db", nil)
//	...
//	s, err := sender.New(sender.Config{Queue: queue, ...})
//
// A Spool is a sender.Queue in one SQLite file. Close it after the Sender has
// shut down. One process at a time has the file; others may read it. SCHEMA.md in
// this folder says what is in it, and which files beside it belong to it.
//
// # What is promised
//
// When Submit or Write has returned nil, what it was given is on the disk, in a
// log that was synced: neither a crash of the process nor one of the machine
// loses it, as far as the disk keeps what it confirms. All that is submitted at
// the same time shares a sync. When the disk is full or fails, calls give an
// *Error that says so, and nothing that was accepted is lost; the same Spool goes
// on when the disk does.
//
// A pair of message id and recipient is accepted once, and remembered after its
// end for Options.Retention: a job that crashed submits all of it again, and
// what it had submitted before is passed over.
//
// # How it works
//
// One goroutine writes the database: it takes the requests that wait, applies them
// in one transaction, and answers all of them when that is committed. Marks of
// messages on the wire, and results, come to a log beside it first, path-log, by one
// write that is synced: connections wait for marks, and a transaction takes several
// times as long. From there results go into the database for many at once, a
// fraction of a second later; what is acknowledged by then needs no row. Open
// applies what the log of a process that crashed has.
//
// Memory does not grow with what is queued, but with the number of lines (domain,
// stream and campaign). For each it has the place of the last recipient that was
// handed out: recipients in the file are ordered by (line, at, id), those behind
// that place are not handed out, and what is added is put behind it. So handing
// out needs no write.
package spool
