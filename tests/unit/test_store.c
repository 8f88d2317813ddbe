/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <signal.h>

#include "collector/serve/host_addrs.h"
#include "collector/detect/detection.h"
#include "proto/flow_words.h"
#include "proto/flow_columns.h"
#include "collector/flowstore/segment.h"
#include "proto/frame.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/sample_jobs.h"

/* A store on a real file, and a second connection that looks from outside. */
struct fixture {
	struct sample_dir dir;
	struct store *store;
	sqlite3 *outside;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = NULL;

	if (!f)
		return -1;
	sample_dir_make(&f->dir);
	*state = f;
	if (store_open(f->dir.path, &f->store, &why) != 0)
		return -1;
	f->outside = sample_reader(f->dir.path);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sqlite3_close(f->outside);
	store_close(f->store);
	sample_dir_remove(&f->dir);
	free(f);
	return 0;
}

/* The outcome of a batch; *ret_last_seq may be NULL. */
static enum job_outcome apply_batch(struct fixture *f, struct batch *batch, uint64_t *ret_last_seq)
{
	struct job *job = sample_apply(f->store, JOB_BATCH, batch, 0);
	enum job_outcome outcome = job->outcome;

	if (ret_last_seq)
		*ret_last_seq = job->last_seq;
	job_free(job);
	return outcome;
}

static uint64_t apply_hello(struct fixture *f, uint8_t host, uint64_t oldest_seq)
{
	struct job *job = sample_apply_hello(f->store, host, oldest_seq);
	uint64_t last_seq = job->last_seq;

	assert_int_equal(job->outcome, JOB_DONE);
	job_free(job);
	return last_seq;
}

static int64_t count_flows(struct fixture *f)
{
	return sample_int(f->outside, "SELECT count(*) FROM flows");
}

static void test_hello_tells_what_is_committed(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	assert_int_equal(apply_hello(f, 1, 8), 7); /* new epoch: what the probe starts from */
	assert_int_equal(apply_batch(f, sample_batch(1, 8, &r, 1), NULL), JOB_DONE);
	assert_int_equal(apply_hello(f, 1, 8), 8); /* known epoch: what is here */
	assert_int_equal(apply_hello(f, 2, 1), 0);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host"), 2);
	sample_assert_text(f->outside, "SELECT name || ' ' || ifaces FROM host WHERE id = 1",
			   "host1 lo tcx+tcx, eth0 xdp+tcx");
}

static void test_hello_renews_the_host(void **state)
{
	struct fixture *f = *state;
	struct hello *h = malloc(sizeof(*h));

	assert_non_null(h);
	apply_hello(f, 1, 1);
	*h = sample_hello(1, 1);
	h->real_ns += 90 * NS_PER_SEC;
	(void)snprintf(h->host_name, sizeof(h->host_name), "renamed");
	job_free(sample_apply(f->store, JOB_HELLO, h, 0));
	sample_assert_text(f->outside, "SELECT name FROM host", "renamed");
	assert_in_range(sample_int(f->outside, "SELECT clock_skew_ms FROM host"), 80000, 91000);
}

static void test_batch_is_stored_once(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	uint64_t last = 0;

	apply_hello(f, 1, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 5), &last), JOB_DONE);
		assert_int_equal(last, 1);
		assert_int_equal(count_flows(f), 5);
	}
	assert_int_equal(sample_int(f->outside, "SELECT batches FROM epoch"), 1);
}

static void test_hole_is_refused(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	uint64_t last = 99;

	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 2, &r, 1), &last), JOB_GAP);
	assert_int_equal(last, 0);
	assert_int_equal(count_flows(f), 0);
}

static void test_unknown_epoch_is_refused(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct batch *other = sample_batch(1, 1, &r, 1);
	struct fixture *f = *state;

	apply_hello(f, 1, 1);
	other->epoch++;
	assert_int_equal(apply_batch(f, other, NULL), JOB_UNKNOWN);
	assert_int_equal(apply_batch(f, sample_batch(2, 1, &r, 1), NULL), JOB_UNKNOWN);
	assert_int_equal(count_flows(f), 0);
}

