-- 0004_process.sql - which software a flow met on its host.
--
-- Of the host that reported the record: the process that its socket belongs
-- to, and what its kernel did to the packets. Records from before, and flows
-- without a socket of the host, read NULL.

ALTER TABLE flow ADD COLUMN process TEXT;                -- name; NULL: unknown, like the two below
ALTER TABLE flow ADD COLUMN pid INTEGER;
ALTER TABLE flow ADD COLUMN uid INTEGER;
ALTER TABLE flow ADD COLUMN cgroup TEXT;                 -- "/system.slice/nginx.service"
ALTER TABLE flow ADD COLUMN kernel_drops INTEGER;        -- packets; NULL: none known
ALTER TABLE flow ADD COLUMN kernel_drop_reason TEXT;     -- the most frequent
ALTER TABLE flow ADD COLUMN kernel_retrans_pkts INTEGER; -- TCP segments that the host sent again

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
       f.dns_qname,
       CASE f.dns_qtype WHEN 1 THEN 'A' WHEN 2 THEN 'NS' WHEN 5 THEN 'CNAME'
                        WHEN 6 THEN 'SOA' WHEN 10 THEN 'NULL' WHEN 12 THEN 'PTR'
                        WHEN 13 THEN 'HINFO' WHEN 15 THEN 'MX' WHEN 16 THEN 'TXT'
                        WHEN 28 THEN 'AAAA' WHEN 29 THEN 'LOC' WHEN 33 THEN 'SRV'
                        WHEN 35 THEN 'NAPTR' WHEN 39 THEN 'DNAME' WHEN 43 THEN 'DS'
                        WHEN 44 THEN 'SSHFP' WHEN 46 THEN 'RRSIG' WHEN 47 THEN 'NSEC'
                        WHEN 48 THEN 'DNSKEY' WHEN 50 THEN 'NSEC3' WHEN 52 THEN 'TLSA'
                        WHEN 64 THEN 'SVCB' WHEN 65 THEN 'HTTPS' WHEN 251 THEN 'IXFR'
                        WHEN 252 THEN 'AXFR' WHEN 255 THEN 'ANY' WHEN 257 THEN 'CAA'
                        ELSE 'TYPE' || f.dns_qtype END AS dns_qtype,
       CASE f.dns_rcode WHEN 0 THEN 'NOERROR' WHEN 1 THEN 'FORMERR' WHEN 2 THEN 'SERVFAIL'
                        WHEN 3 THEN 'NXDOMAIN' WHEN 4 THEN 'NOTIMP' WHEN 5 THEN 'REFUSED'
                        WHEN 6 THEN 'YXDOMAIN' WHEN 7 THEN 'YXRRSET' WHEN 8 THEN 'NXRRSET'
                        WHEN 9 THEN 'NOTAUTH' WHEN 10 THEN 'NOTZONE'
                        ELSE 'RCODE' || f.dns_rcode END AS dns_rcode,
       f.dns_latency_us, f.dns_queries, f.dns_unanswered,
       f.tls_sni, f.tls_alpn, f.quic_version,
       f.process, f.pid, f.uid, f.cgroup,
       f.kernel_drops, f.kernel_drop_reason, f.kernel_retrans_pkts,
       f.community_id, f.flow_id
  FROM flow f JOIN host h ON h.id = f.host_id;
