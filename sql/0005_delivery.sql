-- 0005_delivery.sql - how complete the records of each host are, by the minute.
--
-- What is here arrives with the batches, in their transactions: once, late if
-- they are late. A minute without a row is one in which nothing of the host has
-- arrived (yet).

ALTER TABLE host ADD COLUMN run INTEGER;            -- of its probe now, as its last HELLO says
UPDATE host SET run = (SELECT epoch FROM epoch e WHERE e.host_id = host.id
                        ORDER BY started_ms DESC LIMIT 1);

-- A start of a probe. One run may have several epochs (streams of batches); the
-- column epoch of probe_counter names the run, whose first epoch has its number.
CREATE TABLE probe_run (
    host_id       INTEGER NOT NULL REFERENCES host (id),
    run           INTEGER NOT NULL,
    started_ms    INTEGER NOT NULL,          -- when the collector first heard of it
    counters_ns   INTEGER NOT NULL DEFAULT 0, -- when the newest counters were read, host's clock
    PRIMARY KEY (host_id, run)
) STRICT, WITHOUT ROWID;
INSERT INTO probe_run (host_id, run, started_ms) SELECT host_id, epoch, started_ms FROM epoch;

-- When the probe had delivered all of it; NULL: it may have more. A while after
-- that it is forgotten.
ALTER TABLE epoch ADD COLUMN closed_ms INTEGER;

-- spool_drop: dropped at the probe for want of room; rejected: the collector would
-- not take it; damaged: lost on the probe's disk; elsewhere: another collector has
-- it; unknown: this database had it once, or nobody knows. The latter two are
-- without totals.
ALTER TABLE loss ADD COLUMN reason TEXT NOT NULL DEFAULT 'spool_drop';
ALTER TABLE loss ADD COLUMN from_ms INTEGER;        -- of what time the records were
ALTER TABLE loss ADD COLUMN until_ms INTEGER;

CREATE TABLE coverage_minute (
    host_id            INTEGER NOT NULL REFERENCES host (id),
    minute_ms          INTEGER NOT NULL,            -- its beginning, by the host's clock
    batches            INTEGER NOT NULL DEFAULT 0,
    records            INTEGER NOT NULL DEFAULT 0,  -- that ended in it
    packets            INTEGER NOT NULL DEFAULT 0,  -- of these, both directions
    spool_drop_packets INTEGER NOT NULL DEFAULT 0,  -- lost, as in the table loss
    rejected_packets   INTEGER NOT NULL DEFAULT 0,
    damaged_packets    INTEGER NOT NULL DEFAULT 0,
    not_parsed_packets INTEGER NOT NULL DEFAULT 0,  -- seen, and in no record
    map_full_packets   INTEGER NOT NULL DEFAULT 0,  -- in records without their flow
    ring_lost_payloads INTEGER NOT NULL DEFAULT 0,  -- names that are missing
    PRIMARY KEY (host_id, minute_ms)
) STRICT, WITHOUT ROWID;

-- coverage_pct: of the packets of the minute, how many are in its records.
-- silent_minutes: before this one, since the host's minute before.
CREATE VIEW coverage AS
SELECT h.name AS host, m.host_id, m.minute_ms, m.batches, m.records, m.packets,
       m.spool_drop_packets + m.rejected_packets + m.damaged_packets
           + m.not_parsed_packets AS lost_packets,
       round(100.0 * m.packets / nullif(m.packets + m.spool_drop_packets + m.rejected_packets
           + m.damaged_packets + m.not_parsed_packets, 0), 3) AS coverage_pct,
       m.spool_drop_packets, m.rejected_packets, m.damaged_packets, m.not_parsed_packets,
       m.map_full_packets, m.ring_lost_payloads,
       ifnull((m.minute_ms - lag(m.minute_ms) OVER (PARTITION BY m.host_id ORDER BY m.minute_ms))
           / 60000 - 1, 0) AS silent_minutes
  FROM coverage_minute m JOIN host h ON h.id = m.host_id;
