/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the record of a flow to its row: every value, under its name, or NULL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/flow_columns.h"
#include "proto/flow_words.h"
#include "proto/frame.h"
#include "tests/unit/store_fixture.h"

static void test_row_has_the_values_of_the_record(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "2001:db8::2", 443, 5000);
	struct fixture *f = *state;

	r.src_port = 40000;
	r.vlan = 12;
	r.rtt_client_us = 0; /* not measured */
	r.retrans_pkts = 2;
	r.retrans_bytes = 2000;
	r.total_packets = 110;
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 1), NULL), JOB_DONE);
	sample_assert_text(
		f->outside,
		"SELECT host || ' ' || start_ms || ' ' || end_ms || ' ' || duration_us"
		" || ' ' || src_addr || ' ' || src_port || ' ' || dst_addr || ' ' ||"
		" dst_port || ' ' || proto_name || ' ' || ip_version || ' ' || vlan || ' '"
		" || iface || ' ' || direction || ' ' || role || ' ' || end_reason"
		" FROM flows",
		"host1 4800 5000 200000 10.0.0.1 40000 2001:db8::2 443 tcp 4 12 eth0 "
		"ingress server end");
	sample_assert_text(
		f->outside,
		"SELECT packets || ' ' || bytes || ' ' || rev_packets || ' ' || rev_bytes"
		" || ' ' || total_packets || ' ' || total_bytes || ' ' ||"
		" rev_total_packets || ' ' || rev_total_bytes || ' ' || tcp_flags || ' ' ||"
		" rev_tcp_flags || ' ' || rtt_us || ' ' || ifnull(rtt_client_us, 'NULL') ||"
		" ' ' || rtt_server_us || ' ' || retrans_pkts || ' ' || retrans_bytes ||"
		" ' ' || rev_retrans_pkts || ' ' || ifnull(icmp_type, 'NULL') FROM flows",
		"10 1000 9 9000 110 1000 9 9000 27 27 300 NULL 200 2 2000 0 NULL");
}

static void test_what_does_not_apply_is_null(void **state)
{
	struct flow_record udp = sample_flow("10.0.0.1", "10.0.0.2", 53, 5000), ping = udp;
	struct fixture *f = *state;

	udp.proto = 17;
	ping.proto = 58;
	ping.icmp_type = 128;
	ping.icmp_id = 77;
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &udp, 1), NULL), JOB_DONE);
	assert_int_equal(apply_batch(f, sample_batch(1, 2, &ping, 1), NULL), JOB_DONE);
	assert_int_equal(sample_int(f->outside,
				    "SELECT count(*) FROM flows WHERE coalesce(tcp_flags,"
				    " rev_tcp_flags, rtt_us, rtt_client_us, rtt_server_us,"
				    " retrans_pkts, retrans_bytes, rev_retrans_pkts,"
				    " rev_retrans_bytes, vlan, ooo_pkts, rev_dup_acks,"
				    " zero_windows, mss, data_rtt_min_us, rev_data_rtt_hist,"
				    " response_avg_us, icmp_error_type, icmp_error_code, tunnel,"
				    " tunnel_id, outer_src_addr, outer_dst_addr, verdict) IS NULL"
				    " AND ce_pkts = 0 AND icmp_errors = 0"),
			 2);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM flows WHERE"
						" (responses IS NULL) = (proto = 58) AND"
						" (data_rtt_samples IS NULL) = (proto = 17)"),
			 2);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM flows WHERE proto = 17 AND"
						" coalesce(icmp_type, icmp_code, icmp_id) IS NULL"),
			 1);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM flows WHERE icmp_type = 128"
						" AND icmp_code = 0 AND icmp_id = 77"),
			 1);
}

static int64_t stored(struct fixture *f, const char *column)
{
	char sql[100];

	(void)snprintf(sql, sizeof(sql), "SELECT ifnull(%s, -1) FROM flows", column);
	return sample_int(f->outside, sql);
}

/* Every number of a record, from the frame of a probe to the row. */
static void test_every_number_arrives(void **state)
{
	struct flow_record full = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000), *r = &full;
	struct batch *sent, *got = NULL;
	struct fixture *f = *state;
	struct packed frame;
	int n = 1;

#define SET(name, max, has) r->name = (__typeof__(r->name))n++;
	FLOW_NUMBERS(SET)
	FLOW_COUNTERS(SET)
#undef SET
	r->proto = 6;
	r->tunnel = FLOW_ENCAP_GENEVE;
	r->verdict = FLOW_VERDICT_TIMED_OUT;
	r->dns_qname[0] = 'x'; /* else the numbers of DNS are none */
	sent = sample_batch(1, 1, r, 1);
	assert_int_equal(batch_pack(sent, &frame), 0);
	assert_int_equal(batch_unpack(frame.data + FRAME_HEADER_BYTES,
				      frame.len - FRAME_HEADER_BYTES, &got, NULL),
			 0);
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, got, NULL), JOB_DONE);
#define COMPARE(name, max, has)                                                                    \
	if (stored(f, #name) != ((has) ? (int64_t)r->name : -1))                                   \
		fail_msg(#name " is %ld", stored(f, #name));
	FLOW_COUNTERS(COMPARE)
	FLOW_NUMBERS(COMPARE)
#undef COMPARE
	assert_int_equal(stored(f, "icmp_type"), -1);
	assert_int_equal(stored(f, "rev_data_rtt_max_us"), r->rev_data_rtt_max_us);
	free(frame.data);
	batch_free(sent);
}

/* The view has every column of the record under its own name. */
static void test_view_has_every_column(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 1), NULL), JOB_DONE);
#define AND(name, max, has) " AND (f." #name " IS NULL OR 1)"
	assert_int_equal(sample_int(f->outside,
				    "SELECT count(*) FROM flows AS f WHERE 1" FLOW_COLUMNS(AND)
					    FLOW_TEXTS(AND)),
			 1);
