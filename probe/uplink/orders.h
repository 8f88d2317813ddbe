/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * orders.h - what a collector tells this probe to do.
 *
 * Each order is carried out once: its number and the answer are on disk, in a
 * file of the state folder for each collector, before the answer leaves. A
 * number that is not above the last one gets the answer that was given, or
 * EALREADY when that is no longer kept (ORDERS_KEPT). Refused with an errno:
 * ETIME its time is over, EINVAL a kind that this version does not know,
 * EOPNOTSUPP one that it cannot carry out.
 *
 * Threads: one. Errors: -errno; then nothing was done.
 */
#ifndef WEIR_PROBE_UPLINK_ORDERS_H
#define WEIR_PROBE_UPLINK_ORDERS_H

#include <stdint.h>

#include "proto/message.h"

#define ORDERS_KEPT 16

int orders_obey(const char *state_dir, const char *url, const struct host_command *c,
		uint64_t now_ns, struct command_result *ret);

#endif /* WEIR_PROBE_UPLINK_ORDERS_H */
