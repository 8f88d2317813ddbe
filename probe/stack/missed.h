/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * missed.h - runs of tracing programs that the kernel left out. It starts none
 * on a CPU that is in the midst of the same program: an interrupt that does what
 * the interrupted code did goes untold.
 *
 * Threads: any.
 */
#ifndef WEIR_PROBE_STACK_MISSED_H
#define WEIR_PROBE_STACK_MISSED_H

#include <stdint.h>

struct bpf_object;

/* The sum over all programs of a loaded object, since they were loaded (Linux 5.12). */
uint64_t missed_runs(const struct bpf_object *object);

#endif /* WEIR_PROBE_STACK_MISSED_H */
