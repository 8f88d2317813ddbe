-- 0009_two_ended.sql - flows that two hosts saw, one at either end.
--
-- A row is one flow: what its source's host sent and its destination's host
-- received, joined on Community ID and the time that it began (hosts' clocks
-- taken out, 5 s apart at most). Counts are totals since the flow began, as of
-- the last record of each end; ended: both ends have told all, so that the two
-- may be compared to the packet.
--
-- lost_packets = sent - received, src to dst; rev_lost_packets the other way.
-- Both are NULL (unknown) while the flow goes on, and where one of the hosts
-- lost records or had to count packets without their flow at that time
-- (coverage = 'unknown').
CREATE VIEW two_ended AS
WITH side AS MATERIALIZED (
    SELECT f.community_id, f.host_id, f.host, f.flow_id, f.proto_name,
           f.src_addr, f.src_port, f.dst_addr, f.dst_port,
           -- a is the end that sorts first: both hosts agree on it, whoever they call src
           (f.src_addr, f.src_port) < (f.dst_addr, f.dst_port) AS a_is_src,
           ((f.src_addr, f.src_port) < (f.dst_addr, f.dst_port))
               = (f.direction = 'egress') AS at_a,
           min(f.start_ms) - h.clock_skew_ms AS start_ms,
           max(f.end_ms) - h.clock_skew_ms AS end_ms,
           max(f.end_reason <> 'active') AS ended,
           max(f.total_packets) AS packets, max(f.rev_total_packets) AS rev_packets,
           sum(f.retrans_pkts) AS retrans_pkts, sum(f.rev_retrans_pkts) AS rev_retrans_pkts,
           max(f.rtt_us) AS rtt_us, sum(f.kernel_drops) AS kernel_drops,
           max(f.kernel_drop_reason) AS kernel_drop_reason,
           max(f.process) AS process, max(f.verdict) AS verdict
      FROM flows f JOIN host h ON h.id = f.host_id
     WHERE f.community_id IS NOT NULL AND f.direction <> 'unknown'
     GROUP BY f.community_id, f.host_id, f.flow_id),
pair AS (
    SELECT a.community_id, a.proto_name, a.a_is_src,
           iif(a.a_is_src, a.host, b.host) AS src_host, iif(a.a_is_src, b.host, a.host) AS dst_host,
           a.src_addr, a.src_port, a.dst_addr, a.dst_port,
           min(a.start_ms, b.start_ms) AS start_ms, max(a.end_ms, b.end_ms) AS end_ms,
           a.ended AND b.ended AS ended,
           -- b may have it the other way round: then its rev_ is our plain
           iif(a.a_is_src, a.packets, iif(b.a_is_src, b.rev_packets, b.packets)) AS sent_packets,
           iif(a.a_is_src, iif(b.a_is_src, b.packets, b.rev_packets), a.packets)
               AS received_packets,
           iif(a.a_is_src, iif(b.a_is_src, b.rev_packets, b.packets), a.rev_packets)
               AS rev_sent_packets,
           iif(a.a_is_src, a.rev_packets, iif(b.a_is_src, b.packets, b.rev_packets))
               AS rev_received_packets,
           max(ifnull(a.retrans_pkts, 0), ifnull(iif(a.a_is_src = b.a_is_src, b.retrans_pkts,
               b.rev_retrans_pkts), 0)) AS retrans_pkts,
           max(ifnull(a.rev_retrans_pkts, 0), ifnull(iif(a.a_is_src = b.a_is_src,
               b.rev_retrans_pkts, b.retrans_pkts), 0)) AS rev_retrans_pkts,
           iif(a.a_is_src, a.rtt_us, b.rtt_us) AS src_rtt_us,
           iif(a.a_is_src, b.rtt_us, a.rtt_us) AS dst_rtt_us,
           iif(a.a_is_src, a.kernel_drops, b.kernel_drops) AS src_drops,
           iif(a.a_is_src, a.kernel_drop_reason, b.kernel_drop_reason) AS src_drop_reason,
           iif(a.a_is_src, b.kernel_drops, a.kernel_drops) AS dst_drops,
           iif(a.a_is_src, b.kernel_drop_reason, a.kernel_drop_reason) AS dst_drop_reason,
           iif(a.a_is_src, a.process, b.process) AS src_process,
           iif(a.a_is_src, b.process, a.process) AS dst_process,
           ifnull(a.verdict, b.verdict) AS verdict,
           NOT EXISTS (SELECT 1 FROM coverage_minute m
                        WHERE m.host_id IN (a.host_id, b.host_id)
                          AND m.minute_ms BETWEEN min(a.start_ms, b.start_ms) - 60000
                                              AND max(a.end_ms, b.end_ms) + 60000
                          AND m.spool_drop_packets + m.rejected_packets + m.damaged_packets
                              + m.map_full_packets > 0) AS complete
      FROM side a JOIN side b ON b.community_id = a.community_id
     WHERE a.at_a AND NOT b.at_a AND a.host_id <> b.host_id
       AND abs(a.start_ms - b.start_ms) <= 5000)
SELECT community_id, proto_name, src_host, dst_host, src_addr, src_port, dst_addr, dst_port,
       start_ms, end_ms, ended, iif(complete, 'full', 'unknown') AS coverage,
       sent_packets, received_packets,
       iif(ended AND complete, sent_packets - received_packets, NULL) AS lost_packets,
       rev_sent_packets, rev_received_packets,
       iif(ended AND complete, rev_sent_packets - rev_received_packets, NULL) AS rev_lost_packets,
       retrans_pkts, rev_retrans_pkts, src_rtt_us, dst_rtt_us,
       src_drops, src_drop_reason, dst_drops, dst_drop_reason,
       src_process, dst_process, verdict
  FROM pair;
