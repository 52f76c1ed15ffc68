package spool

import (
	"errors"
	"fmt"
)

// applicationID is in the header of a spool's file: "VLLY".
const applicationID = 0x564c4c59

// migrations are the steps from one schema version to the next; the version is
// PRAGMA user_version, and a new file takes all steps. A step that was released
// is never changed. SCHEMA.md describes what they lead to.
var migrations = []string{
	// 1
	`CREATE TABLE line (
		id       INTEGER PRIMARY KEY,
		domain   TEXT NOT NULL,
		stream   TEXT NOT NULL,
		campaign TEXT NOT NULL,
		UNIQUE (domain, stream, campaign)
	) STRICT;
	CREATE TABLE content (
		id       INTEGER PRIMARY KEY,
		hash     BLOB NOT NULL UNIQUE,
		template TEXT,
		uses     INTEGER NOT NULL
	) STRICT;
	CREATE TABLE body (
		content INTEGER PRIMARY KEY,
		data    BLOB NOT NULL
	) STRICT;
	CREATE TABLE message (
		id        INTEGER PRIMARY KEY,
		name      TEXT NOT NULL,
		sender    TEXT NOT NULL,
		content   INTEGER NOT NULL,
		born      INTEGER NOT NULL,
		remaining INTEGER NOT NULL,
		recipients INTEGER NOT NULL,
		tags      TEXT,
		more      TEXT,
		data      TEXT
	) STRICT;
	CREATE TABLE recipient (
		id       INTEGER PRIMARY KEY,
		line     INTEGER NOT NULL,
		at       INTEGER NOT NULL,
		message  INTEGER NOT NULL,
		key      BLOB NOT NULL,
		address  TEXT,
		attempts INTEGER,
		warned   INTEGER,
		last     TEXT
	) STRICT;
	CREATE UNIQUE INDEX recipient_key ON recipient (key);
	CREATE INDEX recipient_line ON recipient (line, at);
	CREATE TABLE inflight (id INTEGER PRIMARY KEY) STRICT;
	CREATE TABLE result (
		seq    INTEGER PRIMARY KEY,
		detail TEXT NOT NULL
	) STRICT;
	CREATE TABLE campaign (
		name     TEXT PRIMARY KEY,
		canceled INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;
	CREATE TABLE setting (
		name  TEXT PRIMARY KEY,
		value BLOB NOT NULL
	) STRICT, WITHOUT ROWID;
	CREATE TABLE counter (
		id        INTEGER PRIMARY KEY CHECK (id = 0),
		recipient INTEGER NOT NULL,
		result    INTEGER NOT NULL,
		line      INTEGER NOT NULL,
		content   INTEGER NOT NULL
	) STRICT;
	INSERT INTO counter VALUES (0, 0, 0, 0, 0);`,
	// 2: the due time that was asked for, where the place in the line is another.
	`ALTER TABLE recipient ADD COLUMN due INTEGER;`,
	// 3: who has ended, in the order in which that can be forgotten: those need no
	// place in an index of their own.
	`CREATE TABLE ended (
		id         INTEGER PRIMARY KEY,
		at         INTEGER NOT NULL,
		recipients TEXT NOT NULL
	) STRICT;
	CREATE INDEX ended_at ON ended (at);
	INSERT INTO ended (at, recipients) SELECT max(at), json_group_array(id)
		FROM (SELECT id, at, row_number() OVER (ORDER BY at, id) / 256 AS part FROM recipient WHERE line = 0) GROUP BY part;
	DROP INDEX recipient_line;
	CREATE INDEX recipient_line ON recipient (line, at) WHERE line <> 0;`,
}

// migrate brings the file to the schema that this package uses, in one
// transaction.
func migrate(c *conn, steps []string) (err error) {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.exec("ROLLBACK"))
		}
	}()
	version, err := identify(c, len(steps))
	if err != nil {
		return err
	}
	for i, step := range steps[version:] {
		if err := c.exec(step); err != nil {
			return fmt.Errorf("to schema version %d: %w", int(version)+i+1, err)
		}
	}
	if int(version) < len(steps) {
		if err := c.exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(steps))); err != nil {
			return err
		}
	}
	return c.exec("COMMIT")
}

// identify gives the schema version of the file, 0 for a new one.
func identify(c *conn, newest int) (int64, error) {
	app, err := c.int64("PRAGMA application_id")
	if err != nil {
		return 0, err
	}
	version, err := c.int64("PRAGMA user_version")
	if err != nil {
		return 0, err
	}
	tables, err := c.int64("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return 0, err
	}
	switch {
	case app == 0 && version == 0 && tables == 0:
		return 0, nil
	case app != applicationID || version < 1:
		return 0, fmt.Errorf("%w: it is a SQLite database of another program (application_id %d)", ErrForeign, app)
	case version > int64(newest):
		return 0, fmt.Errorf("%w: its schema version is %d, and this program knows up to %d", ErrNewer, version, newest)
	}
	return version, nil
}
