-- 0001_spine.sql - hosts, flow records, incidents and what was refused.
--
-- collector/serve/store.c applies the files of sql/ in name order, each in one
-- transaction that also sets PRAGMA user_version to the file's number. A
-- released file is never edited: a change is a new file. The database is known
-- by PRAGMA application_id = 0x77656972 ("weir").
--
-- Conventions: _ms columns are ms since the Unix epoch, UTC; other times have
-- their unit in the name. Addresses are text as inet_ntop(3) writes them, so
-- that any SQL tool reads and compares them; IPv4 is dotted. Counters are
-- totals of the record, never rates. NULL means not measured or not applicable.

-- One row per probe that has ever said HELLO.
CREATE TABLE host (
    id            INTEGER PRIMARY KEY,
    probe_id      BLOB    NOT NULL UNIQUE CHECK (length(probe_id) = 16),
    name          TEXT    NOT NULL,          -- as the probe claims
    kernel        TEXT    NOT NULL,
    build         TEXT    NOT NULL,
    boot_id       BLOB    NOT NULL,
    ifaces        TEXT    NOT NULL,          -- "eth0 xdp+tcx, lo tcx+tcx"
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,          -- last message of any kind, by the collector's clock
    clock_skew_ms INTEGER NOT NULL DEFAULT 0 -- the host's clock minus the collector's, at HELLO
) STRICT;

-- Deduplication: the last batch committed of each start of each probe.
CREATE TABLE epoch (
    host_id       INTEGER NOT NULL REFERENCES host (id),
    epoch         INTEGER NOT NULL,          -- 64 random bits, as a signed number
    last_seq      INTEGER NOT NULL,
    started_ms    INTEGER NOT NULL,
    batches       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host_id, epoch)
) STRICT, WITHOUT ROWID;

-- Counters of the probe since its epoch began: packets seen, and every packet
-- or record that did not become a row, by reason. docs/ARCHITECTURE.md lists them.
CREATE TABLE probe_counter (
    host_id       INTEGER NOT NULL REFERENCES host (id),
    epoch         INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    value         INTEGER NOT NULL,
    updated_ms    INTEGER NOT NULL,
    PRIMARY KEY (host_id, epoch, name)
) STRICT, WITHOUT ROWID;

-- Batches that a probe had to drop, as its tombstones tell.
CREATE TABLE loss (
    id            INTEGER PRIMARY KEY,
    host_id       INTEGER NOT NULL REFERENCES host (id),
    epoch         INTEGER NOT NULL,
    first_seq     INTEGER NOT NULL,
    last_seq      INTEGER NOT NULL,
    rows          INTEGER NOT NULL,
    packets       INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    recorded_ms   INTEGER NOT NULL
) STRICT;

-- What the collector refused from the network, per peer and reason.
CREATE TABLE refusal (
    peer          TEXT    NOT NULL,          -- address, or host name once it said HELLO
    reason        TEXT    NOT NULL,
    count         INTEGER NOT NULL,
    first_ms      INTEGER NOT NULL,
    last_ms       INTEGER NOT NULL,
    PRIMARY KEY (peer, reason)
) STRICT, WITHOUT ROWID;

-- Flow records as they came; append-only, removed only by retention. Read them
-- through the view flows, whose columns are the public vocabulary.
CREATE TABLE flow (
    id                INTEGER PRIMARY KEY,
    host_id           INTEGER NOT NULL REFERENCES host (id),
    flow_id           INTEGER NOT NULL,
    start_ms          INTEGER NOT NULL,
    end_ms            INTEGER NOT NULL,
    duration_us       INTEGER NOT NULL,
    src_addr          TEXT    NOT NULL,
    dst_addr          TEXT    NOT NULL,
    src_port          INTEGER NOT NULL,
    dst_port          INTEGER NOT NULL,
    proto             INTEGER NOT NULL,
    icmp_type         INTEGER,
    icmp_code         INTEGER,
    icmp_id           INTEGER,
    vlan              INTEGER,
    iface             TEXT    NOT NULL,
    direction         INTEGER NOT NULL,
    role              INTEGER NOT NULL,
    end_reason        INTEGER NOT NULL,
    packets           INTEGER NOT NULL,
    bytes             INTEGER NOT NULL,
    rev_packets       INTEGER NOT NULL,
    rev_bytes         INTEGER NOT NULL,
    total_packets     INTEGER NOT NULL,
    total_bytes       INTEGER NOT NULL,
    rev_total_packets INTEGER NOT NULL,
    rev_total_bytes   INTEGER NOT NULL,
    tcp_flags         INTEGER,
    rev_tcp_flags     INTEGER,
    rtt_us            INTEGER,
    rtt_client_us     INTEGER,
    rtt_server_us     INTEGER,
    retrans_pkts      INTEGER,               -- NULL unless TCP, like the five above
    retrans_bytes     INTEGER,
    rev_retrans_pkts  INTEGER,
    rev_retrans_bytes INTEGER
) STRICT;

