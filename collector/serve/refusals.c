// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/refusals.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define LOG_PERIOD_MS 10000

struct entry {
	struct refusal refusal; /* count: not stored yet */
	uint64_t taken;		/* of these, with the writer */
	uint64_t unsaid;	/* since the last log line */
	uint64_t log_state;
};

struct refusals {
	bool taken;
	size_t n;
	struct entry entries[REFUSALS_MAX];
	struct entry others;
};

int refusals_new(struct refusals **ret)
{
	struct refusals *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*ret = t;
	return 0;
}

void refusals_free(struct refusals *t)
{
	free(t);
}

static void name_entry(struct entry *e, const char *peer, const char *reason)
{
	*e = (struct entry){0};
	(void)snprintf(e->refusal.peer, sizeof(e->refusal.peer), "%s", peer);
	(void)snprintf(e->refusal.reason, sizeof(e->refusal.reason), "%s", reason);
}

/* The entry of the pair; a new one may take the place of one that is stored. */
static struct entry *find(struct refusals *t, const char *peer, const char *reason)
{
	struct entry *stored = NULL;

	for (size_t i = 0; i < t->n; i++) {
		struct entry *e = &t->entries[i];

		if (strncmp(e->refusal.peer, peer, sizeof(e->refusal.peer) - 1) == 0 &&
		    strncmp(e->refusal.reason, reason, sizeof(e->refusal.reason) - 1) == 0)
			return e;
		if (e->refusal.count == 0)
			stored = e;
	}
	if (t->n < REFUSALS_MAX)
		stored = &t->entries[t->n++];
	if (stored) {
		name_entry(stored, peer, reason);
		return stored;
	}
	if (t->others.refusal.count == 0)
		name_entry(&t->others, REFUSALS_OTHERS, "too many peers to tell them apart");
	return &t->others;
}

uint64_t refusals_add(struct refusals *t, const char *peer, const char *reason, int64_t now_ms)
{
	struct entry *e = find(t, peer, reason);
	uint64_t n;

	if (e->refusal.count++ == 0)
		e->refusal.first_ms = now_ms;
	e->refusal.last_ms = now_ms;
	n = ++e->unsaid;
	if (!log_due(&e->log_state, LOG_PERIOD_MS))
		return 0;
	e->unsaid = 0;
	return n;
}

bool refusals_with_writer(const struct refusals *t)
{
	return t->taken;
}

static size_t take(struct entry *e, struct refusal *ret)
{
	if (e->refusal.count == 0)
		return 0;
	e->taken = e->refusal.count;
	*ret = e->refusal;
	return 1;
}

int refusals_take(struct refusals *t, struct refusal **ret)
{
	struct refusal *list;
	size_t n = 0;

	list = calloc(t->n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		n += take(&t->entries[i], &list[n]);
	n += take(&t->others, &list[n]);
	if (n == 0) {
		free(list);
		return 0;
	}
	t->taken = true;
	*ret = list;
	return (int)n;
}

static void settle(struct entry *e, bool stored)
{
	if (stored)
		e->refusal.count -= e->taken;
	e->taken = 0;
}

void refusals_settle(struct refusals *t, bool stored)
{
	for (size_t i = 0; i < t->n; i++)
		settle(&t->entries[i], stored);
	settle(&t->others, stored);
	t->taken = false;
}
