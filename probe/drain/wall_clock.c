// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/drain/wall_clock.h"

#include "common/clock.h"

#define READ_TRIES   8
#define READ_NEAR_NS 50000ull /* a look at three clocks takes less, unless we are interrupted */

bool wall_clock_sample(struct wall_clock *c, uint64_t mono_ns, uint64_t real_ns)
{
	uint64_t offset_ns = real_ns - mono_ns;
	int64_t by_ns = (int64_t)(offset_ns - c->offset_ns);
	bool first = !c->sampled;

	c->offset_ns = offset_ns;
	c->sampled = true;
	if (first || (by_ns <= WALL_CLOCK_STEP_NS && by_ns >= -WALL_CLOCK_STEP_NS))
		return false;
	c->steps++;
	c->last_step_ms = by_ns / (int64_t)NS_PER_MS;
	if (by_ns > 0)
		c->forward_ms += (uint64_t)c->last_step_ms;
	else
		c->back_ms += (uint64_t)-c->last_step_ms;
	return true;
}

void wall_clock_read(uint64_t *ret_mono_ns, uint64_t *ret_real_ns)
{
	uint64_t nearest_ns = UINT64_MAX;

	for (int i = 0; i < READ_TRIES && nearest_ns > READ_NEAR_NS; i++) {
		uint64_t before_ns = clock_mono_ns();
		uint64_t real_ns = clock_real_ns();
		uint64_t took_ns = clock_mono_ns() - before_ns;

		if (took_ns >= nearest_ns)
			continue;
		nearest_ns = took_ns;
		*ret_mono_ns = before_ns;
		*ret_real_ns = real_ns;
	}
}