static void test_epochs_count_apart(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct hello *h = malloc(sizeof(*h));
	struct batch *second;

	assert_non_null(h);
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 1), NULL), JOB_DONE);
	*h = sample_hello(1, 1);
	h->epoch = 5; /* the probe has started again */
	job_free(sample_apply(f->store, JOB_HELLO, h, 0));
	second = sample_batch(1, 1, &r, 1);
	second->epoch = 5;
	assert_int_equal(apply_batch(f, second, NULL), JOB_DONE);
	assert_int_equal(count_flows(f), 2);
}

static int sample_apply_copy(struct fixture *f, const struct batch *b, uint64_t *ret_last)
{
	struct batch *copy = malloc(sizeof(*copy));

	assert_non_null(copy);
	*copy = *b; /* it has no rows */
	return apply_batch(f, copy, ret_last);
}

static void test_tombstone_is_a_loss_and_closes_the_hole(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct batch *grave = sample_batch(1, 4, &r, 0);
	struct fixture *f = *state;
	uint64_t last = 0;

	grave->first_seq = 1;
	grave->kind = BATCH_TOMBSTONE;
	grave->dropped_rows = 70;
	grave->dropped_packets = 800;
	grave->dropped_bytes = 9000;
	grave->reason = LOSS_REFUSED;
	grave->lost_from_ns = 59 * NS_PER_SEC; /* of two minutes */
	grave->lost_until_ns = 61 * NS_PER_SEC;
	apply_hello(f, 1, 1);
	for (int i = 0; i < 2; i++) /* told twice, counted once */
		assert_int_equal(sample_apply_copy(f, grave, &last), JOB_DONE);
	batch_free(grave);
	assert_int_equal(last, 4);
	sample_assert_text(f->outside,
			   "SELECT group_concat(minute_ms || ' ' || rejected_packets, ', ')"
			   " FROM coverage_minute",
			   "0 400, 60000 400");
	sample_assert_text(f->outside,
			   "SELECT reason || ' ' || from_ms || ' ' || until_ms FROM loss",
			   "rejected 59000 61000");
	assert_int_equal(apply_batch(f, sample_batch(1, 5, &r, 1), NULL), JOB_DONE);
	sample_assert_text(
		f->outside,
		"SELECT printf('%d %d %d %d %d', first_seq, last_seq, rows, packets, bytes)"
		" FROM loss",
		"1 4 70 800 9000");
}

/* What is not in a record is told by the minute, from counters that only rise. */
static void test_coverage_by_the_minute(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 61000);
	struct fixture *f = *state;
	static const uint64_t truncated[] = {5, 12, 7}; /* the last is of a backlog */

	apply_hello(f, 1, 1);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		struct batch *b = sample_batch(1, seq, &r, 2);

		b->counters_ns = (seq == 2 ? 130 : 65) * NS_PER_SEC;
		b->n_counters = 1;
		b->counters[0] = (struct counter_value){"packets_truncated", truncated[seq - 1]};
		assert_int_equal(apply_batch(f, b, NULL), JOB_DONE);
	}
	sample_assert_text(f->outside,
			   "SELECT group_concat(minute_ms || ' ' || batches || ' ' || records ||"
			   " ' ' || packets || ' ' || not_parsed_packets, ', ')"
			   " FROM coverage_minute",
			   "60000 2 6 114 5, 120000 1 0 0 7");
	assert_int_equal(sample_int(f->outside, "SELECT value FROM probe_counter"), 12);
	assert_int_equal(sample_int(f->outside, "SELECT sum(packets + rev_packets) FROM flows"),
			 114);
}

/* What another collector has is no loss of unknown size. */
static void test_gap_of_a_probe_with_two_collectors(void **state)
{
	struct fixture *f = *state;
	struct hello *h = malloc(sizeof(*h));

	assert_non_null(h);
	apply_hello(f, 1, 1);
	*h = sample_hello(1, 10);
	h->elsewhere = true;
	job_free(sample_apply(f->store, JOB_HELLO, h, 0));
	sample_assert_text(f->outside,
			   "SELECT first_seq || '-' || last_seq || ' ' || reason"
			   " FROM loss",
			   "1-9 elsewhere");
}

