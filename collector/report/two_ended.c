// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/two_ended.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/hash.h"
#include "collector/flowstore/predicate.h"
#include "collector/flowstore/scan.h"
#include "collector/flowstore/shuffle.h"
#include "collector/flowstore/value_ids.h"
#include "collector/once/host_minutes.h"
#include "common/addr.h"
#include "common/cleanup.h"
#include "common/community_id.h"

#define START_SLACK_MS	5000 /* as in the view */
#define COVER_MARGIN_MS 60000

/*
 * A record, or all those of a flow of one host: a side. Which end is low both
 * hosts agree on, whoever they call src.
 */
struct side {
	uint64_t hash; /* of the Community ID; of shuffle.h */
	uint64_t flow_id;
	uint64_t packets, rev_packets; /* totals */
	int64_t start_ms, end_ms;      /* the host's clock taken out, once they are joined */
	uint32_t host_id;
	uint32_t src_addr, dst_addr; /* value_ids.h */
	uint16_t src_port, dst_port;
	uint32_t drops;
	uint8_t proto;
	bool low_is_src, at_low, ended;
};

struct two_ended {
	struct shuffle *shuffle;
	struct value_ids *addrs;
	struct host_minutes *lossy;
	struct scan *scan;
	uint64_t seed;
	/* Of two_ended_visit(). */
	const struct two_ended_visitor *visitor;
	void *arg;
};

/* Of a thread that joins. */
struct worker {
	struct two_ended *t;
	void *theirs;
	struct side *sides;
	size_t max;
};

DEFINE_CLEANUP(struct two_ended *, two_ended_close)
DEFINE_CLEANUP(struct scan_rows *, scan_rows_free)

/* --- reading ------------------------------------------------------------------- */

static const enum flow_column columns_read[] = {
	FLOW_COLUMN_host_id,	  FLOW_COLUMN_flow_id,	     FLOW_COLUMN_start_ms,
	FLOW_COLUMN_end_ms,	  FLOW_COLUMN_src_addr,	     FLOW_COLUMN_dst_addr,
	FLOW_COLUMN_src_port,	  FLOW_COLUMN_dst_port,	     FLOW_COLUMN_proto,
	FLOW_COLUMN_icmp_type,	  FLOW_COLUMN_icmp_code,     FLOW_COLUMN_direction,
	FLOW_COLUMN_end_reason,	  FLOW_COLUMN_total_packets, FLOW_COLUMN_rev_total_packets,
	FLOW_COLUMN_kernel_drops,
};

static uint64_t hash_end(uint64_t seed, const uint8_t addr[16], uint32_t port)
{
	uint64_t high, low;

	memcpy(&high, addr, sizeof(high));
	memcpy(&low, addr + 8, sizeof(low));
	return hash_pair(seed, hash_pair(seed, high, low), port);
}

/* Equal where Community IDs are: those of ICMP have rules of their own. */
static uint64_t hash_flow(uint64_t seed, const struct flow_block *b, size_t i)
{
	const uint8_t *src = b->addrs[FLOW_COL_U32(b, src_addr)[i]];
	const uint8_t *dst = b->addrs[FLOW_COL_U32(b, dst_addr)[i]];
	uint32_t proto = FLOW_COL_U32(b, proto)[i];
	bool ports = proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
	char text[COMMUNITY_ID_MAX + 1] = "";
	uint64_t words[4], s, d;

	if (proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6) {
		s = hash_end(seed, src, ports ? FLOW_COL_U32(b, src_port)[i] : 0);
		d = hash_end(seed, dst, ports ? FLOW_COL_U32(b, dst_port)[i] : 0);
		return hash_pair(seed, hash_pair(seed, s < d ? s : d, s < d ? d : s), proto);
	}
	(void)community_id(src, dst, (uint8_t)proto, (uint16_t)FLOW_COL_U32(b, icmp_type)[i],
			   (uint16_t)FLOW_COL_U32(b, icmp_code)[i], text);
	memcpy(words, text, sizeof(words));
	return hash_pair(seed, hash_pair(seed, words[0], words[1]),
			 hash_pair(seed, words[2], words[3]));
}

static bool is_low(const uint8_t src[16], uint32_t src_port, const uint8_t dst[16],
		   uint32_t dst_port)
{
	int order = memcmp(src, dst, 16);

	return order < 0 || (order == 0 && src_port < dst_port);
}

