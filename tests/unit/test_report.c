// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collector/cli/cli.h"
#include "collector/command/flows.h"
#include "collector/command/hosts.h"
#include "collector/command/incidents.h"
#include "collector/report/report.h"
#include "common/array_size.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "tests/unit/capture.h"
#include "tests/unit/sample_db.h"

enum { IN = 1, OUT = 2 };	    /* direction */
enum { END = 3, NO_RESOURCES = 5 }; /* end_reason */

#define TCP_FLOW(host, id, from, to, src, sport, dst, dport, way)                                  \
	{                                                                                          \
		.host_id = (host), .flow_id = (id), .start_ms = (from), .end_ms = (to),            \
		.src_addr = (src), .dst_addr = (dst), .src_port = (sport), .dst_port = (dport),    \
		.proto = 6, .direction = (way), .role = 1, .end_reason = END, .packets = 10,       \
		.bytes = 1000, .rev_packets = 5, .rev_bytes = 500, .rtt_us = 1000,                 \
		.retrans_pkts = 0, .vlan = -1, .tcp_flags = 27                                     \
	}
#define A "10.0.0.1"
#define B "10.0.0.2"

/* --- commands ---------------------------------------------------------------- */

struct lab {
	char folder[32], path[64];
	struct capture capture;
};

static int open_lab(void **state)
{
	static const struct sample_flow flows[] = {
		TCP_FLOW(1, 1, 1000, 2000, A, 50000, B, 80, OUT),
		TCP_FLOW(2, 2, 1000, 2001, A, 50000, B, 80, IN), /* its copy */
		TCP_FLOW(1, 3, 1000, 3000, A, 50001, B, 80, OUT),
		TCP_FLOW(2, 4, 1000, 4000, "2001:db8::1", 50002, A, 22, OUT),
	};
	static struct lab lab;
	struct sample_flow udp = TCP_FLOW(2, 5, 1000, 5000, B, 53, "8.8.8.8", 53, OUT);
	int64_t soon_ms = (int64_t)(clock_real_ns() / NS_PER_MS) + 3600000; /* stays "ok" */
	sqlite3 *db;

	strcpy(lab.folder, "/tmp/weir-report-XXXXXX");
	assert_non_null(mkdtemp(lab.folder));
	(void)snprintf(lab.path, sizeof(lab.path), "%s/w.db", lab.folder);
	db = sample_open(lab.path);
	sample_add_host(db, 1, "web1", soon_ms, 0);
	sample_add_host(db, 2, "we\x1b[31mb2", 4000, 0);
	for (size_t i = 0; i < ARRAY_SIZE(flows); i++) {
		struct flow_record r = sample_record(&flows[i]);

		if (r.flow_id == 3) {
			r.retrans_pkts = 2;
			r.rtt_us = 9000;
			r.pid = 7;
			r.kernel_retrans_pkts = 1;
			r.kernel_drops = 5;
			strcpy(r.process, "nginx");
			strcpy(r.kernel_drop_reason, "netfilter_drop");
		}
		sample_add_records(db, flows[i].host_id, &r, 1);
	}
	udp.proto = 17;
	udp.rtt_us = udp.retrans_pkts = udp.tcp_flags = -1;
	sample_add(db, &udp);
	sample_exec(db,
		    "INSERT INTO loss VALUES (1, 1, 101, 2, 3, 12, 340, 5600, 3000, 'spool_drop', "
		    "2000, 2500);"
		    "INSERT INTO probe_counter VALUES (1, 101, 'packets_truncated', 7, 1),"
		    " (1, 99, 'packets_truncated', 1000, 1), (1, 101, 'packets_seen', 50, 1),"
		    " (1, 101, 'clock_steps', 2, 1), (1, 101, 'clock_forward_ms', 2000, 1),"
		    " (1, 101, 'clock_back_ms', 3500, 1), (1, 99, 'clock_back_ms', 9, 1),"
		    " (1, 101, 'spool_dropped_packets', 340, 1),"
		    " (1, 101, 'sockets_untold', 8, 1), (1, 101, 'sockets_no_room', 0, 1),"
		    " (1, 101, 'drop_netfilter_drop', 6, 1), (1, 99, 'drop_netfilter_drop', 3, 2),"
		    " (1, 101, 'listen_drop_8080_my_server', 4, 1),"
		    " (1, 101, 'listen_drop_other', 2, 1);"
		    "INSERT INTO coverage_minute (host_id, minute_ms, batches, packets,"
		    " spool_drop_packets, ring_lost_payloads) VALUES (2, 0, 6, 90, 0, 0),"
		    " (2, 60000, 6, 90, 30, 0), (2, 240000, 6, 90, 0, 2);"
		    "INSERT INTO incident VALUES (1, 'port_scan', 'warn', 1000, 2000, '10.0.0.1',"
		    " NULL, NULL, 6, 'web1', 120, NULL, 100, 'ports', 1, 'many ports',"
		    " 'SELECT flow_id FROM flows WHERE dst_port = 22'),"
		    " (2, 'syn_flood', 'crit', 1000, 3000, NULL, '10.0.0.2', 80, 6, 'web1', 5,"
		    " 1.5, 4, 'packets', 1, 'half-open', 'DROP TABLE flow_segment')");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	*state = &lab;
	return 0;
}

