// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/credit.h"

#include <errno.h>

#include "common/clock.h"
#include "proto/message.h"

#define BURST_S 2 /* of its rate, that a peer may send at once */
/* Beyond this debt it ignores its credit: what was on its way when it was told 0 is less. */
#define DEBT_MAX (int64_t)(2 * CREDIT_MAX_BYTES)

static uint64_t share(const struct credit_pool *pool)
{
	uint64_t even = pool->n ? pool->total / pool->n : pool->total;

	return even < CREDIT_FLOOR_BYTES ? CREDIT_FLOOR_BYTES
	       : even > CREDIT_MAX_BYTES ? CREDIT_MAX_BYTES
					 : even;
}

static int64_t burst(const struct credit_pool *pool)
{
	return (int64_t)(BURST_S * pool->rate_per_s);
}

static void refill(const struct credit_pool *pool, struct credit *c, uint64_t now_ns)
{
	uint64_t ms = (now_ns - c->filled_ns) / NS_PER_MS;

	if (ms == 0)
		return;
	if (ms > BURST_S * 1000)
		ms = BURST_S * 1000; /* no more than the burst comes of it, unless in debt */
	c->tokens += (int64_t)(ms * pool->rate_per_s / 1000);
	if (c->tokens > burst(pool))
		c->tokens = burst(pool);
	c->filled_ns = now_ns;
}

void credit_join(struct credit_pool *pool, struct credit *c, uint64_t now_ns)
{
	*c = (struct credit){
		.allowed = CREDIT_FLOOR_BYTES,
		.tokens = burst(pool),
		.filled_ns = now_ns,
	};
	pool->n++;
}

void credit_leave(struct credit_pool *pool, struct credit *c)
{
	pool->given -= c->told;
	pool->n--;
	*c = (struct credit){0};
}

int credit_count(const struct credit_pool *pool, struct credit *c, size_t len, uint64_t now_ns)
{
	if (pool->rate_per_s == 0)
		return 0;
	refill(pool, c, now_ns);
	if (c->tokens < -DEBT_MAX)
		return -EBUSY;
	c->tokens -= (int64_t)credit_cost(len);
	return 0;
}

int credit_take(struct credit *c, size_t len)
{
	if (c->queued && c->queued + credit_cost(len) > c->allowed)
		return -EDQUOT;
	c->queued += credit_cost(len);
	return 0;
}

void credit_settle(struct credit *c, size_t len)
{
	uint64_t cost = credit_cost(len);

	c->queued -= cost < c->queued ? cost : c->queued; /* less: of the session before */
}

/* What the peer may have now; never less than the floor, and 0 while it is in debt. */
static uint64_t due(const struct credit_pool *pool, const struct credit *c)
{
	uint64_t others = pool->given - c->told, want = share(pool);
	uint64_t left = pool->total > others ? pool->total - others : 0;

	if (pool->rate_per_s && c->tokens < 0)
		return 0;
	if (want > left)
		want = left;
	if (pool->rate_per_s && want > (uint64_t)c->tokens)
		want = (uint64_t)c->tokens; /* so that the debt is soon paid back */
	return want < CREDIT_FLOOR_BYTES ? CREDIT_FLOOR_BYTES : want;
}

uint64_t credit_offer(struct credit_pool *pool, struct credit *c, uint64_t now_ns)
{
	uint64_t amount;

	if (pool->rate_per_s)
		refill(pool, c, now_ns);
	amount = due(pool, c);
	c->shrunk = c->shrunk || amount < c->told;
	pool->given += amount - c->told;
	c->told = amount;
	if (c->allowed < amount)
		c->allowed = amount;
	return amount;
}

bool credit_tick(struct credit_pool *pool, struct credit *c, uint64_t now_ns)
{
	uint64_t amount;

	/* For a whole tick at least it knows of the smaller credit. */
	if (!c->shrunk && c->allowed > c->told)
		c->allowed = c->told;
	c->shrunk = false;
	if (pool->rate_per_s)
		refill(pool, c, now_ns);
	amount = due(pool, c);
	if ((amount == 0) != (c->told == 0))
		return true;
	if (amount < c->told && pool->given > pool->total)
		return true;
	return amount > c->told + c->told / 4 || amount + amount / 4 < c->told;
}