static struct side side_of(const struct flow_block *b, size_t i, const uint32_t *ids, uint64_t hash)
{
	uint32_t src = FLOW_COL_U32(b, src_addr)[i], dst = FLOW_COL_U32(b, dst_addr)[i];
	struct side s = {
		.hash = hash,
		.flow_id = FLOW_COL_U64(b, flow_id)[i],
		.packets = FLOW_COL_U64(b, total_packets)[i],
		.rev_packets = FLOW_COL_U64(b, rev_total_packets)[i],
		.start_ms = (int64_t)FLOW_COL_U64(b, start_ms)[i],
		.end_ms = (int64_t)FLOW_COL_U64(b, end_ms)[i],
		.host_id = FLOW_COL_U32(b, host_id)[i],
		.src_addr = ids[src],
		.dst_addr = ids[dst],
		.src_port = (uint16_t)FLOW_COL_U32(b, src_port)[i],
		.dst_port = (uint16_t)FLOW_COL_U32(b, dst_port)[i],
		.drops = FLOW_COL_U32(b, kernel_drops)[i],
		.proto = (uint8_t)FLOW_COL_U32(b, proto)[i],
		.ended = FLOW_COL_U32(b, end_reason)[i] != FLOW_END_ACTIVE,
	};

	s.low_is_src = is_low(b->addrs[src], s.src_port, b->addrs[dst], s.dst_port);
	s.at_low = s.low_is_src == (FLOW_COL_U32(b, direction)[i] == FLOW_DIRECTION_EGRESS);
	return s;
}

/* The rows that are of a flow and at one of its ends. */
static size_t choose(const struct scan_rows *rows, uint32_t *ret)
{
	const struct flow_block *b = &rows->block;
	size_t n = 0;

	for (size_t k = 0; k < rows->n_selected; k++) {
		uint32_t i = rows->selected[k];

		ret[n] = i;
		n += FLOW_COL_U32(b, direction)[i] != FLOW_DIRECTION_UNKNOWN &&
		     FLOW_COL_U32(b, end_reason)[i] != FLOW_END_NO_RESOURCES;
	}
	return n;
}

/* ids[entry of the dictionary], of those that the rows have. */
static int number_addrs(struct two_ended *t, const struct flow_block *b, const uint32_t *rows,
			size_t n, uint32_t *ids)
{
	cleanup(free_p) uint32_t *used = calloc(2 * n + 1, sizeof(*used));
	cleanup(free_p) uint32_t *numbers = malloc((2 * n + 1) * sizeof(*numbers));
	size_t n_used = 0;
	int err;

	if (!used || !numbers)
		return -ENOMEM;
	memset(ids, 0, b->n_addrs * sizeof(*ids));
	for (size_t k = 0; k < 2 * n; k++) {
		uint32_t at = (k % 2 ? FLOW_COL_U32(b, dst_addr)
				     : FLOW_COL_U32(b, src_addr))[rows[k / 2]];

		if (!ids[at])
			used[n_used++] = at;
		ids[at] = 1;
	}
	err = value_ids_addrs(t->addrs, (const uint8_t(*)[16])b->addrs, used, n_used, numbers);
	for (size_t k = 0; !err && k < n_used; k++)
		ids[used[k]] = numbers[k];
	return err;
}

static int deal_rows(struct two_ended *t, struct shuffle_hand *hand, const struct scan_rows *rows)
{
	const struct flow_block *b = &rows->block;
	cleanup(free_p) uint32_t *chosen = calloc(rows->n_selected + 1, sizeof(*chosen));
	cleanup(free_p) uint32_t *ids = malloc(b->n_addrs * sizeof(*ids));
	size_t n;
	int err;

	if (!chosen || !ids)
		return -ENOMEM;
	n = choose(rows, chosen);
	err = shuffle_expect(hand, n);
	if (!err)
		err = number_addrs(t, b, chosen, n, ids);
	for (size_t k = 0; !err && k < n; k++) {
		uint64_t hash = hash_flow(t->seed, b, chosen[k]);
		struct side *s = shuffle_deal(hand, hash);

		if (!s)
			return -ENOMEM;
		*s = side_of(b, chosen[k], ids, hash);
	}
	return err;
}

static int read_blocks(struct shuffle_hand *hand, void *arg)
{
	struct two_ended *t = arg;
	cleanup(scan_rows_free_p) struct scan_rows *rows = NULL;
	int err;

	while ((err = scan_next(t->scan, &rows)) > 0) {
		err = deal_rows(t, hand, rows);
		if (err)
			return err;
	}
	return err;
}