static int close_lab(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(unlink(lab->path), 0);
	return rmdir(lab->folder);
}

/* Runs a command line of words on the database. */
static int run(struct lab *lab, const struct cli_command *command, const char *line)
{
	char copy[512], *argv[32], *save = NULL;
	int argc = 0, code;

	(void)snprintf(copy, sizeof(copy), "%s --since 1970-01-01 --db %s", line, lab->path);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	capture_start(&lab->capture);
	code = cli_run(command, argc, argv);
	capture_stop(&lab->capture);
	return code;
}

static void test_reports(void **state)
{
	static const struct {
		const char *line, *out;
	} cases[] = {
		{"report top -o csv", "src_addr,bytes,packets,flows,share_pct\r\n"
				      "10.0.0.1,3000,30,2,50\r\n"
				      "10.0.0.2,1500,15,1,25\r\n"
				      "2001:db8::1,1500,15,1,25\r\n"
				      "(total),6000,60,4,100\r\n"},
		{"report top -n 1 --by dst_addr,dst_port -o csv",
		 "dst_addr,dst_port,bytes,packets,flows,share_pct\r\n"
		 "10.0.0.2,80,3000,30,2,50\r\n"
		 "(other),,3000,30,2,50\r\n"
		 "(total),,6000,60,4,100\r\n"},
		{"report top -o csv udp", "src_addr,bytes,packets,flows,share_pct\r\n"
					  "10.0.0.2,1500,15,1,100\r\n"
					  "(total),1500,15,1,100\r\n"},
		{"report top -o ndjson port 9999", ""},
		{"report latency -o csv",
		 "src_addr,dst_addr,dst_port,handshakes,rtt_p50_us,rtt_p95_us,rtt_p99_us,"
		 "rtt_max_us,data_rtt_p95_us,response_p95_us\r\n"
		 "10.0.0.1,10.0.0.2,80,2,1000,9000,9000,9000,,\r\n"
		 "2001:db8::1,10.0.0.1,22,1,1000,1000,1000,1000,,\r\n"},
		{"report retrans -n 1 -o csv",
		 "src_addr,dst_addr,packets,retrans_pkts,retrans_pct,rev_packets,"
		 "rev_retrans_pkts,rev_retrans_pct,kernel_retrans_pkts\r\n"
		 "10.0.0.1,10.0.0.2,20,2,10,10,0,0,1\r\n"},
		{"report protocols -o csv",
		 "proto_name,ip_version,bytes,packets,flows,share_pct\r\n"
		 "tcp,4,3000,30,2,50\r\n"
		 "tcp,6,1500,15,1,25\r\n"
		 "udp,4,1500,15,1,25\r\n"},
		{"report top --by process,pid -o csv",
		 "process,pid,bytes,packets,flows,share_pct\r\n"
		 ",,4500,45,3,75\r\n"
		 "nginx,7,1500,15,1,25\r\n"
		 "(total),,6000,60,4,100\r\n"},
		{"report drops -o csv", "host,reason,process,port,flows,packets,last_ms\r\n"
					"web1,netfilter_drop,(all),,,9,2\r\n"
					"web1,netfilter_drop,nginx,,1,5,3000\r\n"
					"web1,listen_queue,my_server,8080,,4,1\r\n"
					"web1,listen_queue,,,,2,1\r\n"},
		{"report top --by src_net/8/32,proto_name -o csv --show"
		 " records,avg(bytes),p50(rtt_us),distinct(dst_addr),sum(retrans_pkts+rev_retrans_"
		 "pkts),"
		 "share(packets),max(end_ms) --order max(end_ms)",
		 "src_net/8/32,proto_name,records,avg_bytes,p50_rtt_us,distinct_dst_addr,"
		 "sum_retrans_pkts_rev_retrans_pkts,share_packets,max_end_ms\r\n"
		 "10.0.0.0/8,udp,1,1000,,1,,25,5000\r\n"
		 "2001:db8::/32,tcp,1,1000,1000,1,0,25,4000\r\n"
		 "10.0.0.0/8,tcp,2,1000,1000,1,2,50,3000\r\n"
		 "(total),,4,1000,1000,3,2,100,5000\r\n"},
		{"report matrix -n 3 -o csv", "src,dst,bytes,packets,flows\r\n"
					      "10.0.0.1,10.0.0.2,2000,20,2\r\n"
					      "10.0.0.2,10.0.0.1,1000,10,2\r\n"
					      "10.0.0.2,8.8.8.8,1000,10,1\r\n"},
	};
	struct lab *lab = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(run(lab, &report_command, cases[i].line), EXIT_OK);
		assert_string_equal(lab->capture.out, cases[i].out);
	}
}

