// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bench_datapath.c - ns per packet of weir's programs, by BPF_PROG_TEST_RUN,
 * beside XDP_PASS and a bare parse + HASH update in the same run.
 *
 *	bench_datapath RESULTS_DIR IPERF_SCRIPT PROBE
 *
 * All programs take turns within each round, so that a slow moment of the
 * machine meets them alike; the medians over the rounds are compared. What the
 * packet mill costs (tests/bench/mill.h) is measured against the pass program
 * and taken off. NETOBSERV_OBJ and EPPING_OBJ name objects of other projects
 * to be measured as well (tests/bench/peer.h).
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bench.skel.h"
#include "bpf/flow_abi.h"
#include "common/clock.h"
#include "probe/datapath/datapath.h"
#include "probe/datapath/flow_table.h"
#include "probe/datapath/iface.h"
#include "probe/drain/drain.h"
#include "tests/bench/mill.h"
#include "tests/bench/results.h"

#define REPEAT		 200000u
#define NEW_FLOWS	 100000u
#define ELEPHANT_PACKETS 1000000u
#define DRAIN_FLOWS	 500000u
#define MILLION		 1000000u
#define MILLION_ROUNDS	 3

/*
 * Medians over the rounds for one hook and one number of flows. With fresh the
 * tables are empty before each run, so that every packet opens a flow. -1 for a
 * subject that is not at hand.
 */
static int measure(struct bench *b, enum hook hook, unsigned flows, bool fresh,
		   double ret[N_SUBJECTS])
{
	double ns[N_SUBJECTS][ROUNDS];
	unsigned repeat = fresh ? flows : REPEAT;

	for (int round = 0; round < ROUNDS; round++) {
		for (int s = 0; s < N_SUBJECTS; s++) {
			if (b->subject[hook][s] < 0)
				continue;
			if (fresh)
				bench_empty(b);
			else if (bench_mill(b, hook, s, flows, flows) < 0) /* all exist, warm */
				return -EIO;
			ns[s][round] = bench_mill(b, hook, s, flows, repeat);
			if (ns[s][round] < 0)
				return -EIO;
		}
	}
	for (int s = 0; s < N_SUBJECTS; s++)
		ret[s] = b->subject[hook][s] < 0 ? -1 : bench_median(ns[s], ROUNDS);
	bench_empty(b);
	return 0;
}

/* Adds "tc_NAME_SUFFIX", or without the tc_. */
static void add(struct results *r, enum hook hook, const char *name, const char *suffix,
		double value, const char *text)
{
	char key[96];

	snprintf(key, sizeof(key), "%s%s_%s", hook == TC ? "tc_" : "", name, suffix);
	results_add(r, key, value, text);
}

struct hook_case {
	const char *what, *suffix, *ratio; /* of the keys */
	unsigned flows;
	bool fresh;
};

static void add_case(struct bench *b, struct results *r, enum hook hook, const struct hook_case *c,
		     const double ns[N_SUBJECTS], double pass)
{
	double mill = ns[PASS] - pass, bare = ns[BARE] - mill, weir = ns[WEIR] - mill;
	char name[64];

	snprintf(name, sizeof(name), "bare_%s", c->what);
	add(r, hook, name, c->suffix, bare, "bare parse + HASH update");
	snprintf(name, sizeof(name), "datapath_%s", c->what);
	add(r, hook, name, c->suffix, weir, "weir");
	add(r, hook, "datapath", c->ratio, weir / bare, "weir over bare");
	for (int i = 0; i < PEER_MAX; i++) {
		if (b->subject[hook][PEER + i] < 0)
			continue;
		snprintf(name, sizeof(name), "%s_%s", peer_name(i), c->what);
		add(r, hook, name, c->suffix, ns[PEER + i] - mill, peer_name(i));
	}
}

static int bench_hook(struct bench *b, struct results *r, enum hook hook)
{
	static const struct hook_case cases[] = {
		{"existing_ns", "1", "existing_ratio_1", 1, false},
		{"existing_ns", "10k", "existing_ratio_10k", 10000, false},
		{"existing_ns", "100k", "existing_ratio_100k", 100000, false},
		{"new", "ns", "new_ratio", NEW_FLOWS, true},
	};
	double pass = bench_run(b, b->subject[hook][PASS], REPEAT);

	if (pass < 0)
		return -EIO;
	results_add(r, hook == XDP ? "xdp_pass_ns" : "tc_pass_ns", pass,
		    "a program that only lets the packet pass");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double ns[N_SUBJECTS];
		int err = measure(b, hook, cases[i].flows, cases[i].fresh, ns);

		if (err)
			return err;
		add_case(b, r, hook, &cases[i], ns, pass);
		if (i == 0 && hook == XDP)
			results_add(r, "bare_ns", ns[BARE] - ns[PASS] + pass,
				    "bare, one flow, XDP");
	}
	return 0;
}

