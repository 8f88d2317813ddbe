/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_columns.h - the columns of a flow record that are one number or text each.
 *
 * X(name, max, has): name is the same in struct flow_record, in the table
 * flows of SQL and in the filter language. max is the
 * largest value that is taken from a peer. has is a condition on r, a const
 * struct flow_record *: where it does not hold, the value is NULL in SQL.
 *
 * A column more is a line here and one in struct flow_record: the blocks of
 * proto/flow_block.h, checking, storing, the table flows and filtering follow
 * from these lists. On the wire and on disk a column is known by its name, so
 * lines may be put anywhere, but a name is never used for something else.
 */
#ifndef WEIR_PROTO_FLOW_COLUMNS_H
#define WEIR_PROTO_FLOW_COLUMNS_H

#include <netinet/in.h>
#include <stdbool.h>

#include "proto/flow_record.h"

#define FLOW_ID_MAX    ((UINT64_C(1) << 53) - 1)
#define FLOW_COUNT_MAX (UINT64_C(1) << 48) /* in one record: sums of them stay far from 2^63 */
#define FLOW_TOTAL_MAX (UINT64_C(1) << 56) /* 2^48 bytes pass in six hours at 100 Gbit/s */
#define FLOW_VLAN_MAX  4095

static inline bool flow_is_tcp(const struct flow_record *r)
{
	return r->proto == IPPROTO_TCP;
}

static inline bool flow_is_icmp(const struct flow_record *r)
{
	return r->proto == IPPROTO_ICMP || r->proto == IPPROTO_ICMPV6;
}

static inline bool flow_has_dns(const struct flow_record *r)
{
	return r->dns_qname[0] != '\0';
}

static inline bool flow_is_catch_all(const struct flow_record *r)
{
	return r->end_reason == FLOW_END_NO_RESOURCES;
}

/* uint64 */
#define FLOW_COUNTERS(X)                                                                           \
	X(flow_id, FLOW_ID_MAX, true)                                                              \
	X(packets, FLOW_COUNT_MAX, true)                                                           \
	X(bytes, FLOW_COUNT_MAX, true)                                                             \
	X(rev_packets, FLOW_COUNT_MAX, true)                                                       \
	X(rev_bytes, FLOW_COUNT_MAX, true)                                                         \
	X(total_packets, FLOW_TOTAL_MAX, true)                                                     \
	X(total_bytes, FLOW_TOTAL_MAX, true)                                                       \
	X(rev_total_packets, FLOW_TOTAL_MAX, true)                                                 \
	X(rev_total_bytes, FLOW_TOTAL_MAX, true)                                                   \
	X(retrans_pkts, FLOW_COUNT_MAX, flow_is_tcp(r))                                            \
	X(retrans_bytes, FLOW_COUNT_MAX, flow_is_tcp(r))                                           \
	X(rev_retrans_pkts, FLOW_COUNT_MAX, flow_is_tcp(r))                                        \
	X(rev_retrans_bytes, FLOW_COUNT_MAX, flow_is_tcp(r))

