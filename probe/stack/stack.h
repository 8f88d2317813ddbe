/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * stack.h - what this host's own software stack has to do with the flows: which
 * process they belong to, what the kernel dropped of them and why, what it sent
 * again. Puts together drops.h, sockets.h and what is made of them.
 *
 * All of it is optional: what the kernel refuses is missing from the records,
 * and stack_describe() says so.
 *
 * Threads: one at a time. Times: CLOCK_MONOTONIC ns.
 */
#ifndef WEIR_PROBE_STACK_STACK_H
#define WEIR_PROBE_STACK_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/flow_record.h"

struct flow_view;
struct stack;

/* n_slots: as many as the kernel's flow table has. seed: random. Returns -ENOMEM. */
int stack_open(uint32_t n_slots, uint64_t seed, struct stack **ret);

/* NULL is a no-op, as s is below: then nothing is known. */
void stack_close(struct stack *s);

/* Takes what the kernel has told. The descriptor is readable when there is much of it; -1: none. */
void stack_consume(struct stack *s);
int stack_fd(const struct stack *s);

/* Before every pass over the flows. all: every flow will be reported. */
void stack_pass(struct stack *s, uint64_t now_ns, bool all);

/* A look at a flow, due or not. */
void stack_look(struct stack *s, const struct flow_view *v);

/* Fills what flow_record.h has of process and kernel, and the role if no SYN told. */
void stack_fill(struct stack *s, const struct flow_view *v, enum flow_end_reason reason,
		struct flow_record *ret);

/* Visits counters. name is borrowed until the call returns. */
typedef void (*stack_counter_fn)(const char *name, uint64_t value, void *arg);
void stack_counters(struct stack *s, stack_counter_fn visit, void *arg);

/* Visits what is told here and what is not, in words. Both are borrowed until the call returns. */
typedef void (*stack_word_fn)(const char *what, const char *text, void *arg);
void stack_describe(const struct stack *s, stack_word_fn visit, void *arg);

#endif /* WEIR_PROBE_STACK_STACK_H */