/* --- two CPUs on one flow ---------------------------------------------------- */

struct runner {
	struct bench *b;
	pthread_barrier_t *start;
	int cpu;
	double ns; /* -1: failed */
};

static void *run_on_cpu(void *arg)
{
	struct runner *r = arg;

	bench_own_cpu(r->cpu);
	(void)pthread_barrier_wait(r->start);
	r->ns = bench_run(r->b, r->b->subject[XDP][WEIR], ELEPHANT_PACKETS);
	return NULL;
}

/* Mean ns a packet on n CPUs at once; all packets are of one flow, and none is lost. */
static double elephant(struct bench *b, unsigned n)
{
	pthread_barrier_t start;
	struct runner r[2] = {{b, &start, 0, 0}, {b, &start, 1, 0}};
	const struct datapath_table *table = datapath_table(b->weir);
	struct flow_slot slot;
	pthread_t threads[2];
	uint64_t packets;
	double ns = 0;

	bench_empty(b);
	/* The flow is there: opening it at once is another matter (LOCK_TRIES). */
	if (bench_run(b, b->subject[XDP][WEIR], 1) < 0 ||
	    pthread_barrier_init(&start, NULL, n) != 0)
		return -1;
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, run_on_cpu, &r[i]) != 0)
			return -1;
	for (unsigned i = 0; i < n; i++) {
		(void)pthread_join(threads[i], NULL);
		if (r[i].ns < 0)
			return -1;
		ns += r[i].ns / n;
	}
	(void)pthread_barrier_destroy(&start);
	flow_slot_read(table->slots, table->perf, &slot);
	packets = slot.half[0].packets + slot.half[1].packets - 1;
	if (packets == (uint64_t)n * ELEPHANT_PACKETS)
		return ns;
	fprintf(stderr, "elephant: %llu packets counted of %llu\n", (unsigned long long)packets,
		(unsigned long long)n * ELEPHANT_PACKETS);
	return -1;
}

/* UDP: both CPUs meet in the same half, and nothing is a repetition. */
static int bench_elephant(struct bench *b, struct results *r)
{
	double one[ROUNDS], two[ROUNDS], ns;

	bench_make_udp(b);
	for (int i = 0; i < ROUNDS; i++) {
		one[i] = elephant(b, 1);
		two[i] = elephant(b, 2);
		if (one[i] < 0 || two[i] < 0)
			return -EIO;
	}
	bench_make_tcp(b);
	ns = bench_median(one, ROUNDS);
	results_add(r, "elephant_1cpu_ns", ns, "one flow, one CPU");
	results_add(r, "elephant_2cpu_ns", bench_median(two, ROUNDS),
		    "one flow, two CPUs at once, no count lost");
	results_add(r, "elephant_2cpu_ratio", bench_median(two, ROUNDS) / ns, "two over one");
	return 0;
}

/* --- each program -------------------------------------------------------------- */

/*
 * One UDP flow straight into each program. The l3 ones are the same code without
 * the Ethernet stage; a test run gives its packets an Ethernet header.
 */
static int bench_programs(struct bench *b, struct results *r)
{
	static const struct {
		const char *key;
		enum datapath_prog prog;
	} programs[] = {
		{"weir_xdp_ns", DATAPATH_XDP},
		{"weir_xdp_frags_ns", DATAPATH_XDP_FRAGS},
		{"weir_tc_ingress_ns", DATAPATH_TC_INGRESS},
		{"weir_tc_egress_ns", DATAPATH_TC_EGRESS},
	};

	bench_make_udp(b);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		int prog = datapath_prog_fd(b->weir, programs[i].prog);
		double ns[ROUNDS];

		if (prog < 0) /* a kernel without fragments in XDP */
			continue;
		bench_empty(b);
		for (int round = 0; round < ROUNDS; round++) {
			ns[round] = bench_run(b, prog, REPEAT);
			if (ns[round] < 0)
				return -EIO;
		}
		results_add(r, programs[i].key, bench_median(ns, ROUNDS), "one UDP flow");
	}
	bench_make_tcp(b);
	return 0;
}