#undef AND
}

static void test_texts_of_a_record(void **state)
{
	struct flow_record r = sample_flow("128.232.110.120", "66.35.250.204", 80, 5000);
	struct fixture *f = *state;

	r.src_port = 34855;
	r.data_rtt_samples = 65538;
	r.data_rtt_max_us = 1u << 30;
	r.data_rtt_hist[0] = 3;
	r.data_rtt_hist[15] = 65535;
	r.rev_data_rtt_hist[1] = 1; /* without a sample: not a measurement */
	r.tunnel = FLOW_ENCAP_VXLAN;
	r.tunnel_id = 42;
	r.verdict = FLOW_VERDICT_HALF_OPEN;
	assert_int_equal(addr_parse("192.0.2.1", r.outer_src_addr), 0);
	assert_int_equal(addr_parse("2001:db8::9", r.outer_dst_addr), 0);
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 1), NULL), JOB_DONE);
	sample_assert_text(f->outside,
			   "SELECT data_rtt_hist || ' ' || ifnull(rev_data_rtt_hist, 'NULL') ||"
			   " ' ' || tunnel || ' ' || tunnel_id || ' ' || outer_src_addr || ' ' ||"
			   " outer_dst_addr || ' ' || verdict || ' ' || community_id FROM flows",
			   "3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,65535 NULL vxlan 42 192.0.2.1"
			   " 2001:db8::9 half_open 1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
}

static void test_names_of_a_record(void **state)
{
	struct flow_record rows[3];
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++)
		rows[i] = sample_flow("10.0.0.1", "10.0.0.2", 53, 1000);
	(void)strcpy(rows[0].dns_qname, "www.example.com");
	rows[0].dns_qtype = 28;
	rows[0].dns_rcode = 2;
	(void)strcpy(rows[1].dns_qname, ".");
	rows[1].dns_qtype = 300;
	rows[1].dns_rcode = DNS_RCODE_NONE;
	(void)strcpy(rows[2].tls_sni, "www.example.com");
	(void)strcpy(rows[2].tls_alpn, "h2,http/1.1");
	apply_hello(f, 1, 1);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(apply_batch(f, sample_batch(1, i + 1, &rows[i], 1), NULL),
				 JOB_DONE);
	sample_assert_text(f->outside,
			   "SELECT group_concat(ifnull(dns_qname, '-') || ' ' ||"
			   " ifnull(dns_qtype, '-') || ' ' || ifnull(dns_rcode, '-') || ' ' ||"
			   " ifnull(dns_queries, '-') || ' ' || ifnull(tls_sni, '-') || ' ' ||"
			   " ifnull(tls_alpn, '-'), '; ') FROM flows",
			   "www.example.com AAAA SERVFAIL 0 - -; . TYPE300 - 0 - -;"
			   " - - - - www.example.com h2,http/1.1");
}

static void test_icmp_has_the_community_id_of_its_type(void **state)
{
	struct flow_record r = sample_flow("192.168.0.89", "192.168.0.1", 0, 5000);
	struct fixture *f = *state;

	r.proto = 1;
	r.src_port = 0;
	r.icmp_type = 8;
	r.icmp_id = 77;
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 1), NULL), JOB_DONE);
	r.icmp_type = 20; /* has no counterpart: its code counts */
	r.icmp_code = 1;
	assert_int_equal(apply_batch(f, sample_batch(1, 2, &r, 1), NULL), JOB_DONE);
	sample_assert_text(f->outside, "SELECT group_concat(community_id, ' ') FROM flows",
			   "1:X0snYXpgwiv9TZtqg64sgzUn6Dk= 1:tz/fHIDUHs19NkixVVoOZywde+I=");
}

static void test_catch_all_has_a_zero_address(void **state)
{
	struct flow_record r = sample_flow("::", "::", 0, 5000);
	struct fixture *f = *state;

	r.proto = 0;
	r.end_reason = FLOW_END_NO_RESOURCES;
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 1), NULL), JOB_DONE);
	sample_assert_text(f->outside, "SELECT proto_name || ' ' || src_addr FROM flows",
			   "catch-all ::");
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM flows WHERE coalesce(ce_pkts,"
						" rev_ce_pkts, icmp_errors, responses, verdict,"
						" data_rtt_samples, community_id) IS NULL"),
			 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_row_has_the_values_of_the_record),
		TEST(test_what_does_not_apply_is_null),
		TEST(test_every_number_arrives),
		TEST(test_view_has_every_column),
		TEST(test_texts_of_a_record),
		TEST(test_names_of_a_record),
		TEST(test_icmp_has_the_community_id_of_its_type),
		TEST(test_catch_all_has_a_zero_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