static int apply_hello_at(struct fixture *f, uint64_t epoch, uint64_t open_epoch, int64_t at_ms)
{
	struct hello *h = malloc(sizeof(*h));
	struct job *job;

	assert_non_null(h);
	*h = sample_hello(1, 1);
	h->epoch = epoch;
	h->n_open_epochs = open_epoch ? 1 : 0;
	h->open_epochs[0] = open_epoch;
	assert_int_equal(job_new(JOB_HELLO, h, 0, 0, &job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, at_ms), 0);
	assert_int_equal(store_commit(f->store), 0);
	job_free(job);
	return (int)sample_int(f->outside, "SELECT count(*) FROM epoch");
}

/* Epochs that the probe is done with are forgotten, but not at once. */
static void test_epochs_are_bounded(void **state)
{
	const int64_t day_ms = 24ll * 3600 * 1000;
	struct fixture *f = *state;

	assert_int_equal(apply_hello_at(f, 1, 1, 1000), 1);
	assert_int_equal(apply_hello_at(f, 2, 1, 2000), 2);
	assert_int_equal(apply_hello_at(f, 3, 0, 3000), 3); /* does not say what it has */
	assert_int_equal(apply_hello_at(f, 3, 1, 4000), 3); /* 2 is done */
	assert_int_equal(apply_hello_at(f, 3, 1, 4000 + day_ms), 3);
	assert_int_equal(apply_hello_at(f, 3, 1, 4001 + 2 * day_ms), 2);
	sample_assert_text(f->outside, "SELECT group_concat(epoch) FROM epoch", "1,3");
}

/* --- addresses of hosts ---------------------------------------------------------- */

/* HELLO of a host with addresses 10.0.0.N, by digit. */
static void tell_addrs(struct fixture *f, uint8_t host, const char *digits, int64_t at_ms)
{
	struct hello *h = malloc(sizeof(*h));
	struct job *job;

	assert_non_null(h);
	*h = sample_hello(host, 1);
	h->version_minor = HELLO_ADDRS_MINOR;
	for (; *digits; digits++) {
		char text[16];

		(void)snprintf(text, sizeof(text), "10.0.0.%c", *digits);
		assert_int_equal(addr_parse(text, h->addrs[h->n_addrs++]), 0);
	}
	assert_int_equal(job_new(JOB_HELLO, h, 0, 0, &job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, at_ms), 0);
	assert_int_equal(store_commit(f->store), 0);
	job_free(job);
}

static void assert_addrs(struct fixture *f, const char *wanted)
{
	sample_assert_text(f->outside,
			   "SELECT ifnull(group_concat(text, ', '), '') FROM (SELECT h.name || ' '"
			   " || substr(hex(addr), 32) || ' ' || since_ms || '-'"
			   " || ifnull(until_ms, '') AS text FROM host_addr"
			   " JOIN host h ON h.id = host_id ORDER BY h.name, addr, since_ms)",
			   wanted);
}

static void test_addresses_follow_the_hellos(void **state)
{
	struct fixture *f = *state;

	apply_hello(f, 1, 1); /* of before: tells none */
	assert_addrs(f, "");
	tell_addrs(f, 1, "", 1000); /* no network yet */
	tell_addrs(f, 1, "21", 2000);
	tell_addrs(f, 1, "112", 3000);
	assert_addrs(f, "host1 1 0-, host1 2 0-");
	tell_addrs(f, 1, "13", 4000);
	assert_addrs(f, "host1 1 0-, host1 2 0-4000, host1 3 4000-");
	tell_addrs(f, 1, "123", 5000);
	apply_hello(f, 1, 1); /* again one that does not tell: it is as it was */
	assert_addrs(f, "host1 1 0-, host1 2 0-4000, host1 2 5000-, host1 3 4000-");
	tell_addrs(f, 1, "", 6000);
	tell_addrs(f, 1, "1", 6000);
	assert_addrs(f, "host1 1 0-6000, host1 1 6000-, host1 2 0-4000, host1 2 5000-6000,"
			" host1 3 4000-6000");
	assert_int_equal(store_expire(f->store, 6000, 0, 1000, &(size_t){0}), 0);
	assert_addrs(f, "host1 1 0-6000, host1 1 6000-, host1 2 5000-6000, host1 3 4000-6000");
}

