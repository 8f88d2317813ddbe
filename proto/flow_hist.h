/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_hist.h - histograms of round trips in few numbers. For flow_parts.c.
 *
 * The number of samples and the highest of them are columns of their own. Most
 * often all samples are in the bucket of the highest: mode 0, no value more.
 * Mode k, 1 to 15: they are in that bucket and the k below it, whose counts are
 * values, lowest first. Mode 16: all counts are values.
 */
#ifndef WEIR_PROTO_FLOW_HIST_H
#define WEIR_PROTO_FLOW_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

struct flow_hists {
	size_t n;			  /* rows */
	const uint32_t *samples, *max_us; /* of each row */
	uint16_t (*hist)[RTT_BUCKETS];
};

/* The modes of all rows. Returns how many values there are. */
size_t flow_hist_modes(const struct flow_hists *h, uint32_t *ret_modes);
void flow_hist_values(const struct flow_hists *h, const uint32_t *modes, uint32_t *ret_values);

/* How many values the modes ask for; false if one of them is none. */
bool flow_hist_count(const uint32_t *modes, size_t n, size_t *ret);
/* Fills h->hist. A count that is too high for the samples counts as many as there are. */
void flow_hist_join(const struct flow_hists *h, const uint32_t *modes, const uint32_t *values);

#endif /* WEIR_PROTO_FLOW_HIST_H */
