-- 0002_performance.sql - how well a flow went, what it travelled in, how it ended.
--
-- Records from before read NULL in all of it. proto/flow_record.h says exactly
-- what each column counts.

ALTER TABLE flow ADD COLUMN ooo_pkts INTEGER;                     -- TCP, like the five below
ALTER TABLE flow ADD COLUMN rev_ooo_pkts INTEGER;
ALTER TABLE flow ADD COLUMN dup_acks INTEGER;
ALTER TABLE flow ADD COLUMN rev_dup_acks INTEGER;
ALTER TABLE flow ADD COLUMN zero_windows INTEGER;
ALTER TABLE flow ADD COLUMN rev_zero_windows INTEGER;
ALTER TABLE flow ADD COLUMN ce_pkts INTEGER;                      -- any IP; NULL: catch-all
ALTER TABLE flow ADD COLUMN rev_ce_pkts INTEGER;
ALTER TABLE flow ADD COLUMN mss INTEGER;                          -- from the SYN
ALTER TABLE flow ADD COLUMN rev_mss INTEGER;                      -- from the SYN-ACK
ALTER TABLE flow ADD COLUMN data_rtt_samples INTEGER;             -- TCP, ICMP; 0: the rest is NULL
ALTER TABLE flow ADD COLUMN data_rtt_min_us INTEGER;
ALTER TABLE flow ADD COLUMN data_rtt_avg_us INTEGER;
ALTER TABLE flow ADD COLUMN data_rtt_max_us INTEGER;
ALTER TABLE flow ADD COLUMN data_rtt_hist TEXT;                   -- 16 counts: "0,0,3,..."
ALTER TABLE flow ADD COLUMN rev_data_rtt_samples INTEGER;
ALTER TABLE flow ADD COLUMN rev_data_rtt_min_us INTEGER;
ALTER TABLE flow ADD COLUMN rev_data_rtt_avg_us INTEGER;
ALTER TABLE flow ADD COLUMN rev_data_rtt_max_us INTEGER;
ALTER TABLE flow ADD COLUMN rev_data_rtt_hist TEXT;
ALTER TABLE flow ADD COLUMN responses INTEGER;                    -- TCP and UDP
ALTER TABLE flow ADD COLUMN response_avg_us INTEGER;
ALTER TABLE flow ADD COLUMN response_max_us INTEGER;
ALTER TABLE flow ADD COLUMN icmp_errors INTEGER;                  -- that quote this flow
ALTER TABLE flow ADD COLUMN icmp_error_type INTEGER;              -- of the last one
ALTER TABLE flow ADD COLUMN icmp_error_code INTEGER;
ALTER TABLE flow ADD COLUMN tunnel INTEGER CHECK (tunnel > 0);    -- NULL: in none
ALTER TABLE flow ADD COLUMN tunnel_id INTEGER;                    -- VNI, GRE key
ALTER TABLE flow ADD COLUMN outer_src_addr TEXT;
ALTER TABLE flow ADD COLUMN outer_dst_addr TEXT;
ALTER TABLE flow ADD COLUMN verdict INTEGER CHECK (verdict > 0);  -- TCP
ALTER TABLE flow ADD COLUMN community_id TEXT;                    -- v1, seed 0; NULL: catch-all

DROP VIEW flows;
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
       f.ooo_pkts, f.rev_ooo_pkts, f.dup_acks, f.rev_dup_acks,
       f.zero_windows, f.rev_zero_windows, f.ce_pkts, f.rev_ce_pkts, f.mss, f.rev_mss,
       f.data_rtt_samples, f.data_rtt_min_us, f.data_rtt_avg_us, f.data_rtt_max_us,
       f.data_rtt_hist,
       f.rev_data_rtt_samples, f.rev_data_rtt_min_us, f.rev_data_rtt_avg_us,
       f.rev_data_rtt_max_us, f.rev_data_rtt_hist,
       f.responses, f.response_avg_us, f.response_max_us,
       f.icmp_errors, f.icmp_error_type, f.icmp_error_code,
       CASE f.tunnel WHEN 1 THEN 'ipip' WHEN 2 THEN 'gre' WHEN 3 THEN 'erspan'
                     WHEN 4 THEN 'vxlan' WHEN 5 THEN 'geneve' WHEN 6 THEN 'gtpu'
                     WHEN 7 THEN 'teredo' END AS tunnel,
       f.tunnel_id, f.outer_src_addr, f.outer_dst_addr,
       CASE f.verdict WHEN 1 THEN 'syn_unanswered' WHEN 2 THEN 'refused'
                      WHEN 3 THEN 'half_open' WHEN 4 THEN 'established' WHEN 5 THEN 'closed'
                      WHEN 6 THEN 'reset' WHEN 7 THEN 'timed_out' END AS verdict,
       f.community_id, f.flow_id
  FROM flow f JOIN host h ON h.id = f.host_id;
