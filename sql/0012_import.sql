-- 0012_import.sql - records that came out of files; how long records are kept; and a
-- checksum of what tells which segments need not be read.

-- CRC-32C of the zone, n_rows and the three times: collector/flowstore/zone.h. NULL:
-- of a weir that did not keep it.
ALTER TABLE flow_segment ADD COLUMN zone_crc INTEGER;

-- weir-collector db import: each source once.
CREATE TABLE import (
    id            INTEGER PRIMARY KEY,
    source_hash   BLOB    NOT NULL UNIQUE CHECK (length(source_hash) = 16), -- of all that is in it
    source        TEXT    NOT NULL,          -- the file, as it was called
    n_rows        INTEGER NOT NULL,          -- so far
    started_ms    INTEGER NOT NULL,
    finished_ms   INTEGER                    -- NULL: it goes on when it is asked for again
) STRICT;

-- What a source is made of and is here: the segments and batches of a weir database.
CREATE TABLE import_unit (
    hash          BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 16),
    import_id     INTEGER NOT NULL REFERENCES import (id)
) STRICT, WITHOUT ROWID;

-- As weir-collector serve has been told, the last time that it started.
CREATE TABLE retention (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    age_ms        INTEGER NOT NULL,          -- older flow records are deleted; 0: never
    max_bytes     INTEGER NOT NULL,          -- the oldest are while the database is larger; 0: never
    since_ms      INTEGER NOT NULL
) STRICT;
