// Package spool is a sender.Queue in one SQLite file.
package spool