static void test_notes_tell_what_is_missing(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(run(lab, &report_command, "report top -o csv"), EXIT_OK);
	assert_non_null(
		strstr(lab->capture.err, "window: 1970-01-01 00:00:00 to now UTC, 2 hosts"));
	assert_non_null(
		strstr(lab->capture.err, "silent: we\\x1b[31mb2 since 1970-01-01 00:00:04"));
	assert_non_null(strstr(lab->capture.err, "web1 12 records with 340 packets, 5600 bytes"));
	assert_non_null(strstr(lab->capture.err, "web1 packets_truncated 7 since"));
	assert_non_null(strstr(lab->capture.err, "not told by flow: web1 sockets_untold 8 since"));
	assert_non_null(strstr(lab->capture.err, "clocks that were set: web1 2 times since"));
	assert_non_null(strstr(lab->capture.err, "counted once: 1 records set aside"));
	assert_int_equal(run(lab, &report_command, "report top -q"), EXIT_OK);
	assert_string_equal(lab->capture.err, "");
}

/* Of five minutes two are missing, and of the packets of the others a tenth. */
static void test_coverage_of_a_window(void **state)
{
	static const char why[] = "silent 2 min, spool_drop 30 packets, ring_loss 2 payloads";
	struct lab *lab = *state;
	char wanted[200];
	sqlite3 *db;

	assert_int_equal(run(lab, &report_command, "report top --until 1970-01-01T00:05:00Z"),
			 EXIT_OK);
	assert_non_null(strstr(lab->capture.err, "coverage: 54.00 % of the hosts' time"));
	(void)snprintf(wanted, sizeof(wanted), "incomplete: we\\x1b[31mb2 54.00 %% (%s)", why);
	assert_non_null(strstr(lab->capture.err, wanted));
	assert_int_equal(run(lab, &hosts_command, "hosts -o ndjson --until 1970-01-01T00:05:00Z"),
			 EXIT_OK);
	(void)snprintf(wanted, sizeof(wanted), "\"coverage_pct\":54,\"missing\":\"%s\"", why);
	assert_non_null(strstr(lab->capture.out, wanted));
	assert_non_null(strstr(lab->capture.out, "\"coverage_pct\":null,\"missing\":null"));
	assert_int_equal(sqlite3_open(lab->path, &db), SQLITE_OK);
	assert_int_equal(sample_number(db, "SELECT sum(silent_minutes) FROM coverage"), 2);
	assert_int_equal(sample_number(db, "SELECT sum(lost_packets) FROM coverage"), 30);
	assert_int_equal(sample_number(db, "SELECT 100 * sum(packets) / sum(packets +"
					   " lost_packets) FROM coverage"),
			 90);
	assert_int_equal(sample_number(db, "SELECT min(coverage_pct) FROM coverage"), 75);
	sqlite3_close(db);
}

