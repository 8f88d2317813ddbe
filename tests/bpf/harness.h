/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * harness.h - the BPF programs loaded with a small table, packets sent through
 * them by BPF_PROG_TEST_RUN, and what they made of those read back.
 */
#ifndef WEIR_TESTS_BPF_HARNESS_H
#define WEIR_TESTS_BPF_HARNESS_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/flow_abi.h"
#include "tests/bpf/craft.h"

#define HARNESS_SLOTS 64

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

#define A "10.0.0.1"
#define B "10.0.0.2"

struct bpf_program;
struct weir_bpf;

/* cmocka fixtures; *state is a struct weir_bpf. The teardown asserts conservation. */
int harness_setup(void **state);
/* With eight slots for each bucket, which has seven ways. */
int harness_setup_crowded(void **state);
/* With a clock of its own, which stands still but for harness_wait(). */
int harness_setup_clocked(void **state);
int harness_teardown(void **state);
#define harness_clocked_test(f)                                                                    \
	cmocka_unit_test_setup_teardown(f, harness_setup_clocked, harness_teardown)
#define harness_test(f) cmocka_unit_test_setup_teardown(f, harness_setup, harness_teardown)

void harness_wait(struct weir_bpf *w, uint64_t us);

void run_xdp(struct weir_bpf *w, const struct craft *c);
void run_tc(struct bpf_program *prog, const struct craft *c, uint32_t gso_size, uint32_t gso_segs);

/* One TCP packet over IPv4 through XDP. */
void send_tcp(struct weir_bpf *w, const char *src, const char *dst, const struct craft_tcp *tcp);

struct flow_counters read_counters(struct weir_bpf *w);
struct flow_totals read_catch_all(struct weir_bpf *w, uint32_t hook);

/* A flow as it stands in the table. */
struct flow_state_of {
	struct flow_slot slot;
	struct flow_perf perf;
};

/* The i-th flow, in the order they were opened, or a failed assertion. */
struct flow_state_of nth_flow(struct weir_bpf *w, unsigned i);
/* The only flow. */
struct flow_state_of only_flow(struct weir_bpf *w);

struct flow_sums {
	unsigned flows;
	uint64_t packets, bytes;
};
struct flow_sums sum_flows(struct weir_bpf *w);

/* Asserts that an address of a key is this one. */
void assert_addr(const uint8_t addr[16], const char *text);

#endif /* WEIR_TESTS_BPF_HARNESS_H */
