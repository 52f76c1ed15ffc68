-- A file as schema version 1 left it: one recipient waits, one was in flight,
-- one has ended.
PRAGMA application_id = 1447840857;
PRAGMA user_version = 1;
CREATE TABLE line (id INTEGER PRIMARY KEY, domain TEXT NOT NULL, stream TEXT NOT NULL, campaign TEXT NOT NULL, UNIQUE (domain, stream, campaign)) STRICT;
CREATE TABLE content (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, template TEXT, uses INTEGER NOT NULL) STRICT;
CREATE TABLE body (content INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE message (id INTEGER PRIMARY KEY, name TEXT NOT NULL, sender TEXT NOT NULL, content INTEGER NOT NULL, born INTEGER NOT NULL,
	remaining INTEGER NOT NULL, recipients INTEGER NOT NULL, tags TEXT, more TEXT, data TEXT) STRICT;
CREATE TABLE recipient (id INTEGER PRIMARY KEY, line INTEGER NOT NULL, at INTEGER NOT NULL, message INTEGER NOT NULL, key BLOB NOT NULL,
	address TEXT, attempts INTEGER, warned INTEGER, last TEXT) STRICT;
CREATE UNIQUE INDEX recipient_key ON recipient (key);
CREATE INDEX recipient_line ON recipient (line, at);
CREATE TABLE inflight (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE result (seq INTEGER PRIMARY KEY, detail TEXT NOT NULL) STRICT;
CREATE TABLE campaign (name TEXT PRIMARY KEY, canceled INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 0), recipient INTEGER NOT NULL, result INTEGER NOT NULL, line INTEGER NOT NULL, content INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES (0, 3, 1, 1, 1);
INSERT INTO line VALUES (1, 'example.com', 'news', 'spring');
INSERT INTO content VALUES (1, x'6c1b07bc7bbc4be347939ac4a93c437a6c1b07bc7bbc4be347939ac4a93c437a', NULL, 1);
INSERT INTO body VALUES (1, CAST('Subject: old' || char(13, 10, 13, 10) || 'old' || char(13, 10) AS BLOB));
INSERT INTO message VALUES (1, 'old', 'bounces@example.org', 1, 1772355600000000000, 2, 3, '{"k":"v"}', NULL, NULL);
INSERT INTO recipient VALUES (1, 1, 1772355600000000000, 1, x'00000000000000000000000000000001', 'ann@example.com', 2, 1, '{"site":"mx.example.com","error":"no"}');
INSERT INTO recipient VALUES (2, 1, 1772355600000000000, 1, x'00000000000000000000000000000002', 'bob@example.com', NULL, NULL, NULL);
INSERT INTO recipient VALUES (3, 0, 1772355600000000000, 1, x'00000000000000000000000000000003', NULL, NULL, NULL, NULL);
INSERT INTO inflight VALUES (2);
INSERT INTO result VALUES (1, '{"message":{"id":"old"},"recipient":"cy@example.com","outcome":"sent"}');
INSERT INTO setting VALUES ('k', x'76');