-- Serves --since/--until, retention and the detectors, which all walk by time.
-- No index on addresses: reports aggregate a window, and every further index
-- is paid at each insert (three cost 87 % of the insert rate).
CREATE INDEX flow_by_end ON flow (end_ms);

CREATE VIEW flows AS
SELECT h.name AS host, f.host_id,
       f.start_ms, f.end_ms, f.duration_us,
       f.src_addr, f.src_port, f.dst_addr, f.dst_port,
       f.proto,
       CASE f.proto WHEN 0 THEN CASE f.end_reason WHEN 5 THEN 'catch-all' ELSE 'hopopt' END
                    WHEN 1 THEN 'icmp' WHEN 2 THEN 'igmp' WHEN 4 THEN 'ipip'
                    WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 41 THEN 'ipv6' WHEN 47 THEN 'gre'
                    WHEN 50 THEN 'esp' WHEN 51 THEN 'ah' WHEN 58 THEN 'icmpv6'
                    WHEN 89 THEN 'ospf' WHEN 103 THEN 'pim' WHEN 112 THEN 'vrrp'
                    WHEN 132 THEN 'sctp' ELSE CAST(f.proto AS TEXT) END AS proto_name,
       CASE WHEN instr(f.src_addr, ':') THEN 6 ELSE 4 END AS ip_version,
       f.icmp_type, f.icmp_code, f.icmp_id, f.vlan, f.iface,
       CASE f.direction WHEN 1 THEN 'ingress' WHEN 2 THEN 'egress' ELSE 'unknown' END AS direction,
       CASE f.role WHEN 1 THEN 'client' WHEN 2 THEN 'server' ELSE 'unknown' END AS role,
       CASE f.end_reason WHEN 1 THEN 'idle' WHEN 2 THEN 'active' WHEN 3 THEN 'end'
                         WHEN 4 THEN 'forced' WHEN 5 THEN 'no_resources' END AS end_reason,
       f.packets, f.bytes, f.rev_packets, f.rev_bytes,
       f.total_packets, f.total_bytes, f.rev_total_packets, f.rev_total_bytes,
       f.tcp_flags, f.rev_tcp_flags,
       f.rtt_us, f.rtt_client_us, f.rtt_server_us,
       f.retrans_pkts, f.retrans_bytes, f.rev_retrans_pkts, f.rev_retrans_bytes,
       f.flow_id
  FROM flow f JOIN host h ON h.id = f.host_id;

-- What a detector raised, with the numbers that raised it.
CREATE TABLE incident (
    id            INTEGER PRIMARY KEY,
    kind          TEXT    NOT NULL,          -- rate_spike, syn_flood, port_scan, host_sweep
    severity      TEXT    NOT NULL CHECK (severity IN ('info', 'warn', 'crit')),
    start_ms      INTEGER NOT NULL,          -- first minute that it was seen in
    end_ms        INTEGER NOT NULL,          -- end of the last one
    src_addr      TEXT,                      -- NULL when there are many sources
    dst_addr      TEXT,
    dst_port      INTEGER,
    proto         INTEGER,
    hosts         TEXT    NOT NULL,          -- names of the hosts that saw it, by comma
    value         REAL    NOT NULL,          -- the measured number
    baseline      REAL,                      -- what was learnt as normal; NULL: fixed threshold
    threshold     REAL    NOT NULL,          -- value had to pass this
    unit          TEXT    NOT NULL,          -- of the three numbers above
    minutes       INTEGER NOT NULL,          -- how many minutes it went on
    detail        TEXT    NOT NULL,          -- one sentence for people
    evidence_sql  TEXT    NOT NULL           -- SELECT that shows the flows behind it
) STRICT;
CREATE INDEX incident_by_end ON incident (end_ms);

-- Learnt packet rates: mean and variance per minute, exponentially weighted.
CREATE TABLE baseline (
    subject       TEXT    NOT NULL,          -- "src 10.0.0.1" or "service 10.0.0.2 6 443"
    mean          REAL    NOT NULL,          -- packets per minute
    variance      REAL    NOT NULL,
    minutes       INTEGER NOT NULL,          -- how many minutes it has learnt from
    updated_ms    INTEGER NOT NULL,
    PRIMARY KEY (subject)
) STRICT, WITHOUT ROWID;

-- How far the detectors have read, so that a restart neither skips nor repeats.
CREATE TABLE detector_state (
    name          TEXT    NOT NULL PRIMARY KEY,
    done_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
