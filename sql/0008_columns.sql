-- 0008_columns.sql - flow records by column instead of by row.
--
-- Read them as the table `flows`: a virtual table that weir-collector brings along,
-- and build/weir_flows.so for the sqlite3 shell. It has every column of the view
-- that it takes the place of, under the same names.
--
-- Rows that the table flow had are moved by the collector when it opens the
-- database; they are in flow_row until then.

DROP VIEW flows;
DROP INDEX flow_by_end;
ALTER TABLE flow RENAME TO flow_row;

-- Batches as they came, until the compactor has made segments of them.
CREATE TABLE flow_fresh (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    host_id       INTEGER NOT NULL REFERENCES host (id),
    n_rows        INTEGER NOT NULL,
    min_start_ms  INTEGER NOT NULL,
    min_end_ms    INTEGER NOT NULL,
    max_end_ms    INTEGER NOT NULL,
    data          BLOB    NOT NULL           -- a sealed block: proto/flow_block.h
) STRICT;

-- Tens of thousands of records. Each is in one segment or in one fresh batch.
CREATE TABLE flow_segment (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    n_rows        INTEGER NOT NULL,
    min_start_ms  INTEGER NOT NULL,
    min_end_ms    INTEGER NOT NULL,
    max_end_ms    INTEGER NOT NULL,
    n_bytes       INTEGER NOT NULL,          -- of all its blobs
    zone          BLOB    NOT NULL,          -- hosts, protocols, services: collector/flowstore/zone.h
    head          BLOB    NOT NULL           -- a sealed block of its small parts
) STRICT;

-- The larger parts of segments, each by itself.
CREATE TABLE flow_column (
    id            INTEGER PRIMARY KEY,       -- id of the segment * 65536 + code of the part
    data          BLOB    NOT NULL           -- the part and its CRC-32C
) STRICT;
