-- 0007_order.sql - what probes are told to do, and what came of it.

-- An order is sent until its result is here or its time is over. A probe carries
-- out each number once, in rising order, and remembers what it has answered.
CREATE TABLE probe_order (
    id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    host_id       INTEGER NOT NULL REFERENCES host (id),
    kind          TEXT    NOT NULL,          -- echo, block, unblock
    prefix        TEXT    NOT NULL,          -- address or CIDR; empty: none
    ttl_s         INTEGER NOT NULL,
    reason        TEXT    NOT NULL,
    actor         TEXT    NOT NULL,          -- who gave it
    created_ms    INTEGER NOT NULL,
    not_after_ms  INTEGER NOT NULL,          -- the probe does not begin it later
    sent_ms       INTEGER,                   -- last time
    status        INTEGER,                   -- 0: done; else an errno of the host; NULL: no result
    result        TEXT,
    result_ms     INTEGER
) STRICT;
CREATE INDEX probe_order_open ON probe_order (not_after_ms) WHERE status IS NULL;
