// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bench_datapath.c - ns per packet of weir's programs, by BPF_PROG_TEST_RUN,
 * beside XDP_PASS and a bare parse + HASH update in the same run.
 *
 *	bench_datapath RESULTS_DIR
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bench.skel.h"
#include "bpf/flow_abi.h"
#include "tests/bench/results.h"
#include "weir.skel.h"

#define ROUNDS	     9
#define REPEAT	     200000u
#define NEW_FLOWS    100000u
#define TABLE_SIZE   1048576u
#define PACKET_BYTES 1054 /* 1000 bytes of payload */

enum subject { PASS, BARE, WEIR, N_SUBJECTS };
enum hook { XDP, TC, N_HOOKS };

struct bench {
	struct bench_bpf *peers;
	struct weir_bpf *weir;
	int mill[N_HOOKS], target[N_HOOKS], subject[N_HOOKS][N_SUBJECTS];
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
	struct tcphdr tcp = {.dest = htons(443), .doff = 5, .ack = 1};

	memset(p, 0, PACKET_BYTES);
	memcpy(p, &eth, sizeof(eth));
	memcpy(p + sizeof(eth), &ip, sizeof(ip));
	memcpy(p + sizeof(eth) + sizeof(ip), &tcp, sizeof(tcp));
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
static void empty(int map, size_t key_size, size_t value_size)
{
	enum { BATCH = 4096 };
	unsigned char *keys = malloc(BATCH * key_size), *values = malloc(BATCH * value_size);
	__u32 in = 0, out = 0, n;
	int err = keys && values ? 0 : -ENOMEM;
	void *from = NULL;

	while (!err) {
		n = BATCH;
		err = bpf_map_lookup_and_delete_batch(map, from, &out, keys, values, &n, NULL);
		in = out;
		from = &in;
	}
	free(keys);
	free(values);
}

static void empty_tables(struct bench *b)
{
	empty(bpf_map__fd(b->peers->maps.bare_flows), bpf_map__key_size(b->peers->maps.bare_flows),
	      bpf_map__value_size(b->peers->maps.bare_flows));
	empty(bpf_map__fd(b->weir->maps.flows), sizeof(struct flow_key), sizeof(struct flow_entry));
}

/* ns of one packet through the mill into a subject: flows in turn, repeat packets. */
static double mill(struct bench *b, enum hook hook, enum subject s, unsigned flows, unsigned repeat)
{
	__u32 zero = 0, want = hook == XDP ? 2 /* XDP_PASS */ : (__u32)-1 /* TC_ACT_UNSPEC */;
	int err = bpf_map_update_elem(b->target[hook], &zero, &b->subject[hook][s], BPF_ANY);

	if (err)
		return -1;
	b->peers->bss->mill_next = 0;
	b->peers->data->mill_flows = flows;
	return run(b, b->mill[hook], repeat, want);
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
	b->weir = weir_bpf__open();
	if (!b->peers || !b->weir)
		return -errno;
	(void)bpf_map__set_max_entries(b->weir->maps.flows, TABLE_SIZE);
	err = weir_bpf__load(b->weir);
	if (err)
		return err;

	b->mill[XDP] = bpf_program__fd(b->peers->progs.bench_xdp_mill);
	b->mill[TC] = bpf_program__fd(b->peers->progs.bench_tc_mill);
	b->target[XDP] = bpf_map__fd(b->peers->maps.xdp_target);
	b->target[TC] = bpf_map__fd(b->peers->maps.tc_target);
	b->subject[XDP][PASS] = bpf_program__fd(b->peers->progs.bench_xdp_pass);
	b->subject[XDP][BARE] = bpf_program__fd(b->peers->progs.bench_xdp_bare);
	b->subject[XDP][WEIR] = bpf_program__fd(b->weir->progs.weir_xdp);
	b->subject[TC][PASS] = bpf_program__fd(b->peers->progs.bench_tc_pass);
	b->subject[TC][BARE] = bpf_program__fd(b->peers->progs.bench_tc_bare);
	b->subject[TC][WEIR] = bpf_program__fd(b->weir->progs.weir_tc_egress);
	return 0;
}

static int bench_hook(struct bench *b, struct results *r, enum hook hook)
{
	static const struct {
		const char *name;
		unsigned flows;
		int fresh;
	} cases[] = {{"existing_%s_1", 1, 0},
		     {"existing_%s_10k", 10000, 0},
		     {"existing_%s_100k", 100000, 0},
		     {"new_%s", NEW_FLOWS, 1}};
	static const char *const prefix[N_HOOKS] = {"", "tc_"};
	char key[64], what[32];
	double pass = run(b, b->subject[hook][PASS], REPEAT, hook == XDP ? 2 : (unsigned)-1);

	if (pass < 0)
		return -EIO;
	snprintf(key, sizeof(key), "%spass_ns", hook == XDP ? "xdp_" : "tc_");
	results_add(r, key, pass, "a program that only lets the packet pass");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double ns[N_SUBJECTS], bare, weir;
		int err = measure(b, hook, cases[i].flows, cases[i].fresh, ns);

		if (err)
			return err;
		bare = ns[BARE] - ns[PASS] + pass;
		weir = ns[WEIR] - ns[PASS] + pass;
		snprintf(what, sizeof(what), cases[i].name, "ns");
		snprintf(key, sizeof(key), "%sbare_%s", prefix[hook], what);
		results_add(r, key, bare, "bare parse + HASH update");
		snprintf(key, sizeof(key), "%sdatapath_%s", prefix[hook], what);
		results_add(r, key, weir, "weir");
		snprintf(what, sizeof(what), cases[i].name, "ratio");
		snprintf(key, sizeof(key), "%sdatapath_%s", prefix[hook], what);
		results_add(r, key, weir / bare, "weir over bare");
		if (i == 0 && hook == XDP)
			results_add(r, "bare_ns", bare, "bare, one flow, XDP");
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct bench b = {};
	struct results *r;
	int err;

	if (argc != 2) {
		fprintf(stderr, "usage: %s RESULTS_DIR\n", argv[0]);
		return 2;
	}
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
	if (results_close(r) || err)
		return 1;
	bench_bpf__destroy(b.peers);
	weir_bpf__destroy(b.weir);
	return 0;
}