static void test_hosts(void **state)
{
	struct lab *lab = *state;
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(lab->path, &db), SQLITE_OK);
	sample_exec(db, "INSERT INTO host_addr VALUES"
			" (1, x'20010db8000000000000000000000001', 0, NULL),"
			" (1, x'00000000000000000000ffff0a000002', 0, 5000),"
			" (1, x'00000000000000000000ffff0a000001', 0, NULL)");
	sqlite3_close(db);
	assert_int_equal(run(lab, &hosts_command, "hosts -o ndjson"), EXIT_OK);
	assert_non_null(strstr(lab->capture.out, "\"addrs\":\"10.0.0.1 2001:db8::1\"}"));
	assert_non_null(strstr(lab->capture.out,
			       "{\"host\":\"we\\u001b[31mb2\",\"state\":\"silent\","
			       "\"last_seen_ms\":4000,\"flows\":3,"));
	assert_non_null(strstr(lab->capture.out, "{\"host\":\"web1\",\"state\":\"ok\""));
	assert_non_null(strstr(lab->capture.out, "\"flows\":2,\"packets\":30,\"bytes\":3000,"
						 "\"rtt_p95_us\":9000,"));
	assert_non_null(strstr(lab->capture.out, "\"lost_packets\":347," /* 7 and 340 */
						 "\"clock_steps\":2,\"clock_step_ms\":-1500,"));
}

static void test_flows(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(run(lab, &flows_command, "flows -o csv -n 2"), EXIT_OK);
	assert_non_null(strstr(lab->capture.out, "host,host_id,start_ms,end_ms,"));
	assert_non_null(strstr(lab->capture.out, ",1000,5000,"));
	assert_non_null(strstr(lab->capture.out, ",1000,4000,"));
	assert_null(strstr(lab->capture.out, ",1000,3000,"));
	assert_int_equal(run(lab, &flows_command, "flows tcp and dst port 22"), EXIT_OK);
	assert_non_null(strstr(lab->capture.out, "[2001:db8::1]:50002"));
	assert_non_null(strstr(lab->capture.out, "FSPA"));
	assert_int_equal(run(lab, &flows_command, "flows --until 1970-01-01 -o ndjson"), EXIT_OK);
	assert_string_equal(lab->capture.out, "");
	assert_int_equal(run(lab, &flows_command, "flows --check tcp and"), EXIT_USAGE);
	assert_non_null(strstr(lab->capture.err, "\n  tcp and\n         ^\n"));
	assert_string_equal(lab->capture.out, "");
	assert_int_equal(run(lab, &flows_command, "flows --check tcp"), EXIT_OK);
	assert_string_equal(lab->capture.out, "");
	assert_int_equal(run(lab, &flows_command, "flows --explain host web1"), EXIT_OK);
	assert_non_null(strstr(lab->capture.out, "host = ?2, 0) ORDER BY end_ms DESC LIMIT ?3\n"));
	assert_non_null(strstr(lab->capture.out, "\n?2 = 'web1'\n?3 = 50\n"));
}

