// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bench_datapath.c - ns per packet of weir's programs, by BPF_PROG_TEST_RUN,
 * beside XDP_PASS and a bare parse + HASH update in the same run.
 *
 *	bench_datapath RESULTS_DIR IPERF_SCRIPT PROBE
 *
 * All programs take turns within each round, so that a slow moment of the
 * machine meets them alike; the medians over the rounds are compared. What the
 * packet mill costs (tests/bench/bench.bpf.c) is measured against the pass
 * program and taken off.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bench.skel.h"
#include "bpf/flow_abi.h"
#include "common/clock.h"
#include "probe/datapath.h"
#include "probe/drain.h"
#include "probe/iface.h"
#include "tests/bench/results.h"

#define ROUNDS		 9
#define REPEAT		 200000u
#define NEW_FLOWS	 100000u
#define ELEPHANT_PACKETS 1000000u
#define DRAIN_FLOWS	 500000u
#define TABLE_SIZE	 1048576u
#define PACKET_BYTES	 1054 /* 1000 bytes of payload */

enum subject { PASS, BARE, WEIR, N_SUBJECTS };
enum hook { XDP, TC, N_HOOKS };

struct bench {
	struct bench_bpf *peers;
	struct datapath *weir;
	int mill[N_HOOKS], target[N_HOOKS], subject[N_HOOKS][N_SUBJECTS];
	uint64_t next[N_HOOKS][N_SUBJECTS]; /* where the mill goes on: sequence numbers rise */
	unsigned char packet[PACKET_BYTES];
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static void make_packet(unsigned char *p)
{
	struct ethhdr eth = {.h_proto = htons(ETH_P_IP)};
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = IPPROTO_TCP,
			   .tot_len = htons(PACKET_BYTES - ETH_HLEN),
			   .daddr = htonl(0xc0a80001)};
	struct tcphdr tcp = {.dest = htons(443), .doff = 5, .ack = 1, .window = htons(500)};

	memset(p, 0, PACKET_BYTES);
	memcpy(p, &eth, sizeof(eth));
	memcpy(p + sizeof(eth), &ip, sizeof(ip));
	memcpy(p + sizeof(eth) + sizeof(ip), &tcp, sizeof(tcp));
}

/*
 * This thread runs on that CPU only, and ahead of everything that is not
 * real-time itself: the other work of the machine shall not be in the figures.
 */
static void own_cpu(int cpu)
{
	const struct sched_param first = {.sched_priority = 1};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* else: noisier */
	(void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
}

/* Mean ns of one repetition, or -1 with a line on stderr. */
static double run(struct bench *b, int prog, unsigned repeat, unsigned want)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = b->packet, .data_size_in = PACKET_BYTES,
		    .repeat = (int)repeat);
	int err = bpf_prog_test_run_opts(prog, &opts);

	if (err || opts.retval != want) {
		fprintf(stderr, "test run: %s, returned %u\n", strerror(err ? -err : 0),
			opts.retval);
		return -1;
	}
	return opts.duration;
}

/* Batches: a walk with get_next_key from the start would be quadratic. */
static void empty_bare(struct bench *b)
{
	enum { BATCH = 4096 };
	const struct bpf_map *map = b->peers->maps.bare_flows;
	unsigned char *keys = malloc(BATCH * bpf_map__key_size(map));
	unsigned char *values = malloc(BATCH * bpf_map__value_size(map));
	__u32 in = 0, out = 0, n;
	int err = keys && values ? 0 : -ENOMEM;
	void *from = NULL;

	while (!err) {
		n = BATCH;
		err = bpf_map_lookup_and_delete_batch(bpf_map__fd(map), from, &out, keys, values,
						      &n, NULL);
		in = out;
		from = &in;
	}
	free(keys);
	free(values);
}

/* As it was after datapath_open(): no program runs meanwhile. */
static void empty_weir(const struct datapath_table *t)
{
	uint32_t used = t->ring->head < t->n_slots ? t->ring->head : t->n_slots;

	memset(t->buckets, 0, t->n_slots / 2 * sizeof(*t->buckets));
	memset(t->slots, 0, used * sizeof(*t->slots));
	memset(t->perf, 0, used * sizeof(*t->perf));
	for (uint32_t i = 0; i < t->n_slots; i++)
		t->ring[1 + i].head = i;
	t->ring->head = 0;
	t->ring->tail = t->n_slots;
}

static void empty_tables(struct bench *b)
{
	empty_bare(b);
	empty_weir(datapath_table(b->weir));
	memset(b->next, 0, sizeof(b->next));
}

