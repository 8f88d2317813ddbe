/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/flow_hist.h"

#include <string.h>

#define EXPLICIT RTT_BUCKETS

/* See RTT_BUCKETS. */
static unsigned bucket_of(uint32_t us)
{
	unsigned log2 = us ? 31 - (unsigned)__builtin_clz(us) : 0;

	return log2 < 5 ? 0 : log2 - 4 < RTT_BUCKETS ? log2 - 4 : RTT_BUCKETS - 1;
}

static uint32_t mode_of(const struct flow_hists *h, size_t i)
{
	const uint16_t *hist = h->hist[i];
	unsigned high = bucket_of(h->max_us[i]), low = high;
	uint32_t sum = 0;

	if (h->samples[i] == 0)
		return 0;
	for (unsigned b = RTT_BUCKETS; b > 0; b--) {
		sum += hist[b - 1];
		if (hist[b - 1] && b - 1 > high)
			return EXPLICIT;
		if (hist[b - 1] && b - 1 < low)
			low = b - 1;
	}
	return sum == h->samples[i] ? high - low : EXPLICIT;
}

size_t flow_hist_modes(const struct flow_hists *h, uint32_t *ret_modes)
{
	size_t n_values = 0;

	for (size_t i = 0; i < h->n; i++) {
		ret_modes[i] = mode_of(h, i);
		n_values += ret_modes[i];
	}
	return n_values;
}

void flow_hist_values(const struct flow_hists *h, const uint32_t *modes, uint32_t *ret_values)
{
	for (size_t i = 0; i < h->n; i++) {
		unsigned from = bucket_of(h->max_us[i]) - modes[i];

		if (modes[i] == EXPLICIT)
			from = 0;
		for (unsigned k = 0; k < modes[i]; k++)
			*ret_values++ = h->hist[i][from + k];
	}
}

bool flow_hist_count(const uint32_t *modes, size_t n, size_t *ret)
{
	uint32_t max = 0;
	size_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		max = modes[i] > max ? modes[i] : max;
		sum += modes[i];
	}
	*ret = sum;
	return max <= EXPLICIT;
}

static uint16_t clamp(uint32_t count, uint32_t left)
{
	count = count < left ? count : left;
	return count < UINT16_MAX ? (uint16_t)count : UINT16_MAX;
}

static void join_row(const struct flow_hists *h, size_t i, uint32_t mode, const uint32_t *values)
{
	unsigned high = bucket_of(h->max_us[i]), below = mode < high ? mode : high;
	uint32_t left = h->samples[i];
	uint16_t *hist = h->hist[i];

	if (mode == EXPLICIT) {
		for (unsigned k = 0; k < RTT_BUCKETS; k++)
			hist[k] = clamp(values[k], left);
		return;
	}
	for (unsigned k = 0; k < below; k++) {
		hist[high - below + k] = clamp(values[k], left);
		left -= values[k] < left ? values[k] : left;
	}
	hist[high] = clamp(left, left);
}

void flow_hist_join(const struct flow_hists *h, const uint32_t *modes, const uint32_t *values)
{
	memset(h->hist, 0, h->n * sizeof(*h->hist));
	for (size_t i = 0; i < h->n; i++) {
		if (h->samples[i])
			join_row(h, i, modes[i], values);
		values += modes[i];
	}
}
