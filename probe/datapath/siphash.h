/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * siphash.h - SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash.
 *
 * Used where the input may come from a hostile network (the flow table) and
 * for identifiers (flow_id, probe_id). Threads: no state; any.
 */
#ifndef WEIR_PROBE_DATAPATH_SIPHASH_H
#define WEIR_PROBE_DATAPATH_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k0, k1;
};

uint64_t siphash(const struct siphash_key *key, const void *data, size_t len);

#endif /* WEIR_PROBE_DATAPATH_SIPHASH_H */