/* ns of one packet through the mill into a subject: flows in turn, repeat packets. */
static double mill(struct bench *b, enum hook hook, enum subject s, unsigned flows, unsigned repeat)
{
	__u32 zero = 0, want = hook == XDP ? 2 /* XDP_PASS */ : (__u32)-1 /* TC_ACT_UNSPEC */;
	int err = bpf_map_update_elem(b->target[hook], &zero, &b->subject[hook][s], BPF_ANY);
	double ns;

	if (err)
		return -1;
	/* From the first flow on again: repeat is a multiple of flows. */
	b->peers->bss->mill_next = b->next[hook][s];
	b->peers->data->mill_flows = flows;
	ns = run(b, b->mill[hook], repeat, want);
	b->next[hook][s] = b->peers->bss->mill_next;
	return ns;
}

/*
 * Medians over the rounds for one hook and one number of flows. With fresh the
 * tables are empty before each run, so that every packet opens a flow.
 */
static int measure(struct bench *b, enum hook hook, unsigned flows, int fresh,
		   double ret[N_SUBJECTS])
{
	double ns[N_SUBJECTS][ROUNDS];
	unsigned repeat = fresh ? flows : REPEAT;

	for (int round = 0; round < ROUNDS; round++) {
		for (int s = 0; s < N_SUBJECTS; s++) {
			if (fresh)
				empty_tables(b);
			else if (mill(b, hook, s, flows, flows) < 0) /* every flow exists, warm */
				return -EIO;
			ns[s][round] = mill(b, hook, s, flows, repeat);
			if (ns[s][round] < 0)
				return -EIO;
		}
	}
	for (int s = 0; s < N_SUBJECTS; s++)
		ret[s] = median(ns[s], ROUNDS);
	empty_tables(b);
	return 0;
}

static int open_programs(struct bench *b)
{
	int err;

	b->peers = bench_bpf__open_and_load();
	if (!b->peers)
		return -errno;
	err = datapath_open(TABLE_SIZE, &b->weir);
	if (err)
		return err;

	b->mill[XDP] = bpf_program__fd(b->peers->progs.bench_xdp_mill);
	b->mill[TC] = bpf_program__fd(b->peers->progs.bench_tc_mill);
	b->target[XDP] = bpf_map__fd(b->peers->maps.xdp_target);
	b->target[TC] = bpf_map__fd(b->peers->maps.tc_target);
	b->subject[XDP][PASS] = bpf_program__fd(b->peers->progs.bench_xdp_pass);
	b->subject[XDP][BARE] = bpf_program__fd(b->peers->progs.bench_xdp_bare);
	b->subject[XDP][WEIR] = datapath_prog_fd(b->weir, DATAPATH_XDP);
	b->subject[TC][PASS] = bpf_program__fd(b->peers->progs.bench_tc_pass);
	b->subject[TC][BARE] = bpf_program__fd(b->peers->progs.bench_tc_bare);
	b->subject[TC][WEIR] = datapath_prog_fd(b->weir, DATAPATH_TC_EGRESS);
	return 0;
}

/* Adds "PREFIXname_SUFFIX". */
static void add(struct results *r, enum hook hook, const char *name, const char *suffix,
		double value, const char *text)
{
	char key[64];

	snprintf(key, sizeof(key), "%s%s_%s", hook == TC ? "tc_" : "", name, suffix);
	results_add(r, key, value, text);
}

static int bench_hook(struct bench *b, struct results *r, enum hook hook)
{
	static const struct {
		const char *bare_ns, *weir_ns, *ratio, *suffix;
		unsigned flows;
		int fresh;
	} cases[] = {
		{"bare_existing_ns", "datapath_existing_ns", "datapath_existing_ratio", "1", 1, 0},
		{"bare_existing_ns", "datapath_existing_ns", "datapath_existing_ratio", "10k",
		 10000, 0},
		{"bare_existing_ns", "datapath_existing_ns", "datapath_existing_ratio", "100k",
		 100000, 0},
		{"bare_new", "datapath_new", "datapath_new", NULL, NEW_FLOWS, 1},
	};
	double pass = run(b, b->subject[hook][PASS], REPEAT, hook == XDP ? 2 : (unsigned)-1);

	if (pass < 0)
		return -EIO;
	results_add(r, hook == XDP ? "xdp_pass_ns" : "tc_pass_ns", pass,
		    "a program that only lets the packet pass");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *suffix = cases[i].suffix;
		double ns[N_SUBJECTS], bare, weir;
		int err = measure(b, hook, cases[i].flows, cases[i].fresh, ns);

		if (err)
			return err;
		bare = ns[BARE] - ns[PASS] + pass;
		weir = ns[WEIR] - ns[PASS] + pass;
		add(r, hook, cases[i].bare_ns, suffix ? suffix : "ns", bare,
		    "bare parse + HASH update");
		add(r, hook, cases[i].weir_ns, suffix ? suffix : "ns", weir, "weir");
		add(r, hook, cases[i].ratio, suffix ? suffix : "ratio", weir / bare,
		    "weir over bare");
		if (i == 0 && hook == XDP)
			results_add(r, "bare_ns", bare, "bare, one flow, XDP");
	}
	return 0;
}

