// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/filter/filter.h"

#include <string.h>

#include "common/output.h"

/* The caret stands under the character, however many bytes those before it have. */
void filter_print_error(FILE *out, const char *text, const struct filter_error *error)
{
	size_t len = strlen(text);

	fputs("filter: ", out);
	output_escaped(out, error->text, strlen(error->text));
	fputs("\n  ", out);
	output_escaped(out, text, len);
	fputs("\n  ", out);
	for (size_t i = 0; i < error->at && i < len; i++) {
		if ((text[i] & 0xc0) != 0x80)
			fputc(' ', out);
	}
	fputs("^\n", out);
}

void filter_print_help(FILE *out)
{
	fputs("A FILTER selects flow records. Quote it, or escape what the shell would read.\n"
	      "\n"
	      "  [src|dst] host ADDR         either end, or the side that is named; ip is the "
	      "same\n"
	      "  host NAME                   the host that reported the record\n"
	      "  [src|dst] net 10.0.0.0/8    an end within the prefix\n"
	      "  [src|dst] port 443          also 8000-8999, in [80,443], > 1023; portrange\n"
	      "  [src|dst] flags SA          TCP flags FSRPAUECN of that side (src if none), all "
	      "set\n"
	      "  proto tcp                   name or number\n"
	      "  tcp udp icmp icmp6 sctp ip ip6\n"
	      "  iface NAME                  role client|server|unknown\n"
	      "  direction ingress|egress    end_reason idle|active|end|forced|no_resources\n"
	      "  verdict refused             syn_unanswered|refused|half_open|established|closed|\n"
	      "                              reset|timed_out\n"
	      "  tunnel vxlan                ipip|gre|erspan|vxlan|geneve|gtpu|teredo\n"
	      "  community_id \"1:...=\"\n"
	      "  dns_qname www.example.com   also dns_qtype AAAA, dns_rcode NXDOMAIN\n"
	      "  tls_sni www.example.com     also tls_alpn \"h2,http/1.1\"\n"
	      "  process nginx               also cgroup /system.slice/nginx.service,\n"
	      "                              kernel_drop_reason netfilter_drop\n"
	      "  COLUMN > N                  also >= < <= = !=, on\n"
	      "      bytes packets rev_bytes rev_packets        in this record; rev_ is dst to "
	      "src\n"
	      "      total_bytes total_packets rev_total_bytes rev_total_packets\n"
	      "      retrans rev_retrans retrans_bytes rev_retrans_bytes\n"
	      "      duration rtt rtt_client rtt_server         with a unit: 50ms\n"
	      "      ooo_pkts dup_acks zero_windows ce_pkts mss data_rtt_samples\n"
	      "      data_rtt_min_us data_rtt_avg_us data_rtt_max_us   all these also with rev_\n"
	      "      responses response_avg_us response_max_us icmp_errors icmp_error_type\n"
	      "      icmp_error_code tunnel_id\n"
	      "      dns_latency_us dns_queries dns_unanswered quic_version\n"
	      "      pid uid kernel_drops kernel_retrans_pkts\n"
	      "      vlan ip_version icmp_type icmp_code icmp_id src_port dst_port\n"
	      "      tcp_flags rev_tcp_flags start_ms end_ms flow_id host_id\n"
	      "\n"
	      "Join with and, or, not (&& || !) and parentheses; not binds strongest, then and.\n"
	      "tcp dst port 80 needs no and. Sides may be joined: src or dst, src and dst.\n"
	      "Everything takes lists: host in [10.0.0.1, 10.0.0.2].\n"
	      "Numbers take k M G T (powers of 1000), times us ms s m h. Keywords ignore case.\n"
	      "A comparison with what was not measured (rtt of UDP) does not hold.\n"
	      "\n"
	      "  tcp and dst port 443 and rtt > 50ms\n"
	      "  src net 10.0.0.0/8 and not dst net 10.0.0.0/8 and bytes > 1M\n"
	      "  flags S and not flags A\n"
	      "  host web1 and (retrans > 0 or rev_retrans > 0)\n",
	      out);
}