/* Two that live share an address; one that is gone has given it away. */
static void test_address_of_a_host_that_is_gone(void **state)
{
	struct fixture *f = *state;

	tell_addrs(f, 1, "1", 1000000);
	tell_addrs(f, 2, "1", 1100000);
	assert_addrs(f, "host1 1 0-, host2 1 0-");
	tell_addrs(f, 2, "1", 2000000);
	tell_addrs(f, 3, "1", 2100000);
	assert_addrs(f, "host1 1 0-1000000, host2 1 0-, host3 1 1000000-");
}

static void test_past_addresses_are_bounded(void **state)
{
	struct fixture *f = *state;

	tell_addrs(f, 1, "", 1);
	for (int i = 0; i < HOST_ADDRS_MAX_PAST + 20; i++)
		tell_addrs(f, 1, i % 2 ? "1" : "2", 1000 + i);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host_addr"),
			 HOST_ADDRS_MAX_PAST + 1);
	assert_int_equal(sample_int(f->outside, "SELECT min(until_ms) FROM host_addr"), 1020);
}

/* A database from a backup: the probe has long dropped what was acknowledged since. */
static void test_hello_that_is_ahead_is_a_loss(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	apply_hello(f, 1, 1);
	assert_int_equal(apply_hello(f, 1, 10), 9);
	assert_int_equal(apply_batch(f, sample_batch(1, 10, &r, 1), NULL), JOB_DONE);
	sample_assert_text(f->outside, "SELECT first_seq || '-' || last_seq FROM loss", "1-9");
	assert_int_equal(sample_int(f->outside, "SELECT batches FROM epoch"), 1);
}

static void test_counters_are_the_latest(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	apply_hello(f, 1, 1);
	for (uint64_t seq = 1; seq <= 2; seq++) {
		struct batch *b = sample_batch(1, seq, &r, 0);

		b->n_counters = 1;
		b->counters[0] = (struct counter_value){"packets_seen", seq * 100};
		assert_int_equal(apply_batch(f, b, NULL), JOB_DONE);
	}
	assert_int_equal(sample_int(f->outside, "SELECT sum(value) FROM probe_counter"), 200);
}

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

static void test_rollback_leaves_nothing(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct job *job = NULL;

	apply_hello(f, 1, 1);
	assert_int_equal(job_new(JOB_BATCH, sample_batch(1, 1, &r, 5), 0, 0, &job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, 1), 0);
	store_rollback(f->store);
	assert_int_equal(count_flows(f), 0);
	assert_int_equal(sample_int(f->outside, "SELECT last_seq FROM epoch"), 0);
	job_free(job);
}

/* A segment made from what retention has deleted meanwhile. */
static struct segment *stale_segment(void)
{
	struct segment *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->fresh = calloc(2, sizeof(*s->fresh));
	assert_non_null(s->fresh);
	s->n_fresh = 2;
	s->fresh[0] = 1; /* is there, and must stay */
	s->fresh[1] = 99;
	s->head = calloc(1, 1);
	s->zone_data = calloc(1, 1);
	return s;
}

static void test_stale_segment_hurts_itself_only(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct job *good_job = NULL, *bad_job = NULL;

	apply_hello(f, 1, 1);
	assert_int_equal(job_new(JOB_BATCH, sample_batch(1, 1, &r, 1), 0, 0, &good_job), 0);
	assert_int_equal(job_new(JOB_SEGMENT, stale_segment(), 0, 0, &bad_job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, good_job, 1), 0);
	assert_int_equal(store_apply(f->store, bad_job, 1), 0);
	assert_int_equal(store_commit(f->store), 0);
	assert_int_equal(good_job->outcome, JOB_DONE);
	assert_int_equal(bad_job->outcome, JOB_INVALID);
	assert_int_equal(count_flows(f), 1);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM flow_segment"), 0);
	job_free(good_job);
	job_free(bad_job);
}