int two_ended_open(sqlite3 *db, const struct predicate *predicate, struct two_ended **ret)
{
	cleanup(two_ended_close_p) struct two_ended *t = calloc(1, sizeof(*t));
	struct flow_columns columns = {{0}};
	int err = t ? value_ids_new(&t->addrs) : -ENOMEM;

	if (!err)
		err = host_minutes_load(db, HOST_MINUTES_LOSSY, 0, FLOW_TIME_MAX_MS, &t->lossy);
	if (!err)
		err = shuffle_new(sizeof(struct side), TWO_ENDED_MAX_RECORDS, &t->shuffle);
	if (err)
		return err;
	t->seed = hash_seed();
	for (size_t i = 0; i < sizeof(columns_read) / sizeof(columns_read[0]); i++)
		flow_columns_add(&columns, columns_read[i]);
	err = scan_open(db, predicate, &columns, &t->scan);
	if (err)
		return err;
	err = shuffle_collect(t->shuffle, read_blocks, t);
	scan_close(take_ptr(t->scan));
	if (!err)
		*ret = take_ptr(t);
	return err;
}

void two_ended_close(struct two_ended *t)
{
	if (!t)
		return;
	shuffle_free(t->shuffle);
	value_ids_free(t->addrs);
	host_minutes_free(t->lossy);
	free(t);
}

const uint8_t *two_ended_addr(struct two_ended *t, uint32_t id)
{
	return value_ids_addr(t->addrs, id);
}

/* --- joining ------------------------------------------------------------------- */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int by_flow(const void *a, const void *b)
{
	const struct side *first = a, *second = b;
	int order = COMPARE(first->hash, second->hash);

	if (!order)
		order = COMPARE(first->host_id, second->host_id);
	return order ? order : COMPARE(first->flow_id, second->flow_id);
}

/* Those at the low end first, and then by their start. */
static int by_end(const void *a, const void *b)
{
	const struct side *first = a, *second = b;
	int order = COMPARE(first->hash, second->hash);

	if (!order)
		order = COMPARE(second->at_low, first->at_low);
	return order ? order : COMPARE(first->start_ms, second->start_ms);
}

static void add_record(struct side *s, const struct side *r)
{
	s->packets = r->packets > s->packets ? r->packets : s->packets;
	s->rev_packets = r->rev_packets > s->rev_packets ? r->rev_packets : s->rev_packets;
	s->start_ms = r->start_ms < s->start_ms ? r->start_ms : s->start_ms;
	s->end_ms = r->end_ms > s->end_ms ? r->end_ms : s->end_ms;
	s->drops += r->drops;
	s->ended |= r->ended;
}

/* The records of each flow become one. Returns how many are left. */
static size_t merge(const struct two_ended *t, struct side *sides, size_t n)
{
	size_t k = 0;

	qsort(sides, n, sizeof(*sides), by_flow);
	for (size_t i = 1; i < n; i++)
		if (by_flow(&sides[k], &sides[i]) == 0)
			add_record(&sides[k], &sides[i]);
		else
			sides[++k] = sides[i];
	for (size_t i = 0; i <= k; i++) {
		int64_t skew_ms = host_minutes_skew(t->lossy, sides[i].host_id);

		sides[i].start_ms -= skew_ms;
		sides[i].end_ms -= skew_ms;
	}
	return k + 1;
}

/*
 * Where the two do not agree on who began, the view takes the word of the one
 * whose end comes first as text.
 */
static bool low_is_src(struct two_ended *t, const struct side *low, const struct side *high)
{
	char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
	int order;

	if (low->low_is_src == high->low_is_src)
		return low->low_is_src;
	(void)addr_format(value_ids_addr(t->addrs, low->src_addr), src);
	(void)addr_format(value_ids_addr(t->addrs, low->dst_addr), dst);
	order = strcmp(src, dst);
	if (order == 0)
		order = COMPARE(low->src_port, low->dst_port);
	/* low's src is low's end, or not; is low's end the first as text? */
	return (order < 0) == low->low_is_src ? low->low_is_src : high->low_is_src;
}