/* --- a million flows -------------------------------------------------------------- */

/* What the kernel charges for a map of this process, by its descriptor's fdinfo. */
static uint64_t charged(const char *fd)
{
	char path[288], line[128];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	if (f)
		fclose(f);
	return bytes;
}

/* The same of all maps of this process with one of the names. */
static uint64_t map_bytes(const char *const names[], size_t n)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	uint64_t bytes = 0;

	while (dir && (entry = readdir(dir))) {
		struct bpf_map_info info = {};
		__u32 len = sizeof(info);
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir) ||
		    bpf_obj_get_info_by_fd(fd, &info, &len) != 0 || !info.max_entries)
			continue;
		for (size_t i = 0; i < n; i++)
			if (strcmp(info.name, names[i]) == 0)
				bytes += charged(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return bytes;
}

static uint64_t refused(struct bench *b)
{
	uint64_t counters[FLOW_CNT_MAX];

	return datapath_counters(b->weir, counters) ? UINT64_MAX : counters[FLOW_CNT_FLOWS_REFUSED];
}

/* The first packet of each flow, then others of the same ones. */
static int mill_million(struct bench *b, enum subject s, double *ret_new, double *ret_existing)
{
	double existing[MILLION_ROUNDS];

	*ret_new = bench_mill(b, XDP, s, MILLION, MILLION);
	for (int i = 0; i < MILLION_ROUNDS; i++) {
		existing[i] = bench_mill(b, XDP, s, MILLION, MILLION);
		if (existing[i] < 0 || *ret_new < 0)
			return -EIO;
	}
	*ret_existing = bench_median(existing, MILLION_ROUNDS);
	return 0;
}

static int bench_million(struct bench *b, struct results *r)
{
	static const char *const ours[] = {"buckets", "slots", "perf", "free_ring"};
	static const char *const bare[] = {"bare_flows"};
	uint64_t before = refused(b);
	double fresh[N_SUBJECTS], existing[N_SUBJECTS];

	bench_empty(b);
	for (int s = PASS; s <= WEIR; s++)
		if (mill_million(b, s, &fresh[s], &existing[s]) != 0)
			return -EIO;
	results_add(r, "bare_new_ns_1m", fresh[BARE] - fresh[PASS], "bare, each flow's first");
	results_add(r, "datapath_new_ns_1m", fresh[WEIR] - fresh[PASS], "weir");
	results_add(r, "bare_existing_ns_1m", existing[BARE] - existing[PASS], "bare, others");
	results_add(r, "datapath_existing_ns_1m", existing[WEIR] - existing[PASS], "weir");
	results_add(r, "flows_refused_1m", (double)(refused(b) - before), "of a million");
	results_add(r, "kernel_mib_1m", (double)map_bytes(ours, 4) / (1 << 20),
		    "MiB, as the kernel charges the maps of a table for 1,048,576 flows");
	results_add(r, "bare_mib_1m", (double)map_bytes(bare, 1) / (1 << 20),
		    "MiB of the bare HASH for as many");
	bench_empty(b);
	return refused(b) == before ? 0 : -ENOSPC;
}

/* --- draining ----------------------------------------------------------------- */

static void ignore_record(const struct flow_record *record, const struct flow_view *view, void *arg)
{
	(void)view;
	*(uint64_t *)arg += record->packets;
}

/* CPU ns a flow of one drain. */
static double drain_once(struct drain *d, enum drain_scope scope, unsigned flows)
{
	uint64_t began = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	if (drain_run(d, scope) != 0)
		return -1;
	return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - began) / flows;
}

/* The same by batch lookup of a HASH, for comparison. */
static double drain_hash(struct bench *b, unsigned flows)
{
	enum { BATCH = 4096 };
	const struct bpf_map *map = b->peers->maps.bare_flows;
	unsigned char *keys = malloc(BATCH * bpf_map__key_size(map));
	unsigned char *values = malloc(BATCH * bpf_map__value_size(map));
	uint64_t began = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	__u32 in = 0, out = 0, n;
	int err = keys && values ? 0 : -ENOMEM;
	void *from = NULL;

	while (!err) {
		n = BATCH;
		err = bpf_map_lookup_batch(bpf_map__fd(map), from, &out, keys, values, &n, NULL);
		in = out;
		from = &in;
	}
	free(keys);
	free(values);
	return err == -ENOENT ? (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - began) / flows : -1;
}

