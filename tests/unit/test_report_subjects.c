// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* dns, tls, services, changes, new-peers, loss, host, flow: on a few records of two hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cli/cli.h"
#include "collector/report/report.h"
#include "common/array_size.h"
#include "common/exit_code.h"
#include "tests/unit/capture.h"
#include "tests/unit/remove_folder.h"
#include "tests/unit/sample_db.h"

#define HOUR_MS 3600000
#define NOW_MS	(800 * (int64_t)HOUR_MS) /* an end of the windows: 1970-02-03 08:00 */

static struct lab {
	char folder[64], path[96];
	struct capture said;
} lab;

static struct flow_record tcp(int64_t id, int64_t end_ms, const char *src, const char *dst,
			      uint16_t sport, uint16_t dport)
{
	const struct sample_flow f = {
		.flow_id = id,
		.start_ms = end_ms - 1000,
		.end_ms = end_ms,
		.src_addr = src,
		.dst_addr = dst,
		.src_port = sport,
		.dst_port = dport,
		.proto = 6,
		.direction = FLOW_DIRECTION_EGRESS,
		.role = FLOW_ROLE_CLIENT,
		.end_reason = FLOW_END_DETECTED,
		.packets = 100,
		.bytes = 10000,
		.rev_packets = 50,
		.rev_bytes = 5000,
		.rtt_us = 1000,
		.retrans_pkts = 0,
		.vlan = -1,
		.tcp_flags = 27,
	};
	struct flow_record r = sample_record(&f);

	r.verdict = FLOW_VERDICT_CLOSED;
	return r;
}

/* What the host at the other end has of it; lost of src's packets came nowhere. */
static struct flow_record other_end(struct flow_record r, unsigned lost)
{
	r.flow_id += 1000;
	r.direction = FLOW_DIRECTION_INGRESS;
	r.role = FLOW_ROLE_SERVER;
	r.packets -= lost;
	r.total_packets -= lost;
	r.pid = 80;
	strcpy(r.process, "nginx");
	return r;
}

static void add(sqlite3 *db, int host_id, struct flow_record r)
{
	sample_add_records(db, host_id, &r, 1);
}

/* Hosts one (10.0.0.1) and two (10.0.0.2). */
static void fill(sqlite3 *db)
{
	struct flow_record r;

	sample_add_host(db, 1, "one", NOW_MS, 0);
	sample_add_host(db, 2, "two", NOW_MS, 0);

	r = tcp(1, NOW_MS - 60000, "10.0.0.1", "10.0.0.2", 40001, 443);
	strcpy(r.tls_sni, "api.example");
	r.pid = 90;
	strcpy(r.process, "curl");
	add(db, 1, r);
	r = other_end(r, 3);
	r.kernel_drops = 2;
	strcpy(r.kernel_drop_reason, "netfilter_drop");
	add(db, 2, r);

	r = tcp(2, NOW_MS - 50000, "10.0.0.2", "10.0.0.1", 40002, 80);
	r.verdict = FLOW_VERDICT_REFUSED;
	add(db, 2, r);
	add(db, 1, other_end(r, 0));

	r = tcp(3, NOW_MS - 40000, "10.0.0.1", "8.8.8.8", 40003, 53);
	r.proto = 17;
	strcpy(r.dns_qname, "www.example");
	r.dns_qtype = 28;
	r.dns_rcode = 2;
	r.dns_queries = 4;
	r.dns_unanswered = 1;
	r.dns_latency_us = 700;
	add(db, 1, r);

	/* Earlier: the service was there before, and a week ago. */
	add(db, 1, tcp(4, NOW_MS - HOUR_MS - 60000, "10.0.0.1", "10.0.0.2", 40004, 443));
	add(db, 1, tcp(5, NOW_MS - 168 * HOUR_MS - 60000, "10.0.0.1", "10.0.0.2", 40005, 443));
	sample_exec(db, "INSERT INTO incident (kind, severity, start_ms, end_ms, hosts, value,"
			" threshold, unit, minutes, detail, evidence_sql) VALUES ('port_scan',"
			" 'warn', 1, 2, 'two,one', 1, 1, 'ports', 1, 'somebody knocked', '')");
}

static int setup(void **state)
{
	sqlite3 *db;

	(void)state;
	strcpy(lab.folder, "/tmp/weir-subjects-XXXXXX");
	assert_non_null(mkdtemp(lab.folder));
	(void)snprintf(lab.path, sizeof(lab.path), "%s/weir.db", lab.folder);
	db = sample_open(lab.path);
	sample_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
	fill(db);
	sqlite3_close(db);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return remove_folder(lab.folder);
}