static int tell(struct worker *me, const struct side *low, const struct side *high)
{
	bool from_low = low_is_src(me->t, low, high);
	const struct side *src = from_low ? low : high, *dst = from_low ? high : low;
	bool src_agrees = src->low_is_src == from_low, dst_agrees = dst->low_is_src == from_low;
	const struct side *named = src_agrees ? src : dst;
	int64_t start_ms = low->start_ms < high->start_ms ? low->start_ms : high->start_ms;
	int64_t end_ms = low->end_ms > high->end_ms ? low->end_ms : high->end_ms;
	const struct two_ended_flow flow = {
		.src_host = src->host_id,
		.dst_host = dst->host_id,
		.src_addr = named->src_addr,
		.dst_addr = named->dst_addr,
		.src_port = named->src_port,
		.dst_port = named->dst_port,
		.proto = named->proto,
		.known =
			low->ended && high->ended &&
			!host_minutes_between(me->t->lossy, low->host_id,
					      start_ms - COVER_MARGIN_MS,
					      end_ms + COVER_MARGIN_MS) &&
			!host_minutes_between(me->t->lossy, high->host_id,
					      start_ms - COVER_MARGIN_MS, end_ms + COVER_MARGIN_MS),
		.sent_packets = src_agrees ? src->packets : src->rev_packets,
		.received_packets = dst_agrees ? dst->packets : dst->rev_packets,
		.rev_sent_packets = dst_agrees ? dst->rev_packets : dst->packets,
		.rev_received_packets = src_agrees ? src->rev_packets : src->packets,
		.kernel_drops = (uint64_t)low->drops + high->drops,
	};

	return me->t->visitor->visit(me->theirs, &flow);
}

/* n sides of one flow: those at the low end first. */
static int join(struct worker *me, const struct side *sides, size_t n)
{
	size_t n_low = 0, first = 0;
	int err = 0;

	while (n_low < n && sides[n_low].at_low)
		n_low++;
	first = n_low;
	for (size_t i = 0; !err && i < n_low; i++) {
		while (first < n && sides[first].start_ms < sides[i].start_ms - START_SLACK_MS)
			first++;
		for (size_t k = first; !err && k < n; k++) {
			if (sides[k].start_ms > sides[i].start_ms + START_SLACK_MS)
				break;
			if (sides[k].host_id != sides[i].host_id)
				err = tell(me, &sides[i], &sides[k]);
		}
	}
	return err;
}

static int reserve(struct worker *me, size_t n)
{
	struct side *sides;

	if (me->max >= n)
		return 0;
	sides = realloc(me->sides, n * sizeof(*sides));
	if (!sides)
		return -ENOMEM;
	me->sides = sides;
	me->max = n;
	return 0;
}

static bool have_many_hosts(const struct shuffle_group *g)
{
	const struct side *first = shuffle_at(g, shuffle_place(g, 0));

	for (size_t k = 1; k < g->n; k++) {
		const struct side *s = shuffle_at(g, shuffle_place(g, k));

		if (s->host_id != first->host_id)
			return true;
	}
	return false;
}

static int join_group(void *worker, const struct shuffle_group *g)
{
	struct worker *me = worker;
	size_t n, next;
	int err = 0;

	if (!have_many_hosts(g))
		return 0;
	err = reserve(me, g->n);
	if (err)
		return err;
	for (size_t k = 0; k < g->n; k++)
		me->sides[k] = *(const struct side *)shuffle_at(g, shuffle_place(g, k));
	n = merge(me->t, me->sides, g->n);
	qsort(me->sides, n, sizeof(*me->sides), by_end);
	for (size_t k = 0; !err && k < n; k = next) {
		for (next = k + 1; next < n && me->sides[next].hash == me->sides[k].hash;)
			next++;
		err = join(me, me->sides + k, next - k);
	}
	return err;
}

static int worker_open(void *arg, void **ret)
{
	struct two_ended *t = arg;
	struct worker *me = calloc(1, sizeof(*me));

	if (!me)
		return -ENOMEM;
	me->t = t;
	*ret = me;
	return t->visitor->open(t->arg, &me->theirs);
}

static void worker_close(void *worker)
{
	struct worker *me = worker;

	if (me->theirs)
		me->t->visitor->close(me->theirs);
	free(me->sides);
	free(me);
}

int two_ended_visit(struct two_ended *t, const struct two_ended_visitor *v, void *arg)
{
	static const struct shuffle_visitor join_all = {worker_open, join_group, worker_close};

	t->visitor = v;
	t->arg = arg;
	return shuffle_visit(t->shuffle, &join_all, t);
}
