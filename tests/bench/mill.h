/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mill.h - what bench_datapath.c measures, and the stream of packets that it
 * measures it with.
 *
 * The subjects are programs at one of two hooks: one that only lets the packet
 * pass, the bare flow counter (tests/bench/bench.bpf.c), weir's, and at TC those
 * of other projects where their objects are at hand (peer.h). The mill makes of
 * the one packet of BPF_PROG_TEST_RUN those of many flows in turn.
 */
#ifndef WEIR_TESTS_BENCH_MILL_H
#define WEIR_TESTS_BENCH_MILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/peer.h"

#define ROUNDS	     9
#define TABLE_SIZE   1048576u /* flows, of every table */
#define PACKET_BYTES 1066     /* 1000 bytes of payload */

enum subject { PASS, BARE, WEIR, PEER, N_SUBJECTS = PEER + PEER_MAX };
enum hook { XDP, TC, N_HOOKS };

struct bench_bpf;
struct datapath;

struct bench {
	struct bench_bpf *peers;
	struct datapath *weir;
	struct peer *others[PEER_MAX]; /* NULL: not at hand */
	int mill[N_HOOKS], target[N_HOOKS];
	int subject[N_HOOKS][N_SUBJECTS];   /* -1: not at this hook */
	uint64_t next[N_HOOKS][N_SUBJECTS]; /* where the mill goes on: sequence numbers rise */
	unsigned char packet[PACKET_BYTES];
};

/* Loads everything. Returns -errno. */
int bench_open(struct bench *b);
void bench_close(struct bench *b);

/*
 * This thread runs on that CPU only, and ahead of everything that is not
 * real-time itself: the other work of the machine shall not be in the figures.
 */
void bench_own_cpu(int cpu);
/* As any other thread again, and what it starts. */
void bench_share_cpus(void);

/* What packet is: data of a connection, or the same bytes as UDP. */
void bench_make_tcp(struct bench *b);
void bench_make_udp(struct bench *b);

/* Mean ns of one packet straight into a program, or -1 with a line on stderr. */
double bench_run(struct bench *b, int prog, unsigned repeat);

/*
 * Mean ns of one packet through the mill into a subject: so many flows in turn,
 * from the first one on; repeat is a multiple of flows. -1 on failure.
 */
double bench_mill(struct bench *b, enum hook hook, enum subject s, unsigned flows, unsigned repeat);

/* Every table as it was at the start. */
void bench_empty(struct bench *b);

double bench_median(double *v, size_t n);

#endif /* WEIR_TESTS_BENCH_MILL_H */