static int bench_drain(struct bench *b, struct results *r)
{
	static const struct iface_list no_ifaces;
	const struct flow_table_config config = {
		.active_ns = 3600 * NS_PER_SEC,
		.idle_ns = 3600 * NS_PER_SEC,
		.tcp_idle_ns = 3600 * NS_PER_SEC,
		.udp_idle_ns = 3600 * NS_PER_SEC,
		.icmp_idle_ns = 3600 * NS_PER_SEC,
		.epoch = 1,
		.ifaces = &no_ifaces,
	};
	const size_t all = sizeof(struct flow_slot) + sizeof(struct flow_perf) +
			   sizeof(struct flow_bucket) / 2 + sizeof(struct flow_free_ring);
	double scan[ROUNDS], report[ROUNDS], hash[ROUNDS];
	uint64_t packets = 0;
	struct drain *d;

	bench_empty(b);
	if (bench_mill(b, XDP, WEIR, DRAIN_FLOWS, DRAIN_FLOWS) < 0 ||
	    bench_mill(b, XDP, BARE, DRAIN_FLOWS, DRAIN_FLOWS) < 0 ||
	    drain_new(b->weir, &config, ignore_record, &packets, &d) != 0)
		return -EIO;
	for (int i = 0; i < ROUNDS; i++) {
		scan[i] = drain_once(d, DRAIN_DUE, DRAIN_FLOWS);
		report[i] = drain_once(d, DRAIN_EVERY, DRAIN_FLOWS);
		hash[i] = drain_hash(b, DRAIN_FLOWS);
	}
	drain_free(d);
	bench_empty(b);
	results_add(r, "drain_ns_per_flow", bench_median(scan, ROUNDS),
		    "reading a flow and deciding");
	results_add(r, "drain_report_ns_per_flow", bench_median(report, ROUNDS),
		    "the same and making its record");
	results_add(r, "drain_hash_ns_per_flow", bench_median(hash, ROUNDS),
		    "reading a flow of a HASH by batch lookup");
	if (packets != DRAIN_FLOWS) {
		fprintf(stderr, "drain: %llu packets in records of %u\n",
			(unsigned long long)packets, DRAIN_FLOWS);
		return -EIO;
	}
	results_add(r, "kernel_bytes_per_flow", sizeof(struct flow_slot), "the hot entry");
	results_add(r, "kernel_bytes_per_flow_all", (double)all,
		    "with the performance record, its share of the index and of the free ring");
	return 0;
}

/* --- what a host notices --------------------------------------------------------- */

/* tests/bench/iperf.sh prints the median of throughput with the probe over without. */
static int bench_iperf(struct results *r, const char *script, const char *probe)
{
	char command[512], line[64] = "";
	double ratio;
	FILE *f;

	snprintf(command, sizeof(command), "%s %s", script, probe);
	f = popen(command, "r");
	if (!f || !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f && pclose(f) != 0)
		return -EIO;
	if (sscanf(line, "%lf", &ratio) != 1)
		return -EIO;
	results_add(r, "iperf_ratio", ratio, "iperf3 over veth with the probe, over without");
	return 0;
}

int main(int argc, char **argv)
{
	struct bench b = {};
	struct results *r;
	int err;

	if (argc != 4) {
		fprintf(stderr, "usage: %s RESULTS_DIR IPERF_SCRIPT PROBE\n", argv[0]);
		return 2;
	}
	bench_own_cpu(0);
	err = bench_open(&b);
	if (err) {
		fprintf(stderr, "bench: cannot load the programs: %s\n", strerror(-err));
		return 1;
	}
	r = results_open(argv[1], "bench", 0);
	if (!r)
		return 1;
	err = bench_hook(&b, r, XDP);
	if (!err)
		err = bench_hook(&b, r, TC);
	if (!err)
		err = bench_programs(&b, r);
	if (!err)
		err = bench_elephant(&b, r);
	if (!err)
		err = bench_million(&b, r);
	if (!err)
		err = bench_drain(&b, r);
	bench_share_cpus();
	if (!err)
		err = bench_iperf(r, argv[2], argv[3]);
	if (results_close(r) || err)
		return 1;
	bench_close(&b);
	return 0;
}