/* Runs "report LINE" on the last hour, with what it says in lab.said. */
static int run(const char *line)
{
	char copy[512], *argv[32], *save = NULL;
	int argc = 0, code;

	(void)snprintf(copy, sizeof(copy),
		       "report %s --since 1970-02-03T07:00:00Z --until 1970-02-03T08:00:00Z --db %s"
		       " -q",
		       line, lab.path);
	for (char *w = strtok_r(copy, " ", &save); w && argc < 31; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	capture_start(&lab.said);
	code = cli_run(&report_command, argc, argv);
	capture_stop(&lab.said);
	return code;
}

static void test_answers(void **state)
{
	static const struct {
		const char *line, *out;
	} cases[] = {
		{"dns -o csv", "dns_qname,dns_qtype,dns_rcode,queries,unanswered,unanswered_pct,"
			       "failed,latency_p50_us,latency_p95_us,latency_max_us\r\n"
			       "www.example,AAAA,SERVFAIL,4,1,25,1,700,700,700\r\n"},
		{"dns --by dst_addr -o csv dns_rcode NOERROR",
		 "dst_addr,queries,unanswered,unanswered_pct,failed,latency_p50_us,latency_p95_us,"
		 "latency_max_us\r\n"},
		{"tls -o csv", "tls_sni,connections,clients,bytes,servers,rtt_p95_us,"
			       "response_p95_us\r\n"
			       "api.example,1,1,15000,1,1000,\r\n"},
		{"services -o csv",
		 "dst_addr,dst_port,proto_name,clients,flows,bytes,refused,unanswered,reset,"
		 "rtt_p95_us,response_p95_us,retrans_pct\r\n"
		 "10.0.0.1,80,tcp,1,1,15000,1,0,0,1000,,0\r\n"
		 "10.0.0.2,443,tcp,1,1,15000,0,0,0,1000,,0\r\n"
		 "8.8.8.8,53,udp,1,1,15000,0,0,0,,,\r\n"},
		{"changes -o csv", "dst_addr,dst_port,bytes,before_bytes,week_ago_bytes,"
				   "change_bytes,change_pct,week_change_pct\r\n"
				   "10.0.0.1,80,15000,0,0,15000,,\r\n"
				   "8.8.8.8,53,15000,0,0,15000,,\r\n"
				   "10.0.0.2,443,15000,15000,15000,0,0,0\r\n"},
		{"new-peers -o csv dst port 443",
		 "src_addr,dst_addr,dst_port,proto_name,first_ms,flows,bytes,process,verdict\r\n"},
		{"new-peers --learn 30s -o csv dst port 443",
		 "src_addr,dst_addr,dst_port,proto_name,first_ms,flows,bytes,process,verdict\r\n"
		 "10.0.0.1,10.0.0.2,443,tcp,2879939000,1,15000,curl,closed\r\n"},
		{"loss -o csv", "src_host,dst_host,flows,unknown_flows,packets,lost_packets,"
				"lost_pct,rev_packets,rev_lost_packets,rev_lost_pct,"
				"kernel_drops\r\n"
				"one,two,1,0,100,3,3,50,0,0,2\r\n"
				"two,one,1,0,100,0,0,50,0,0,0\r\n"},
		{"loss --by dst_port -o csv src host 10.0.0.2",
		 "dst_port,flows,unknown_flows,packets,lost_packets,lost_pct,rev_packets,"
		 "rev_lost_packets,rev_lost_pct,kernel_drops\r\n"
		 "80,1,0,100,0,0,50,0,0,0\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (run(cases[i].line) != EXIT_OK)
			fail_msg("%s: %s", cases[i].line, lab.said.err);
		assert_string_equal(lab.said.out, cases[i].out);
	}
}

/* The same flow by either name, told by both ends. */
static void test_flow(void **state)
{
	char line[128], *id;

	(void)state;
	assert_int_equal(run("flow 1 -o ndjson"), EXIT_OK);
	assert_non_null(strstr(lab.said.out, "\"host\":\"one\""));
	assert_non_null(strstr(lab.said.out, "\"host\":\"two\""));
	assert_null(strstr(lab.said.out, "8.8.8.8"));
	id = strstr(lab.said.out, "\"community_id\":\"");
	assert_non_null(id);
	id += strlen("\"community_id\":\"");
	(void)snprintf(line, sizeof(line), "flow %.*s -o csv", (int)strcspn(id, "\""), id);
	assert_int_equal(run(line), EXIT_OK);
	assert_non_null(strstr(lab.said.out, "netfilter_drop"));
	assert_non_null(strstr(lab.said.out, "curl"));
	assert_int_equal(run("flow 777 -o ndjson"), EXIT_OK);
	assert_string_equal(lab.said.out, "");
	assert_int_equal(run("flow"), EXIT_USAGE);
}

static void test_host(void **state)
{
	static const char *const rows[] = {
		"{\"section\":\"host\",\"name\":\"two\"",
		"{\"section\":\"traffic\",\"proto_name\":\"tcp\",\"flows\":2",
		"{\"section\":\"peers\",\"other\":\"10.0.0.1\",\"flows\":2",
		"{\"section\":\"serves\",\"dst_port\":443,\"proto_name\":\"tcp\","
		"\"process\":\"nginx\",\"clients\":1",
		"{\"section\":\"processes\",\"process\":\"nginx\",\"flows\":1",
		"{\"section\":\"names\",\"name\":\"api.example\",\"kind\":\"tls\"",
		"{\"section\":\"drops\",\"reason\":\"netfilter_drop\",\"process\":\"nginx\","
		"\"flows\":1,\"packets\":2",
		"{\"section\":\"incidents\"",
	};

	(void)state;
	assert_int_equal(run("host two -o ndjson"), EXIT_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!strstr(lab.said.out, rows[i]))
			fail_msg("no %s in %s", rows[i], lab.said.out);
	}
	assert_int_equal(run("host two"), EXIT_OK);
	assert_non_null(strstr(lab.said.out, "\nserves\n"));
	assert_int_equal(run("host nobody"), EXIT_USAGE);
	assert_int_equal(run("host two -o csv"), EXIT_USAGE);
	assert_int_equal(run("host"), EXIT_USAGE);
}

/* What the view says of a flow that goes on, or of which a host lost something: nothing. */
static void test_loss_that_is_not_known(void **state)
{
	struct flow_record r = tcp(6, NOW_MS - 30000, "10.0.0.1", "10.0.0.2", 40006, 22);
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(lab.path, &db), SQLITE_OK);
	assert_int_equal(flows_table_register(db), SQLITE_OK);
	r.end_reason = FLOW_END_ACTIVE;
	add(db, 1, r);
	add(db, 2, other_end(r, 1));
	assert_int_equal(sample_number(db, "SELECT lost_packets IS NULL AND NOT ended FROM"
					   " two_ended WHERE dst_port = 22"),
			 1);
	assert_int_equal(sample_number(db, "SELECT lost_packets = 3 AND coverage = 'full' AND"
					   " dst_drop_reason = 'netfilter_drop' AND src_process ="
					   " 'curl' FROM two_ended WHERE src_port = 40001"),
			 1);
	sample_exec(db, "INSERT INTO coverage_minute (host_id, minute_ms, spool_drop_packets)"
			" VALUES (2, 2879940000, 5)");
	assert_int_equal(sample_number(db, "SELECT count(*) FROM two_ended WHERE coverage ="
					   " 'unknown' AND lost_packets IS NULL"),
			 3);
	sqlite3_close(db);
}

/* Each host saw the other begin: what is src here is dst there. */
static void test_loss_where_the_ends_disagree(void **state)
{
	struct flow_record r = tcp(7, NOW_MS - 20000, "10.0.0.1", "10.0.0.2", 40007, 25);
	struct flow_record other = tcp(1007, NOW_MS - 20000, "10.0.0.2", "10.0.0.1", 25, 40007);
	sqlite3 *db;

	(void)state;
	other.total_packets = r.rev_total_packets;
	other.rev_total_packets = r.total_packets - 4;
	assert_int_equal(sqlite3_open(lab.path, &db), SQLITE_OK);
	assert_int_equal(flows_table_register(db), SQLITE_OK);
	add(db, 1, r);
	add(db, 2, other);
	assert_int_equal(sample_number(db, "SELECT lost_packets = 4 AND rev_lost_packets = 0"
					   " AND src_host = 'one' FROM two_ended"
					   " WHERE 25 IN (src_port, dst_port)"),
			 1);
	sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loss_that_is_not_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loss_where_the_ends_disagree, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