static int try_batch(struct fixture *f, struct batch *batch)
{
	struct job *job = NULL;
	int err;

	assert_int_equal(job_new(JOB_BATCH, batch, 0, 0, &job), 0);
	err = store_begin(f->store);
	if (!err)
		err = store_apply(f->store, job, 1);
	if (!err)
		err = store_commit(f->store);
	if (err)
		store_rollback(f->store);
	job_free(job);
	return err;
}

static void test_failed_write_leaves_nothing_and_passes(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	(void)signal(SIGXFSZ, SIG_IGN);
	apply_hello(f, 1, 1);
	sample_limit_files(1 << 17);
	assert_true(try_batch(f, sample_batch(1, 1, &r, 4096)) < 0);
	assert_true(try_batch(f, sample_batch(1, 1, &r, 4096)) < 0); /* and again */
	sample_limit_files(RLIM_INFINITY);
	assert_int_equal(count_flows(f), 0);
	assert_int_equal(try_batch(f, sample_batch(1, 1, &r, 4096)), 0);
	assert_int_equal(count_flows(f), 4096);
}

static void test_refusals_add_up(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		struct refusal *r = calloc(2, sizeof(*r));

		assert_non_null(r);
		r[0] = (struct refusal){"10.0.0.9", "bad magic", 3, 100 + i, 200 + i};
		r[1] = (struct refusal){"10.0.0.9", "bad crc", 1, 100 + i, 200 + i};
		job_free(sample_apply(f->store, JOB_REFUSALS, r, 2));
	}
	sample_assert_text(f->outside,
			   "SELECT count || ' ' || first_ms || ' ' || last_ms FROM refusal"
			   " WHERE reason = 'bad magic'",
			   "6 100 201");
	assert_int_equal(sample_int(f->outside, "SELECT sum(count) FROM refusal"), 8);
}

static void test_seen_hosts_are_fresh(void **state)
{
	struct fixture *f = *state;
	struct seen_host *seen = calloc(1, sizeof(*seen));

	assert_non_null(seen);
	apply_hello(f, 1, 1);
	apply_hello(f, 2, 1);
	*seen = (struct seen_host){{2}, 4102444800000};
	job_free(sample_apply(f->store, JOB_SEEN, seen, 1));
	assert_int_equal(
		sample_int(f->outside, "SELECT id FROM host WHERE last_seen_ms = 4102444800000"),
		2);
}

static void test_expire_takes_the_oldest_in_steps(void **state)
{
	struct fixture *f = *state;
	size_t rows = 0;

	apply_hello(f, 1, 1);
	for (uint64_t seq = 1; seq <= 6; seq++) {
		struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 10000 - seq * 1000);

		assert_int_equal(apply_batch(f, sample_batch(1, seq, &r, 1), NULL), JOB_DONE);
	}
	assert_int_equal(store_expire(f->store, 8000, 0, 3, &rows), 0);
	assert_int_equal(rows, 3);
	assert_int_equal(sample_int(f->outside, "SELECT min(end_ms) FROM flows"), 7000);
	assert_int_equal(store_expire(f->store, 8000, 0, 3, &rows), 0);
	assert_int_equal(rows, 1);
	assert_int_equal(sample_int(f->outside, "SELECT min(end_ms) FROM flows"), 8000);
}

static struct detection *detection(int64_t done, int64_t until)
{
	struct detection *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->done_until_ms = done;
	d->until_ms = until;
	d->findings = calloc(1, sizeof(*d->findings));
	d->learnt = calloc(1, sizeof(*d->learnt));
	assert_non_null(d->findings);
	assert_non_null(d->learnt);
	d->findings[d->n_findings++] = (struct finding){
		.kind = "port_scan",
		.severity = "warn",
		.unit = "ports",
		.start_ms = done,
		.end_ms = until,
		.dst_port = -1,
		.proto = -1,
		.hosts = sqlite3_mprintf("a,b"),
		.value = 20,
		.baseline = NAN,
		.threshold = 15,
		.minutes = 1,
		.detail = sqlite3_mprintf("d"),
		.evidence_sql = sqlite3_mprintf("SELECT 1"),
	};
	d->learnt[d->n_learnt++] =
		(struct learnt){sqlite3_mprintf("src 10.0.0.%lld", (long long)until), 5, 1, 2};
	return d;
}

