// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/lanes.h"

#include <string.h>

#include "common/clock.h"
#include "probe/spool/spool.h"
#include "proto/message.h"

struct lane *lanes_find(struct lanes *l, uint64_t epoch)
{
	for (size_t i = 0; epoch && i < N_LANES; i++)
		if (l->lane[i].epoch == epoch)
			return &l->lane[i];
	return NULL;
}

/* How the lane of the epoch stands; a new one if it had none. */
static struct lane lane_of(struct lanes *l, uint64_t epoch)
{
	const struct lane *lane = lanes_find(l, epoch);

	return lane ? *lane : (struct lane){.epoch = epoch};
}

/* Of the n epochs that are not live, the oldest of our own, else the oldest. */
static uint64_t oldest(const struct spool_backlog *epochs, size_t n, const struct hello *own)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(epochs[i].probe_id, own->probe_id, sizeof(own->probe_id)) == 0)
			return epochs[i].epoch;
	return n > 0 ? epochs[0].epoch : 0;
}

uint64_t lanes_assign(struct lanes *l, struct spool *spool, const struct hello *own)
{
	struct spool_backlog epochs[SPOOL_MAX_EPOCHS];
	size_t n = spool_epochs(spool, epochs); /* at least 1 */
	struct lane live = lane_of(l, epochs[n - 1].epoch);
	struct lane backlog = lane_of(l, oldest(epochs, n - 1, own));

	l->lane[LIVE] = live;
	l->lane[BACKLOG] = backlog;
	return epochs[n - 1].batches;
}

static bool concerns(const struct lane *lane, uint64_t epoch)
{
	return epoch == 0 || epoch == lane->epoch;
}

void lanes_hold(struct lanes *l, uint64_t epoch, uint64_t until_ns)
{
	for (size_t i = 0; i < N_LANES; i++) {
		struct lane *lane = &l->lane[i];

		if (!concerns(lane, epoch))
			continue;
		lane->hold_ns = until_ns;
		if (!lane->welcomed)
			lane->hello_ns = 0; /* it was the HELLO that is refused */
	}
}

void lanes_forget(struct lanes *l, uint64_t epoch)
{
	for (size_t i = 0; i < N_LANES; i++) {
		if (!concerns(&l->lane[i], epoch))
			continue;
		l->lane[i].welcomed = false;
		l->lane[i].hello_ns = 0;
	}
}

uint64_t lanes_held_until(const struct lanes *l, uint64_t now_ns, uint64_t before_ns)
{
	for (size_t i = 0; i < N_LANES; i++)
		if (l->lane[i].hold_ns > now_ns && l->lane[i].hold_ns < before_ns)
			before_ns = l->lane[i].hold_ns;
	return before_ns;
}

bool lanes_is_ahead(struct spool *spool, uint64_t epoch, uint64_t last_seq)
{
	struct spool_backlog epochs[SPOOL_MAX_EPOCHS];
	size_t n = spool_epochs(spool, epochs);

	for (size_t i = 0; i < n; i++)
		if (epochs[i].epoch == epoch)
			return epochs[i].oldest_seq > last_seq + 1;
	return false;
}

void lanes_rewind(struct spool *spool, uint64_t epoch)
{
	struct spool_backlog epochs[SPOOL_MAX_EPOCHS];
	size_t n = epoch ? 0 : spool_epochs(spool, epochs);

	if (epoch)
		spool_rewind(spool, epoch);
	for (size_t i = 0; i < n; i++)
		spool_rewind(spool, epochs[i].epoch);
}

void lanes_hello(const struct lane *lane, struct spool *spool, const struct hello *own,
		 struct hello *ret)
{
	struct spool_backlog epochs[SPOOL_MAX_EPOCHS];
	size_t n = spool_epochs(spool, epochs);
	struct spool_stats left;

	spool_stats(spool, &left);
	*ret = *own;
	ret->epoch = lane->epoch;
	ret->run = own->epoch;
	for (size_t i = 0; i < n; i++) {
		ret->open_epochs[ret->n_open_epochs++] = epochs[i].epoch;
		if (epochs[i].epoch != lane->epoch)
			continue;
		ret->oldest_seq = epochs[i].oldest_seq;
		memcpy(ret->probe_id, epochs[i].probe_id, sizeof(ret->probe_id));
	}
	ret->real_ns = clock_real_ns();
	ret->mono_ns = clock_mono_ns();
	ret->backlog_batches = left.batches;
	ret->backlog_bytes = left.bytes;
}
