// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/once/copies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/once/once.h"

/* A time that is counted, both ends included, on the collector's clock. */
struct span {
	int64_t from_ms, to_ms;
};

struct member {
	struct copies_record r;
	struct span span;
};

/* Times that do not overlap, rising. */
struct spans {
	struct span *at;
	size_t n;
};

struct copies_memory {
	struct member *members;
	size_t n, max;
	uint32_t *copies;
	size_t n_copies;
	struct spans taken, others, merged; /* room for max each */
};

struct copies_memory *copies_memory_new(void)
{
	return calloc(1, sizeof(struct copies_memory));
}

void copies_memory_free(struct copies_memory *m)
{
	if (!m)
		return;
	free(m->members);
	free(m->copies);
	free(m->taken.at);
	free(m->others.at);
	free(m->merged.at);
	free(m);
}

static bool grow(void **array, size_t bytes)
{
	void *bigger = realloc(*array, bytes);

	if (bigger)
		*array = bigger;
	return bigger != NULL;
}

int copies_add(struct copies_memory *m, const struct copies_record *r)
{
	if (m->n == m->max) {
		size_t max = m->max ? 2 * m->max : 64;

		if (!grow((void **)&m->members, max * sizeof(*m->members)) ||
		    !grow((void **)&m->copies, max * sizeof(*m->copies)) ||
		    !grow((void **)&m->taken.at, max * sizeof(*m->taken.at)) ||
		    !grow((void **)&m->others.at, max * sizeof(*m->others.at)) ||
		    !grow((void **)&m->merged.at, max * sizeof(*m->merged.at)))
			return -ENOMEM;
		m->max = max;
	}
	m->members[m->n++].r = *r;
	return 0;
}

/* --- the time that each counts --------------------------------------------------- */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int by_flow(const void *a, const void *b)
{
	const struct copies_record *first = &((const struct member *)a)->r;
	const struct copies_record *second = &((const struct member *)b)->r;
	int order = COMPARE(first->conversation, second->conversation);

	if (!order)
		order = COMPARE(first->host_id, second->host_id);
	if (!order)
		order = COMPARE(first->flow_id, second->flow_id);
	return order ? order : COMPARE(first->end_ms, second->end_ms);
}

/* From the record before of the flow, or its start, or that of the window. */
static void set_spans(struct member *members, size_t n, int64_t since_ms)
{
	for (size_t i = 0; i < n; i++) {
		const struct copies_record *r = &members[i].r;
		const struct copies_record *before = i > 0 ? &members[i - 1].r : NULL;
		int64_t from_ms = r->start_ms;

		if (before && before->host_id == r->host_id && before->flow_id == r->flow_id)
			from_ms = before->end_ms;
		from_ms = from_ms > since_ms ? from_ms : since_ms;
		members[i].span = (struct span){from_ms - r->skew_ms, r->end_ms - r->skew_ms};
	}
}

/* --- times that are taken ---------------------------------------------------------- */

static bool overlaps(const struct spans *s, const struct span *span)
{
	size_t low = 0, high = s->n;

	while (low < high) { /* the first that does not end before */
		size_t middle = low + (high - low) / 2;

		if (s->at[middle].to_ms >= span->from_ms - ONCE_SLACK_MS)
			high = middle;
		else
			low = middle + 1;
	}
	return low < s->n && s->at[low].from_ms <= span->to_ms + ONCE_SLACK_MS;
}

static void append(struct spans *s, const struct span *span)
{
	struct span *last = s->n > 0 ? &s->at[s->n - 1] : NULL;

	if (!last || last->to_ms < span->from_ms)
		s->at[s->n++] = *span;
	else if (last->to_ms < span->to_ms)
		last->to_ms = span->to_ms;
}

/* Adds the spans of a run, which rise. */
static void take(struct copies_memory *m, struct spans *s, const struct member *run, size_t n)
{
	struct spans merged = {m->merged.at, 0};
	size_t i = 0, k = 0;

	while (i < s->n || k < n)
		if (k == n || (i < s->n && s->at[i].from_ms <= run[k].span.from_ms))
			append(&merged, &s->at[i++]);
		else
			append(&merged, &run[k++].span);
	m->merged.at = s->at;
	*s = merged;
}

/* --- who ranks before ---------------------------------------------------------------- */

static int by_rank(const void *a, const void *b)
{
	const struct member *first = a, *second = b;
	int order = COMPARE(second->r.sent, first->r.sent);

	if (!order)
		order = COMPARE(first->r.host_id, second->r.host_id);
	return order ? order : COMPARE(first->span.from_ms, second->span.from_ms);
}

/* The members of one host and direction. */
static size_t run_length(const struct member *run, size_t n)
{
	size_t len = 1;

	while (len < n && run[len].r.host_id == run->r.host_id && run[len].r.sent == run->r.sent)
		len++;
	return len;
}

/* Whether the host of a run has an earlier one, which is not another host's. */
static bool has_own_before(const struct member *members, size_t run)
{
	if (members[run].r.sent)
		return false;
	for (size_t i = 0; i < run && members[i].r.sent; i++)
		if (members[i].r.host_id == members[run].r.host_id)
			return true;
	return false;
}

/* What is taken before the run, without its own host. */
static const struct spans *taken_by_others(struct copies_memory *m, const struct member *members,
					   size_t run)
{
	if (!has_own_before(members, run))
		return &m->taken;
	m->others.n = 0;
	for (size_t i = 0, len; i < run; i += len) {
		len = run_length(members + i, run - i);
		if (members[i].r.host_id != members[run].r.host_id)
			take(m, &m->others, members + i, len);
	}
	return &m->others;
}

/* n members of one conversation. */
static void find(struct copies_memory *m, struct member *members, size_t n)
{
	qsort(members, n, sizeof(*members), by_rank);
	m->taken.n = 0;
	for (size_t run = 0, len; run < n; run += len) {
		const struct spans *before = taken_by_others(m, members, run);

		len = run_length(members + run, n - run);
		for (size_t i = run; i < run + len; i++)
			if (overlaps(before, &members[i].span))
				m->copies[m->n_copies++] = members[i].r.number;
		take(m, &m->taken, members + run, len);
	}
}

size_t copies_find(struct copies_memory *m, int64_t since_ms)
{
	m->n_copies = 0;
	if (m->n > 0)
		qsort(m->members, m->n, sizeof(*m->members), by_flow);
	for (size_t i = 0, next; i < m->n; i = next) {
		for (next = i + 1; next < m->n; next++)
			if (m->members[next].r.conversation != m->members[i].r.conversation)
				break;
		set_spans(m->members + i, next - i, since_ms);
		if (m->members[i].r.host_id != m->members[next - 1].r.host_id)
			find(m, m->members + i, next - i);
	}
	m->n = 0;
	return m->n_copies;
}

const uint32_t *copies_list(const struct copies_memory *m)
{
	return m->copies;
}