static void test_a_bucket_is_stored_once(void **state)
{
	struct fixture *f = *state;

	job_free(sample_apply(f->store, JOB_DETECTION, detection(0, 60), 0));
	job_free(sample_apply(f->store, JOB_DETECTION, detection(0, 60), 0)); /* judged twice */
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM incident"), 1);
	job_free(sample_apply(f->store, JOB_DETECTION, detection(60, 120), 0));
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM incident"), 2);
	assert_int_equal(sample_int(f->outside, "SELECT done_until_ms FROM detector_state"), 120);
	assert_int_equal(sample_int(f->outside,
				    "SELECT count(*) FROM incident WHERE baseline IS NULL"
				    " AND dst_port IS NULL AND proto IS NULL"),
			 2);
}

static void test_baselines_are_bounded(void **state)
{
	struct fixture *f = *state;
	size_t rows = 0;

	for (int64_t i = 0; i < 5; i++)
		job_free(sample_apply(f->store, JOB_DETECTION, detection(i, i + 1), 0));
	assert_int_equal(store_trim_baselines(f->store, 2, &rows), 0);
	assert_int_equal(rows, 3);
	sample_assert_text(f->outside, "SELECT group_concat(subject) FROM baseline",
			   "src 10.0.0.4,src 10.0.0.5");
}

static void test_checkpoint_empties_the_wal(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	char wal[80];
	FILE *file;

	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 100), NULL), JOB_DONE);
	store_checkpoint(f->store);
	(void)snprintf(wal, sizeof(wal), "%s-wal", f->dir.path);
	file = fopen(wal, "r");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	assert_int_equal(ftell(file), 0);
	(void)fclose(file);
	assert_int_equal(count_flows(f), 100);
}

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	struct store *store = NULL;
	const char *why = NULL;
	int err;

	store_close(f->store);
	f->store = NULL;
	for (unsigned n = 1;; n++) {
		(void)fail_alloc_at(n);
		err = store_open(f->dir.path, &store, &why);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(store);
	}
	assert_int_equal(err, 0);
	store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello_tells_what_is_committed),
		TEST(test_hello_renews_the_host),
		TEST(test_batch_is_stored_once),
		TEST(test_hole_is_refused),
		TEST(test_unknown_epoch_is_refused),
		TEST(test_epochs_count_apart),
		TEST(test_coverage_by_the_minute),
		TEST(test_gap_of_a_probe_with_two_collectors),
		TEST(test_addresses_follow_the_hellos),
		TEST(test_address_of_a_host_that_is_gone),
		TEST(test_past_addresses_are_bounded),
		TEST(test_epochs_are_bounded),
		TEST(test_tombstone_is_a_loss_and_closes_the_hole),
		TEST(test_hello_that_is_ahead_is_a_loss),
		TEST(test_counters_are_the_latest),
		TEST(test_row_has_the_values_of_the_record),
		TEST(test_what_does_not_apply_is_null),
		TEST(test_every_number_arrives),
		TEST(test_view_has_every_column),
		TEST(test_texts_of_a_record),
		TEST(test_names_of_a_record),
		TEST(test_icmp_has_the_community_id_of_its_type),
		TEST(test_catch_all_has_a_zero_address),
		TEST(test_rollback_leaves_nothing),
		TEST(test_stale_segment_hurts_itself_only),
		TEST(test_failed_write_leaves_nothing_and_passes),
		TEST(test_refusals_add_up),
		TEST(test_seen_hosts_are_fresh),
		TEST(test_expire_takes_the_oldest_in_steps),
		TEST(test_a_bucket_is_stored_once),
		TEST(test_baselines_are_bounded),
		TEST(test_checkpoint_empties_the_wal),
		TEST(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
