/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * drops.h - what the kernel drops in this network namespace, by its own reasons.
 *
 * The names come from the running kernel's BTF (enum skb_drop_reason), without
 * their prefix and in lower case: "netfilter_drop", "tcp_old_data". Optional:
 * a kernel that refuses it costs only these numbers.
 *
 * Threads: one at a time. Errors: -errno.
 */
#ifndef WEIR_PROBE_STACK_DROPS_H
#define WEIR_PROBE_STACK_DROPS_H

#include <stdint.h>

struct drops;
struct tallies;

/* Loads and attaches bpf/drops.bpf.c. -ENOENT: a kernel without reasons (before 5.17). */
int drops_open(struct drops **ret);

/* NULL is a no-op. */
void drops_close(struct drops *d);

/* How many reasons drops_read() gives at most; what is dropped for others adds up in "other". */
#define DROPS_MAX_NAMES 20

/* reason is borrowed until the call returns. buffers: since drops_open(). */
typedef void (*drops_visit_fn)(const char *reason, uint64_t buffers, void *arg);

/* Visits every reason that anything was dropped for. */
int drops_read(struct drops *d, drops_visit_fn visit, void *arg);

/* What is dropped by flow, with reasons for drops_reason(). Returns -errno of the map. */
int drops_read_tallies(struct drops *d, struct tallies *t, uint64_t now_ns);

/* The name of a reason; "other" where the kernel has none. Owned by d. */
const char *drops_reason(const struct drops *d, uint32_t reason);

/* Drops that the kernel did not tell: one interrupted the program at work on another. */
uint64_t drops_missed(const struct drops *d);

struct tally_state;

/* Counters of the kernel's side of the tallies. */
const struct tally_state *drops_tally_state(const struct drops *d);

#endif /* WEIR_PROBE_STACK_DROPS_H */