/* uint32 */
#define FLOW_NUMBERS(X)                                                                            \
	X(src_port, UINT16_MAX, true)                                                              \
	X(dst_port, UINT16_MAX, true)                                                              \
	X(proto, UINT8_MAX, true)                                                                  \
	X(icmp_type, UINT8_MAX, flow_is_icmp(r))                                                   \
	X(icmp_code, UINT8_MAX, flow_is_icmp(r))                                                   \
	X(icmp_id, UINT16_MAX, flow_is_icmp(r))                                                    \
	X(vlan, FLOW_VLAN_MAX, r->vlan)                                                            \
	X(tcp_flags, UINT16_MAX, flow_is_tcp(r))                                                   \
	X(rev_tcp_flags, UINT16_MAX, flow_is_tcp(r))                                               \
	X(rtt_us, UINT32_MAX, flow_is_tcp(r) && r->rtt_us)                                         \
	X(rtt_client_us, UINT32_MAX, flow_is_tcp(r) && r->rtt_client_us)                           \
	X(rtt_server_us, UINT32_MAX, flow_is_tcp(r) && r->rtt_server_us)                           \
	X(ooo_pkts, UINT32_MAX, flow_is_tcp(r))                                                    \
	X(rev_ooo_pkts, UINT32_MAX, flow_is_tcp(r))                                                \
	X(dup_acks, UINT32_MAX, flow_is_tcp(r))                                                    \
	X(rev_dup_acks, UINT32_MAX, flow_is_tcp(r))                                                \
	X(zero_windows, UINT32_MAX, flow_is_tcp(r))                                                \
	X(rev_zero_windows, UINT32_MAX, flow_is_tcp(r))                                            \
	X(ce_pkts, UINT32_MAX, !flow_is_catch_all(r))                                              \
	X(rev_ce_pkts, UINT32_MAX, !flow_is_catch_all(r))                                          \
	X(mss, UINT16_MAX, r->mss)                                                                 \
	X(rev_mss, UINT16_MAX, r->rev_mss)                                                         \
	X(data_rtt_samples, UINT32_MAX, flow_is_tcp(r) || flow_is_icmp(r))                         \
	X(data_rtt_min_us, UINT32_MAX, r->data_rtt_samples)                                        \
	X(data_rtt_avg_us, UINT32_MAX, r->data_rtt_samples)                                        \
	X(data_rtt_max_us, UINT32_MAX, r->data_rtt_samples)                                        \
	X(rev_data_rtt_samples, UINT32_MAX, flow_is_tcp(r) || flow_is_icmp(r))                     \
	X(rev_data_rtt_min_us, UINT32_MAX, r->rev_data_rtt_samples)                                \
	X(rev_data_rtt_avg_us, UINT32_MAX, r->rev_data_rtt_samples)                                \
	X(rev_data_rtt_max_us, UINT32_MAX, r->rev_data_rtt_samples)                                \
	X(responses, UINT32_MAX, flow_is_tcp(r) || r->proto == IPPROTO_UDP)                        \
	X(response_avg_us, UINT32_MAX, r->responses)                                               \
	X(response_max_us, UINT32_MAX, r->responses)                                               \
	X(icmp_errors, UINT32_MAX, !flow_is_catch_all(r))                                          \
	X(icmp_error_type, UINT8_MAX, r->icmp_errors)                                              \
	X(icmp_error_code, UINT8_MAX, r->icmp_errors)                                              \
	X(tunnel_id, UINT32_MAX, r->tunnel)                                                        \
	X(dns_latency_us, UINT32_MAX, r->dns_latency_us)                                           \
	X(dns_queries, UINT32_MAX, flow_has_dns(r))                                                \
	X(dns_unanswered, UINT32_MAX, flow_has_dns(r))                                             \
	X(quic_version, UINT32_MAX, r->quic_version)                                               \
	X(pid, UINT32_MAX, r->pid)                                                                 \
	X(uid, UINT32_MAX, r->pid)                                                                 \
	X(kernel_drops, UINT32_MAX, r->kernel_drops)                                               \
	X(kernel_retrans_pkts, UINT32_MAX, flow_is_tcp(r) && (r->pid || r->kernel_retrans_pkts))

/* uint32: an enum of flow_record.h, which the table flows shows as words. */
#define FLOW_CODES(X)                                                                              \
	X(direction, FLOW_DIRECTION_MAX - 1, true)                                                 \
	X(role, FLOW_ROLE_MAX - 1, true)                                                           \
	X(end_reason, FLOW_END_MAX - 1, true)                                                      \
	X(tunnel, FLOW_ENCAP_MAX - 1, r->tunnel)                                                   \
	X(verdict, FLOW_VERDICT_MAX - 1, r->verdict)

/* uint32: numbers of IANA's DNS registries, which the table flows shows as words. */
#define FLOW_DNS_CODES(X)                                                                          \
	X(dns_qtype, UINT16_MAX, flow_has_dns(r))                                                  \
	X(dns_rcode, UINT8_MAX, flow_has_dns(r) && r->dns_rcode != DNS_RCODE_NONE)

/* All numbers, the wide ones first. */
#define FLOW_COLUMNS(X) FLOW_COUNTERS(X) FLOW_NUMBERS(X) FLOW_CODES(X) FLOW_DNS_CODES(X)

/* Texts, arrays of char in struct flow_record; max is their size, and "" is none. */
#define FLOW_TEXTS(X)                                                                              \
	X(iface, IFACE_NAME_MAX, true)                                                             \
	X(dns_qname, DNS_NAME_MAX, flow_has_dns(r))                                                \
	X(tls_sni, TLS_SNI_MAX, r->tls_sni[0])                                                     \
	X(tls_alpn, TLS_ALPN_MAX, r->tls_alpn[0])                                                  \
	X(process, PROCESS_MAX, r->pid)                                                            \
	X(cgroup, CGROUP_PATH_MAX, r->cgroup[0])                                                   \
	X(kernel_drop_reason, DROP_REASON_MAX, r->kernel_drops)

#endif /* WEIR_PROTO_FLOW_COLUMNS_H */