/* --- two CPUs on one flow ---------------------------------------------------- */

struct runner {
	struct bench *b;
	int cpu;
	double ns; /* -1: failed */
};

/* UDP: both CPUs meet in the same half, and nothing is a repetition. */
static void make_udp(unsigned char *p)
{
	p[ETH_HLEN + 9] = IPPROTO_UDP;
}

static void *run_on_cpu(void *arg)
{
	struct runner *r = arg;

	own_cpu(r->cpu);
	r->ns = run(r->b, r->b->subject[XDP][WEIR], ELEPHANT_PACKETS, 2);
	return NULL;
}

/* Mean ns a packet on n CPUs at once; all packets are of one flow, and none is lost. */
static double elephant(struct bench *b, int n)
{
	struct runner r[2] = {{b, 0, 0}, {b, 1, 0}};
	const struct datapath_table *table = datapath_table(b->weir);
	struct flow_slot slot;
	pthread_t threads[2];
	double ns = 0;

	empty_tables(b);
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, run_on_cpu, &r[i]) != 0)
			return -1;
	for (int i = 0; i < n; i++) {
		(void)pthread_join(threads[i], NULL);
		if (r[i].ns < 0)
			return -1;
		ns += r[i].ns / n;
	}
	flow_slot_read(table->slots, table->perf, &slot);
	if (slot.half[0].packets + slot.half[1].packets != (uint64_t)n * ELEPHANT_PACKETS) {
		fprintf(stderr, "elephant: %llu packets counted of %llu\n",
			(unsigned long long)(slot.half[0].packets + slot.half[1].packets),
			(unsigned long long)n * ELEPHANT_PACKETS);
		return -1;
	}
	return ns;
}

static int bench_elephant(struct bench *b, struct results *r)
{
	double one[ROUNDS], two[ROUNDS], ns;

	make_udp(b->packet);
	for (int i = 0; i < ROUNDS; i++) {
		one[i] = elephant(b, 1);
		two[i] = elephant(b, 2);
		if (one[i] < 0 || two[i] < 0)
			return -EIO;
	}
	make_packet(b->packet);
	ns = median(one, ROUNDS);
	results_add(r, "elephant_1cpu_ns", ns, "one flow, one CPU");
	results_add(r, "elephant_2cpu_ns", median(two, ROUNDS),
		    "one flow, two CPUs at once, no count lost");
	results_add(r, "elephant_2cpu_ratio", two[ROUNDS / 2] / ns, "two over one");
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
		unsigned verdict;
	} programs[] = {
		{"weir_xdp_ns", DATAPATH_XDP, 2},
		{"weir_xdp_frags_ns", DATAPATH_XDP_FRAGS, 2},
		{"weir_tc_ingress_ns", DATAPATH_TC_INGRESS, (unsigned)-1},
		{"weir_tc_egress_ns", DATAPATH_TC_EGRESS, (unsigned)-1},
	};

	make_udp(b->packet);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		int prog = datapath_prog_fd(b->weir, programs[i].prog);
		double ns[ROUNDS];

		if (prog < 0) /* a kernel without fragments in XDP */
			continue;
		empty_tables(b);
		for (int round = 0; round < ROUNDS; round++) {
			ns[round] = run(b, prog, REPEAT, programs[i].verdict);
			if (ns[round] < 0)
				return -EIO;
		}
		results_add(r, programs[i].key, median(ns, ROUNDS), "one UDP flow");
	}
	make_packet(b->packet);
	return 0;
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

	empty_tables(b);
	if (mill(b, XDP, WEIR, DRAIN_FLOWS, DRAIN_FLOWS) < 0 ||
	    mill(b, XDP, BARE, DRAIN_FLOWS, DRAIN_FLOWS) < 0 ||
	    drain_new(b->weir, &config, ignore_record, &packets, &d) != 0)
		return -EIO;
	for (int i = 0; i < ROUNDS; i++) {
		scan[i] = drain_once(d, DRAIN_DUE, DRAIN_FLOWS);
		report[i] = drain_once(d, DRAIN_EVERY, DRAIN_FLOWS);
		hash[i] = drain_hash(b, DRAIN_FLOWS);
	}
	drain_free(d);
	empty_tables(b);
	results_add(r, "drain_ns_per_flow", median(scan, ROUNDS), "reading a flow and deciding");
	results_add(r, "drain_report_ns_per_flow", median(report, ROUNDS),
		    "the same and making its record");
	results_add(r, "drain_hash_ns_per_flow", median(hash, ROUNDS),
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
	own_cpu(0);
	make_packet(b.packet);
	err = open_programs(&b);
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
		err = bench_drain(&b, r);
	if (!err)
		err = bench_iperf(r, argv[2], argv[3]);
	if (results_close(r) || err)
		return 1;
	bench_bpf__destroy(b.peers);
	datapath_close(b.weir);
	return 0;
}
