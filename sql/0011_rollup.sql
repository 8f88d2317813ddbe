-- 0011_rollup.sql - sums of flow records by minute and by hour.
--
-- One row for each minute (hour) in which records ended, host that reported
-- them, far end, service, protocol, direction, role and IP version. They are made
-- of segments (flow_segment) a minute or so after these, and are kept for longer:
-- weir-collector serve --rollup-minute-retention, --rollup-hour-retention.
--
-- They hold each record of the segments up to rollup_state.segment_id once. What
-- came later is in flows only.

CREATE TABLE rollup_minute (
    start_ms         INTEGER NOT NULL,       -- of the minute of end_ms
    host_id          INTEGER NOT NULL,       -- that reported it
    dst_port         INTEGER NOT NULL,       -- the service; -1: any from 32768 on that is none
    proto            INTEGER NOT NULL,       -- of catch-all records: 256 more
    direction        INTEGER NOT NULL,       -- of src to dst at the host: 0 unknown, 1 ingress, 2 egress
    role             INTEGER NOT NULL,       -- of the host: 0 unknown, 1 client, 2 server
    ip_version       INTEGER NOT NULL,       -- 4, 6
    -- Who the far end belongs to (src of ingress, else dst). 1: a host of the fleet; -1: a
    -- private network; 0: neither.
    peer             INTEGER NOT NULL,
    -- Which of its conversations count, where each shall do so once. 0: all; -1: none, as
    -- another host has them; -2: only the records tell; else twice the id of the host that
    -- has them if it reported, and 1 more where there is a second one.
    claim            INTEGER NOT NULL,

    records          INTEGER NOT NULL,
    flows_begun      INTEGER NOT NULL,       -- the first record of the flow
    flows_ended      INTEGER NOT NULL,       -- the last one
    packets          INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    rev_packets      INTEGER NOT NULL,
    rev_bytes        INTEGER NOT NULL,
    retrans_pkts     INTEGER NOT NULL,
    rev_retrans_pkts INTEGER NOT NULL,
    kernel_drops     INTEGER NOT NULL,
    refused          INTEGER NOT NULL,       -- flows that ended so: verdict refused,
    unanswered       INTEGER NOT NULL,       -- syn_unanswered or half_open,
    reset            INTEGER NOT NULL,       -- reset
    handshakes       INTEGER NOT NULL,       -- records with rtt_us
    rtt_sum_us       INTEGER NOT NULL,
    rtt_max_us       INTEGER NOT NULL,
    answered         INTEGER NOT NULL,       -- records with response_avg_us
    response_sum_us  INTEGER NOT NULL,       -- of response_avg_us
    response_max_us  INTEGER NOT NULL,
    PRIMARY KEY (start_ms, host_id, dst_port, proto, direction, role, ip_version, peer, claim)
) STRICT, WITHOUT ROWID;

-- The same by hour. peer: above 0 the id of a host; below 0 a private network, as a
-- /24 the first 24 bits, negative, or a /64 (collector/flowstore/peer_group.h).
CREATE TABLE rollup_hour (
    start_ms         INTEGER NOT NULL,
    host_id          INTEGER NOT NULL,
    dst_port         INTEGER NOT NULL,
    proto            INTEGER NOT NULL,
    direction        INTEGER NOT NULL,
    role             INTEGER NOT NULL,
    ip_version       INTEGER NOT NULL,
    peer             INTEGER NOT NULL,
    claim            INTEGER NOT NULL,

    records          INTEGER NOT NULL,
    flows_begun      INTEGER NOT NULL,
    flows_ended      INTEGER NOT NULL,
    packets          INTEGER NOT NULL,
    bytes            INTEGER NOT NULL,
    rev_packets      INTEGER NOT NULL,
    rev_bytes        INTEGER NOT NULL,
    retrans_pkts     INTEGER NOT NULL,
    rev_retrans_pkts INTEGER NOT NULL,
    kernel_drops     INTEGER NOT NULL,
    refused          INTEGER NOT NULL,
    unanswered       INTEGER NOT NULL,
    reset            INTEGER NOT NULL,
    handshakes       INTEGER NOT NULL,
    rtt_sum_us       INTEGER NOT NULL,
    rtt_max_us       INTEGER NOT NULL,
    answered         INTEGER NOT NULL,
    response_sum_us  INTEGER NOT NULL,
    response_max_us  INTEGER NOT NULL,
    PRIMARY KEY (start_ms, host_id, dst_port, proto, direction, role, ip_version, peer, claim)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_state (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    segment_id       INTEGER NOT NULL,       -- the last one that is in them
    minute_since_ms  INTEGER NOT NULL,       -- rows of before are deleted
    hour_since_ms    INTEGER NOT NULL,
    flows_since_ms   INTEGER NOT NULL        -- some records that ended before are deleted
) STRICT;
INSERT INTO rollup_state VALUES (1, 0, 0, 0, 0);

-- Segments that were damaged and so are in no rollup.
CREATE TABLE rollup_gap (
    segment_id       INTEGER PRIMARY KEY,
    n_rows           INTEGER NOT NULL,
    min_end_ms       INTEGER NOT NULL,
    max_end_ms       INTEGER NOT NULL
) STRICT;
