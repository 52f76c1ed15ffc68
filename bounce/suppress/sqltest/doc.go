// Package sqltest runs the tests of suppress.SQL on real databases. It is a
// module of its own, so that users of the library need no database driver.
//
// SQLite needs nothing. PostgreSQL is tested on the server that
// VOLLEY_POSTGRES names, as "postgres://user:password@host/database"; without
// it those tests are skipped. They make schemas of their own in that database
// and drop them.
package sqltest
