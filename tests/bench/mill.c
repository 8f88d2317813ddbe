// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench/mill.h"

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
#include "probe/datapath/datapath.h"

static const uint32_t no_target[N_HOOKS] = {0 /* XDP_ABORTED */, 2 /* TC_ACT_SHOT */};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

void bench_own_cpu(int cpu)
{
	const struct sched_param first = {.sched_priority = 1};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* else: noisier */
	(void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
}

void bench_share_cpus(void)
{
	const struct sched_param none = {0};
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	(void)pthread_setschedparam(pthread_self(), SCHED_OTHER, &none);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(all), &all);
}

void bench_make_tcp(struct bench *b)
{
	unsigned char *p = b->packet;
	struct ethhdr eth = {.h_proto = htons(ETH_P_IP)};
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = IPPROTO_TCP,
			   .tot_len = htons(PACKET_BYTES - ETH_HLEN),
			   .daddr = htonl(0xc0a80001)};
	struct tcphdr tcp = {.dest = htons(443), .doff = 8, .ack = 1, .window = htons(500)};
	const uint32_t timestamps[3] = {htonl(0x0101080a), htonl(1000), htonl(1000)};

	memset(p, 0, PACKET_BYTES);
	memcpy(p, &eth, sizeof(eth));
	memcpy(p + sizeof(eth), &ip, sizeof(ip));
	memcpy(p + sizeof(eth) + sizeof(ip), &tcp, sizeof(tcp));
	memcpy(p + sizeof(eth) + sizeof(ip) + sizeof(tcp), timestamps, sizeof(timestamps));
}

void bench_make_udp(struct bench *b)
{
	bench_make_tcp(b);
	b->packet[ETH_HLEN + 9] = IPPROTO_UDP;
}

static double run(struct bench *b, int prog, unsigned repeat, uint32_t *ret_verdict)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = b->packet, .data_size_in = PACKET_BYTES,
		    .repeat = (int)repeat);
	int err = bpf_prog_test_run_opts(prog, &opts);

	if (err) {
		fprintf(stderr, "test run: %s\n", strerror(-err));
		return -1;
	}
	*ret_verdict = opts.retval;
	return opts.duration;
}

double bench_run(struct bench *b, int prog, unsigned repeat)
{
	uint32_t verdict = 0;

	return run(b, prog, repeat, &verdict);
}

double bench_mill(struct bench *b, enum hook hook, enum subject s, unsigned flows, unsigned repeat)
{
	__u32 zero = 0, verdict = 0;
	int err = bpf_map_update_elem(b->target[hook], &zero, &b->subject[hook][s], BPF_ANY);
	double ns;

	if (err) {
		fprintf(stderr, "the mill cannot call subject %d: %s\n", s, strerror(-err));
		return -1;
	}
	b->peers->bss->mill_next = b->next[hook][s];
	b->peers->data->mill_flows = flows;
	ns = run(b, b->mill[hook], repeat, &verdict);
	b->next[hook][s] = b->peers->bss->mill_next;
	if (ns >= 0 && verdict == no_target[hook]) {
		fprintf(stderr, "the mill did not reach subject %d\n", s);
		return -1;
	}
	return ns;
}

/* --- empty tables ------------------------------------------------------------- */

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

void bench_empty(struct bench *b)
{
	empty_bare(b);
	empty_weir(datapath_table(b->weir));
	for (int i = 0; i < PEER_MAX; i++)
		if (b->others[i])
			peer_empty(b->others[i]);
	memset(b->next, 0, sizeof(b->next));
}

/* --- loading -------------------------------------------------------------------- */

static void choose_subjects(struct bench *b)
{
	b->subject[XDP][PASS] = bpf_program__fd(b->peers->progs.bench_xdp_pass);
	b->subject[XDP][BARE] = bpf_program__fd(b->peers->progs.bench_xdp_bare);
	b->subject[XDP][WEIR] = datapath_prog_fd(b->weir, DATAPATH_XDP);
	b->subject[TC][PASS] = bpf_program__fd(b->peers->progs.bench_tc_pass);
	b->subject[TC][BARE] = bpf_program__fd(b->peers->progs.bench_tc_bare);
	b->subject[TC][WEIR] = datapath_prog_fd(b->weir, DATAPATH_TC_EGRESS);
	for (int i = 0; i < PEER_MAX; i++) {
		b->subject[XDP][PEER + i] = -1;
		b->subject[TC][PEER + i] = b->others[i] ? peer_prog_fd(b->others[i]) : -1;
	}
}

int bench_open(struct bench *b)
{
	int err;

	bench_make_tcp(b);
	b->peers = bench_bpf__open_and_load();
	if (!b->peers)
		return -errno;
	err = datapath_open(TABLE_SIZE, &b->weir);
	if (err)
		return err;
	for (int i = 0; i < PEER_MAX; i++)
		b->others[i] = peer_open(i, TABLE_SIZE);
	b->mill[XDP] = bpf_program__fd(b->peers->progs.bench_xdp_mill);
	b->mill[TC] = bpf_program__fd(b->peers->progs.bench_tc_mill);
	b->target[XDP] = bpf_map__fd(b->peers->maps.xdp_target);
	b->target[TC] = bpf_map__fd(b->peers->maps.tc_target);
	choose_subjects(b);
	return 0;
}

void bench_close(struct bench *b)
{
	for (int i = 0; i < PEER_MAX; i++)
		peer_close(b->others[i]);
	bench_bpf__destroy(b->peers);
	datapath_close(b->weir);
}