static void test_incidents(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(run(lab, &incidents_command, "incidents -o csv"), EXIT_OK);
	assert_string_equal(lab->capture.out,
			    "id,start_ms,end_ms,severity,kind,src_addr,dst_addr,dst_port,hosts,"
			    "value,baseline,threshold,unit,detail\r\n"
			    "2,1000,3000,crit,syn_flood,,10.0.0.2,80,web1,5,1.5,4,packets,"
			    "half-open\r\n"
			    "1,1000,2000,warn,port_scan,10.0.0.1,,,web1,120,,100,ports,"
			    "many ports\r\n");
	assert_int_equal(run(lab, &incidents_command, "incidents --explain 1 -o ndjson"), EXIT_OK);
	assert_non_null(strstr(lab->capture.out, "\"kind\":\"port_scan\""));
	assert_non_null(strstr(lab->capture.out, "}\n{\"flow_id\":4}\n"));
	assert_int_equal(run(lab, &incidents_command, "incidents --explain 2"), EXIT_USAGE);
	assert_non_null(strstr(lab->capture.err, "not authorized"));
	assert_int_equal(run(lab, &incidents_command, "incidents --explain 3"), EXIT_USAGE);
	assert_non_null(strstr(lab->capture.err, "no incident 3"));
}

static void test_usage(void **state)
{
	static const struct {
		const char *line, *why;
	} wrong[] = {
		{"report top --by byte", " dst_port "},
		{"report top --by data_rtt_hist", " src_net "},
		{"report top --by src_net/33", "src_net/33"},
		{"report top --by host,host,host,host,host", "one to 4 columns"},
		{"report top --by 1;DROP", "1;DROP"},
		{"report latency --by vlan", "not one of host src_addr"},
		{"report top --show", "--show"},
		{"report top --show byte", "distinct(x)"},
		{"report top --show avg(rtt_us", "distinct(x)"},
		{"report top --show avg(rtt)", " rtt_us "},
		{"report top --show avg(dst_port)", " rtt_us "},
		{"report top --show avg(rtt_us+dst_port)", " rtt_us "},
		{"report top --show max(process)", " dst_port "},
		{"report top --show max()", " dst_port "},
		{"report top --show distinct(src_port+dst_port)", "of one column"},
		{"report top --show p101(rtt_us)", "p50(x)"},
		{"report top --show median(rtt_us)", "p50(x)"},
		{"report top --order flow", "--order flow"},
	};
	struct lab *lab = *state;

	assert_int_equal(run(lab, &report_command, "report top community_id 1:abc"), EXIT_OK);
	assert_int_equal(run(lab, &report_command, "report tpo"), EXIT_USAGE);
	assert_non_null(strstr(lab->capture.err, "did you mean 'top'?"));
	assert_int_equal(run(lab, &report_command, "report something"), EXIT_USAGE);
	assert_null(strstr(lab->capture.err, "did you mean"));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(run(lab, &report_command, wrong[i].line), EXIT_USAGE);
		if (!strstr(lab->capture.err, wrong[i].why))
			fail_msg("%s: %s", wrong[i].line, lab->capture.err);
		assert_string_equal(lab->capture.out, "");
	}
	assert_int_equal(run(lab, &report_command, "report top nonsense"), EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_notes_tell_what_is_missing),
		cmocka_unit_test(test_coverage_of_a_window),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_flows),
		cmocka_unit_test(test_incidents),
		cmocka_unit_test(test_usage),
	};

	return cmocka_run_group_tests(tests, open_lab, close_lab);
}
