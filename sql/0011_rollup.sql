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
-- /24 the first 24 bits, negative, or a /64 (collector/rollup/peer_group.h).
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

-- Views for daily questions, out of rollup_hour: fast over months, and complete but for
-- the last minutes (flows has these). Times are of the hour: datetime(hour_ms / 1000, 'unixepoch').

-- What each host itself saw.
CREATE VIEW per_host AS
SELECT r.start_ms AS hour_ms, h.name AS host,
       sum(iif(r.direction = 2, r.bytes, r.rev_bytes)) AS sent_bytes,
       sum(iif(r.direction = 2, r.rev_bytes, r.bytes)) AS received_bytes,
       sum(r.packets + r.rev_packets) AS packets,
       sum(r.flows_begun) AS flows_begun, sum(r.flows_ended) AS flows_ended,
       sum(r.refused) AS refused, sum(r.unanswered) AS unanswered, sum(r.reset) AS reset,
       sum(r.retrans_pkts + r.rev_retrans_pkts) AS retrans_pkts,
       sum(r.kernel_drops) AS kernel_drops
  FROM rollup_hour r JOIN host h ON h.id = r.host_id
 GROUP BY r.start_ms, r.host_id;

-- Each conversation once. dst_port NULL: high ports that serve nobody.
CREATE VIEW per_service AS
SELECT start_ms AS hour_ms, nullif(dst_port, -1) AS dst_port,
       CASE proto & 255 WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 1 THEN 'icmp'
            WHEN 58 THEN 'icmpv6' WHEN 132 THEN 'sctp' ELSE CAST(proto & 255 AS TEXT)
       END AS proto_name,
       sum(bytes + rev_bytes) AS bytes, sum(packets + rev_packets) AS packets,
       sum(flows_begun) AS flows_begun, sum(flows_ended) AS flows_ended,
       sum(refused) AS refused, sum(unanswered) AS unanswered, sum(reset) AS reset,
       1.0 * sum(rtt_sum_us) / nullif(sum(handshakes), 0) AS rtt_avg_us,
       nullif(max(rtt_max_us), 0) AS rtt_max_us,
       1.0 * sum(response_sum_us) / nullif(sum(answered), 0) AS response_avg_us,
       nullif(max(response_max_us), 0) AS response_max_us,
       iif(proto & 255 = 6, 100.0 * sum(retrans_pkts + rev_retrans_pkts)
           / nullif(sum(packets + rev_packets), 0), NULL) AS retrans_pct
  FROM rollup_hour WHERE claim <> -1
 GROUP BY start_ms, dst_port, proto & 255;

-- What each host itself saw of each group of peers.
CREATE VIEW per_pair AS
SELECT r.start_ms AS hour_ms, h.name AS host,
       CASE WHEN r.peer > 0 THEN p.name
            WHEN r.peer = 0 THEN 'other'
            WHEN r.peer > -16777216
            THEN printf('%d.%d.%d.0/24', -r.peer >> 16, -r.peer >> 8 & 255, -r.peer & 255)
            ELSE printf('%x:%x:%x:%x::/64', 64512 | ((-r.peer - 16777216) >> 48),
                        (-r.peer - 16777216) >> 32 & 65535, (-r.peer - 16777216) >> 16 & 65535,
                        (-r.peer - 16777216) & 65535)
       END AS peer,
       sum(iif(r.direction = 2, r.bytes, r.rev_bytes)) AS sent_bytes,
       sum(iif(r.direction = 2, r.rev_bytes, r.bytes)) AS received_bytes,
       sum(r.packets + r.rev_packets) AS packets, sum(r.flows_begun) AS flows_begun,
       sum(r.refused + r.unanswered + r.reset) AS failed,
       sum(r.retrans_pkts + r.rev_retrans_pkts) AS retrans_pkts
  FROM rollup_hour r JOIN host h ON h.id = r.host_id LEFT JOIN host p ON p.id = r.peer
 GROUP BY r.start_ms, r.host_id, r.peer;
