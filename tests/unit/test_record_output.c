// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe/replay/record_output.h"

/* The record as one JSON object. The caller frees it. */
static char *json(const struct flow_record *r)
{
	struct output *o;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	assert_int_equal(record_output_begin(f, OUTPUT_NDJSON, &o), 0);
	record_output_row(o, r);
	assert_int_equal(output_end(o), 0);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void check(const struct flow_record *r, const char *const parts[])
{
	char *text = json(r);

	for (size_t i = 0; parts[i]; i++)
		if (!strstr(text, parts[i]))
			fail_msg("no %s in: %s", parts[i], text);
	free(text);
}

static struct flow_record record(uint8_t proto)
{
	struct flow_record r = {
		.flow_id = 9007199254740991,
		.start_ns = 1700000000123456789,
		.end_ns = 1700000001123456789,
		.proto = proto,
		.packets = 5,
		.rev_bytes = 700,
		.end_reason = FLOW_END_DETECTED,
	};

	memcpy(r.src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
	memcpy(r.dst_addr, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
	return r;
}

static void a_tcp_flow(void **state)
{
	struct flow_record r = record(IPPROTO_TCP);

	(void)state;
	r.src_port = 40000;
	r.tcp_flags = 0x1b;
	r.rtt_us = 1234;
	r.rev_ooo_pkts = 3;
	r.verdict = FLOW_VERDICT_HALF_OPEN;
	r.direction = FLOW_DIRECTION_EGRESS;
	r.tunnel = FLOW_ENCAP_VXLAN;
	r.tunnel_id = 77;
	memcpy(r.outer_dst_addr, r.dst_addr, 16);
	check(&r, (const char *[]){"{\"start_ms\":1700000000123,",
				   "\"end_ms\":1700000001123,",
				   "\"duration_us\":1000000,",
				   "\"src_addr\":\"10.0.0.1\",\"dst_addr\":\"2001:db8::2\"",
				   "\"proto\":6",
				   "\"proto_name\":\"tcp\"",
				   "\"src_port\":40000",
				   "\"icmp_type\":null",
				   "\"vlan\":null",
				   "\"tcp_flags\":27",
				   "\"rtt_us\":1234",
				   "\"rtt_client_us\":null",
				   "\"ooo_pkts\":0",
				   "\"rev_ooo_pkts\":3",
				   "\"packets\":5",
				   "\"rev_bytes\":700",
				   "\"flow_id\":9007199254740991",
				   "\"verdict\":\"half_open\"",
				   "\"direction\":\"egress\"",
				   "\"end_reason\":\"end\"",
				   "\"tunnel\":\"vxlan\"",
				   "\"tunnel_id\":77",
				   "\"outer_dst_addr\":\"2001:db8::2\"",
				   "\"iface\":null",
				   "\"tls_sni\":null",
				   "\"dns_rcode\":null",
				   NULL});
}

static void a_ping(void **state)
{
	struct flow_record r = record(IPPROTO_ICMP);

	(void)state;
	r.icmp_type = 8;
	r.vlan = 42;
	check(&r, (const char *[]){"\"proto_name\":\"icmp\"", "\"icmp_type\":8", "\"icmp_code\":0",
				   "\"vlan\":42", "\"tcp_flags\":null", "\"retrans_pkts\":null",
				   "\"ip_version\":4", "\"tunnel\":null", "\"outer_src_addr\":null",
				   "\"verdict\":null", NULL});
}

static void a_protocol_without_a_name(void **state)
{
	struct flow_record r = record(250);

	(void)state;
	check(&r, (const char *[]){"\"proto_name\":\"250\"", "\"proto\":250", NULL});
}

static void the_catch_all(void **state)
{
	struct flow_record r = {.packets = 8, .end_reason = FLOW_END_NO_RESOURCES};

	(void)state;
	check(&r, (const char *[]){"\"proto_name\":\"catch-all\"",
				   "\"end_reason\":\"no_resources\"", "\"packets\":8",
				   "\"community_id\":null", "\"src_addr\":\"::\"", NULL});
}

static void names_of_what_a_flow_is_about(void **state)
{
	struct flow_record r = record(IPPROTO_UDP);

	(void)state;
	(void)strcpy(r.dns_qname, "example.org");
	r.dns_qtype = 28;
	r.dns_rcode = 3;
	r.dns_queries = 1;
	(void)strcpy(r.tls_sni, "a.example");
	check(&r, (const char *[]){"\"dns_qname\":\"example.org\"", "\"dns_qtype\":\"AAAA\"",
				   "\"dns_rcode\":\"NXDOMAIN\"", "\"dns_queries\":1",
				   "\"tls_sni\":\"a.example\"", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tcp_flow),
		cmocka_unit_test(a_ping),
		cmocka_unit_test(a_protocol_without_a_name),
		cmocka_unit_test(the_catch_all),
		cmocka_unit_test(names_of_what_a_flow_is_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
