// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/property/choices.h"

#include <string.h>

#include "tests/unit/pick.h"

#define MAX_TRIES 3000
#define MAX_SPAN  64

void choices_begin(struct choices *c, uint64_t seed)
{
	c->seed = seed;
	c->given = false;
	c->at = c->n = 0;
}

void choices_again(struct choices *c)
{
	c->given = true;
	c->at = 0;
}

uint32_t choose(struct choices *c, uint32_t n)
{
	uint32_t chosen = 0;

	if (c->given) {
		chosen = c->at < c->n ? c->made[c->at] % n : 0;
		c->at++;
	} else if (c->n < CHOICES_MAX) {
		chosen = (uint32_t)(pick_any(&c->seed) % n);
		c->made[c->n++] = chosen;
	}
	return chosen;
}

bool choose_rarely(struct choices *c, uint32_t n)
{
	return choose(c, n) == n - 1;
}

/* --- smaller ---------------------------------------------------------------------- */

struct shrinking {
	struct choices *best;
	size_t size; /* of what best makes */
	size_t (*fails)(struct choices *c, void *arg);
	void *arg;
	unsigned tries;
};

static uint64_t weight(const struct choices *c)
{
	uint64_t sum = c->n;

	for (size_t i = 0; i < c->n; i++)
		sum += c->made[i];
	return sum;
}

/* Takes c in the place of the best if it fails and is smaller. */
static bool attempt(struct shrinking *s, struct choices *c)
{
	size_t size;

	if (s->tries++ >= MAX_TRIES)
		return false;
	choices_again(c);
	size = s->fails(c, s->arg);
	if (c->at < c->n)
		c->n = c->at; /* the rest was not asked for */
	if (size == 0 || size > s->size || (size == s->size && weight(c) >= weight(s->best)))
		return false;
	s->size = size;
	*s->best = *c;
	return true;
}

static bool try_without(struct shrinking *s, size_t at, size_t span)
{
	struct choices c = *s->best;

	memmove(c.made + at, c.made + at + span, (c.n - at - span) * sizeof(c.made[0]));
	c.n -= span;
	return attempt(s, &c);
}

static bool try_value(struct shrinking *s, size_t at, uint32_t value)
{
	struct choices c = *s->best;

	if (c.made[at] <= value)
		return false;
	c.made[at] = value;
	return attempt(s, &c);
}

static bool pass(struct shrinking *s)
{
	bool better = false;

	for (size_t span = MAX_SPAN; span > 0; span /= 2)
		for (size_t at = 0; at + span <= s->best->n;)
			if (try_without(s, at, span))
				better = true;
			else
				at++;
	for (size_t at = 0; at < s->best->n; at++) {
		better |= try_value(s, at, 0);
		for (uint32_t cut = 2; at < s->best->n && cut <= 32; cut *= 2)
			better |= try_value(s, at, s->best->made[at] - s->best->made[at] / cut);
		better |= at < s->best->n && s->best->made[at] > 0 &&
			  try_value(s, at, s->best->made[at] - 1);
	}
	return better;
}

void choices_shrink(struct choices *c, size_t (*fails)(struct choices *c, void *arg), void *arg)
{
	struct shrinking s = {.best = c, .fails = fails, .arg = arg};

	choices_again(c);
	s.size = fails(c, arg);
	while (s.size > 0 && s.tries < MAX_TRIES && pass(&s))
		;
	choices_again(c);
}
